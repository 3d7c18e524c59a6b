"""Label Studio's API as the commands for whole projects use it: tokens and errors."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import orjson
import pytest

from sam_backend.errors import Refusal, SettingsError
from sam_backend.label_studio.api import StudioApi
from sam_backend.settings import Settings
from tests.loopback import Reply, Site, always, site


@pytest.fixture
def studio() -> Iterator[Site]:
    with site() as running:
        yield running


def api(studio: Site, token: str = "legacy") -> StudioApi:
    environ = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": token}
    return StudioApi(Settings.from_environment(environ))


def personal_token() -> str:
    claims = base64.urlsafe_b64encode(orjson.dumps({"token_type": "refresh"})).decode().rstrip("=")
    return f"header.{claims}.signature"


def test_reads_json_with_the_operators_token(studio: Site) -> None:
    studio.routes["/api/projects/7"] = always(200, b'{"id": 7}')
    assert api(studio).get("/api/projects/7") == {"id": 7}
    assert studio.requests == [("GET", "/api/projects/7", "Token legacy")]


def test_fetches_a_new_access_token_when_the_old_one_has_run_out(studio: Site) -> None:
    issued = iter(["first", "second"])
    studio.routes["/api/token/refresh/"] = lambda _auth, _body: (
        200,
        {},
        orjson.dumps({"access": next(issued)}),
    )

    def accepts_the_second(auth: str | None, _body: bytes) -> Reply:
        return (201, {}, b'{"created": 1}') if auth == "Bearer second" else (401, {}, b"{}")

    studio.routes["/api/predictions"] = accepts_the_second
    assert api(studio, personal_token()).post("/api/predictions", {}) == {"created": 1}


def test_says_what_label_studio_said(studio: Site) -> None:
    studio.routes["/api/predictions"] = always(400, b'{"detail": "Validation\\nerror"}')
    with pytest.raises(Refusal, match="POST /api/predictions with 400: Validation error"):
        api(studio).post("/api/predictions", {})


def test_does_not_follow_a_redirect_with_its_token(studio: Site) -> None:
    with site() as other:
        studio.routes["/api/projects/7"] = always(302, b"", Location=f"{other.url}/steal")
        with pytest.raises(Refusal):
            api(studio).get("/api/projects/7")
        assert other.requests == []


def test_says_which_settings_it_needs() -> None:
    with pytest.raises(SettingsError, match="set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"):
        StudioApi(Settings.from_environment({}))
