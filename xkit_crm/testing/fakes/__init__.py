"""Vendors' APIs over real HTTP, in a thread: for our tests and for yours, without a network.

    with HubSpotFake() as crm:
        settings = {"PRIVATE_HOSTS": ["127.0.0.1"], "PROVIDER_OPTIONS": {"hubspot": crm.options}}
        ...
        xkit_crm.connect("acme", provider="hubspot", credentials=crm.credentials)

Each keeps its records in memory, checks every request against a hand-written contract of the
vendor's (`<vendor>.json` beside it), and can be told to misbehave.
"""

from __future__ import annotations

from xkit_crm.testing.fakes.server import FakeCRM, Misbehaviour

__all__ = ["FakeCRM", "Misbehaviour"]
