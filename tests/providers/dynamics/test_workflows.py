"""Dynamics 365: workflows, limits, and signing in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from tests.providers.dynamics.conftest import NOBODY, _paths
from xkit_crm.exceptions import (
    ConfigurationError,
    RejectedByCRM,
)
from xkit_crm.providers import oauth
from xkit_crm.providers.base import (
    Access,
    RemoteType,
)
from xkit_crm.providers.dynamics.provider import DynamicsProvider
from xkit_crm.testing.fakes.dynamics import WELCOME, DynamicsFake


class TestWorkflows:
    def test_every_page_is_read_and_only_of_this_crm(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        crm.pages_at = "https://elsewhere.example"
        labels = [one.label for one in provider.list_workflows()]
        assert labels == ["Welcome", "Call back", "Visit over", "Invite somebody"]
        assert _paths(crm).count("GET /api/data/v9.2/workflows") == 2

    def test_a_workflow_runs_for_the_events_record_or_the_one_named(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        refs = [provider.create("contact", {"lastname": "A"}, key=str(uuid4())) for _ in range(2)]
        provider.run_workflow(WELCOME, {}, key="k", ref=refs[0])
        provider.run_workflow(WELCOME, {"EntityId": str(refs[1])}, key="k", ref=None)
        assert crm.started == [(WELCOME, refs[0].crm_id), (WELCOME, refs[1].crm_id)]

    @pytest.mark.parametrize("record", ["", NOBODY])
    def test_a_workflow_without_its_record_is_refused(
        self, provider: DynamicsProvider, record: str
    ) -> None:
        with pytest.raises(RejectedByCRM) as caught:
            provider.run_workflow(WELCOME, {"EntityId": record}, key="k", ref=None)
        assert [one.path for one in caught.value.errors] == ["EntityId"]

    def test_a_custom_api_is_called_with_its_inputs(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        found = {one.name: one for one in provider.list_workflows()}["xk_Invite"]
        assert [(one.name, one.type, one.required) for one in found.inputs] == [
            ("Email", RemoteType.STRING, True),
            ("Seats", RemoteType.INTEGER, False),
        ]
        inputs = {"Email": "ada@example.com", "Seats": 2}
        provider.run_workflow("xk_Invite", inputs, key="k", ref=None)
        assert crm.started == [("xk_Invite", inputs)]

    def test_an_action_that_is_not_listed_is_not_called(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        with pytest.raises(RejectedByCRM):
            provider.run_workflow("xk_Import", {}, key="k", ref=None)
        assert all(one.method == "GET" for one in crm.requests)


class TestLimits:
    def test_what_is_left_is_noted(self, provider: DynamicsProvider, crm: DynamicsFake) -> None:
        crm.left = 4711
        provider.list_workflows()
        assert provider.usage.left == crm.left

    def test_no_time_left_is_nothing_left(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        crm.seconds_left = "0.00"
        provider.list_workflows()
        assert provider.usage.left == 0


class TestSigningIn:
    GIVEN: Mapping[str, str] = {"url": "https://Contoso.crm4.dynamics.com/main.aspx?appid=1#x"}

    def test_a_person_is_asked_for_their_organisation_alone(self, settings: Any) -> None:
        options = {"dynamics": {"client_id": "a-client", "client_secret": "s"}}
        settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": options}
        url = oauth.sign_in_url(
            DynamicsProvider,
            self.GIVEN,
            redirect_uri="https://site.example/oauth/callback",
            state="s",
            verifier="v" * 43,
        )
        parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
        assert parts.netloc == "login.microsoftonline.com"
        assert parts.path == "/organizations/oauth2/v2.0/authorize"
        assert query["scope"] == ["https://contoso.crm4.dynamics.com/.default offline_access"]
        assert query["code_challenge_method"] == ["S256"]

    @pytest.mark.parametrize(
        ("url", "login"),
        [
            ("contoso.crm.dynamics.com", "login.microsoftonline.com"),
            ("https://contoso.api.crm11.dynamics.com/", "login.microsoftonline.com"),
            ("https://contoso.crm.microsoftdynamics.us", "login.microsoftonline.us"),
            ("https://contoso.crm.dynamics.cn", "login.partner.microsoftonline.cn"),
        ],
    )
    def test_each_cloud_has_its_own_sign_in(self, settings: Any, url: str, login: str) -> None:
        settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": {}}
        endpoints = DynamicsProvider.endpoints({"url": url})
        assert urlsplit(endpoints.authorize).netloc == urlsplit(endpoints.token).netloc == login
        host = url.removeprefix("https://").rstrip("/").replace(".api", "")
        assert endpoints.scopes == (f"https://{host}/.default", "offline_access")

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "https://dynamics.com",
            "https://crm4.dynamics.com",
            "https://contoso.crm4.dynamics.com.evil.example",
            "https://evil.example/contoso.crm4.dynamics.com",
            "https://evil.example#.crm4.dynamics.com",
            "https://evildynamics.com",
            "https://contoso.crm4.dynamics.com:8443",
            "https://a.b.crm4.dynamics.com",
            "https://[::1",
        ],
    )
    def test_nobody_elses_host_is_an_organisation(
        self, crm: DynamicsFake, settings: Any, url: str
    ) -> None:
        settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": {"dynamics": {}}}
        with pytest.raises(ConfigurationError):
            DynamicsProvider.endpoints({"url": url})
        provider = DynamicsProvider(Access("acme", {**crm.signed_in, "url": url}))
        with pytest.raises(ConfigurationError):
            provider.describe_objects()

    def test_a_code_gives_credentials_and_each_renewal_a_new_refresh_token(
        self, crm: DynamicsFake
    ) -> None:
        known = oauth.exchanged(
            DynamicsProvider,
            self.GIVEN,
            code="a-code",
            redirect_uri="https://site.example/oauth/callback",
            verifier="v" * 43,
        )
        assert known["access_token"] == crm.token
        assert known["url"] == self.GIVEN["url"]
        renewed = oauth.refreshed(DynamicsProvider, known)
        assert renewed["refresh_token"] == crm.refresh_token != known["refresh_token"]
        assert renewed["access_token"] == crm.token != known["access_token"]
