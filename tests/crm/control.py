"""The tests' side of the loopback CRM: start it, tell it what goes wrong, see what it holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parent.parent.parent
TOKEN = "token-of-the-first-day"


class CRMControl:
    """A running loopback CRM. `url` is where it listens."""

    def __init__(self, url: str, process: subprocess.Popen[str] | None = None) -> None:
        self.url = url
        self.process = process
        self._session = requests.Session()
        self._session.trust_env = False

    def credentials(self, org: str, token: str = TOKEN, **more: Any) -> dict[str, Any]:
        """What a connection to one of its tenants needs; `timeout` in seconds may be named."""
        return {"url": self.url, "org": org, "token": token, **more}

    def faults(self, org: str | None = None, /, **faults: Any) -> None:
        """From now on this goes wrong, for a tenant or for all; the fields of `Faults`."""
        self._post("faults", {"faults": faults, "org": org})

    def expire(self, org: str) -> None:
        """Refuse the tenant's token until it is authorised again."""
        self._post("expire", {"org": org})

    def authorise(self, org: str, token: str) -> None:
        """Take this token from now on."""
        self._post("authorise", {"org": org, "token": token})

    def forget(self) -> None:
        """Begin anew: no tenants, no faults, an empty journal."""
        self._post("forget", {})

    def counts(self) -> dict[str, Any]:
        """Calls, operations, items, outcomes, orgs, writes: see `CRM.counts`."""
        found: dict[str, Any] = self._get("counts")
        return found

    def journal(self, org: str | None = None, *, after: int = 0) -> list[dict[str, Any]]:
        """Every write in the order it happened: `Write` as a dict."""
        found: list[dict[str, Any]] = self._get("journal", org=org, after=after)
        return found

    def calls(self, org: str | None = None, *, after: int = 0) -> list[dict[str, Any]]:
        """Every call in the order it ended: `Call` as a dict."""
        found: list[dict[str, Any]] = self._get("calls", org=org, after=after)
        return found

    def records(self, org: str | None = None) -> list[dict[str, Any]]:
        """What the CRM holds now: org, object, id, key, values."""
        found: list[dict[str, Any]] = self._get("records", org=org)
        return found

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        self._session.post(f"{self.url}/admin/{path}", json=body, timeout=10).raise_for_status()

    def _get(self, path: str, **query: Any) -> Any:
        named = {name: value for name, value in query.items() if value is not None}
        response = self._session.get(f"{self.url}/admin/{path}", params=named, timeout=120)
        response.raise_for_status()
        return response.json()


@contextmanager
def running_crm(*, seed: int | str = 0) -> Iterator[CRMControl]:
    """A loopback CRM in a process of its own during the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crm.server", "--end-with-parent", "--seed", str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, "the loopback CRM didn't start"
        control = CRMControl(url, process)
        yield control
        control._session.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
