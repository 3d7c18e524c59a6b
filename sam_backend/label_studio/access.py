"""The address of a project's Label Studio, and the header that authorises requests to it."""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from typing import Any

import orjson
import requests
from cachetools import TTLCache
from requests.auth import AuthBase

from sam_backend.errors import Refusal
from sam_backend.label_studio.trust import Belief
from sam_backend.net import addresses, guarded_http, urls
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from sam_backend.shared.state import State

TIMEOUT_S = (3.05, 10.0)  # to connect; between two bytes
_EXCHANGE_S = 15.0  # in all
_EXCHANGE_BYTES = 1 << 16
_TOKEN = re.compile(r"[!-~]+")  # what a header may hold
# An access token lives for 5 minutes; a new one is fetched well before.
_ACCESS_TOKEN_S = 240.0


class TokenAuth(AuthBase):
    """Sets the Authorization header, but only for requests to one Label Studio.

    It is an auth object because a .netrc file would override a header in `headers`.
    """

    def __init__(self, header: str, label_studio: str) -> None:
        self._header = header
        self._origin = urls.origin(label_studio)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._origin is None or urls.origin(request.url or "") != self._origin:
            raise requests.exceptions.InvalidURL("a token is for Label Studio's own address alone")
        request.headers["Authorization"] = self._header
        return request


class LabelStudioAccess:
    """Chooses address and token. Settings of the operator come before the content of `/setup`."""

    def __init__(
        self,
        settings: Settings,
        state: State | None = None,
    ) -> None:
        self._settings = settings
        # An address from the operator needs no proof.
        is_configured = settings.label_studio_url is not None
        self._belief = None if state is None or is_configured else Belief(state)
        # For requests to Label Studio alone: it may run on any machine inside.
        self.session = guarded_http.session(
            addresses.anything if is_configured else addresses.may_be_label_studio
        )
        self._access_tokens: TTLCache[str, str] = TTLCache(maxsize=64, ttl=_ACCESS_TOKEN_S)
        self._lock = threading.Lock()

    def connection(self, from_setup: StudioConnection | None) -> StudioConnection | None:
        """The Label Studio of a project, given the one from `/setup`. None if it is unknown."""
        url = self._settings.label_studio_url
        if url is None:
            return from_setup
        token = self._settings.label_studio_token or (from_setup.token if from_setup else None)
        return StudioConnection(url, token)

    def doubt(self, connection: StudioConnection) -> str | None:
        """The reason not to trust a Label Studio from `/setup`, if there is one."""
        return self._belief.doubt(connection) if self._belief else None

    def authorization(
        self, connection: StudioConnection, *, renew: bool = False
    ) -> TokenAuth | None:
        """The header for requests to this Label Studio. `renew` drops a refused access token.

        Refusal if it did not prove to be a Label Studio. It then gets no other request.
        """
        if self._belief:
            self._belief.check(connection, self.session, lambda: self._header(connection))
        return self._header(connection, renew=renew)

    def _header(self, connection: StudioConnection, *, renew: bool = False) -> TokenAuth | None:
        token = connection.token
        if not token:
            return None
        if not is_refresh_token(token):
            return TokenAuth(f"Token {token}", connection.url)
        with self._lock:
            if renew:
                self._access_tokens.pop(token, None)
            access = self._access_tokens.get(token)
        if access is None:
            access = _exchange(self.session, connection.url, token)
            with self._lock:
                self._access_tokens[token] = access
        return TokenAuth(f"Bearer {access}", connection.url)


def no_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Adds no header. Without this function, requests would look for a password in .netrc."""
    return request


def is_refresh_token(token: str) -> bool:
    """Whether a token is a personal access token: a JWT of the type "refresh"."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        claims: Any = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(claims, dict) and claims.get("token_type") == "refresh"


def _exchange(session: requests.Session, url: str, token: str) -> str:
    started = time.monotonic()
    try:
        with (
            guarded_http.Deadline(_EXCHANGE_S),
            session.post(
                f"{url}/api/token/refresh/",
                json={"refresh": token},
                auth=no_header,
                timeout=TIMEOUT_S,
                stream=True,
                allow_redirects=False,
            ) as response,
        ):
            answer = guarded_http.body(response, _EXCHANGE_BYTES)
    except guarded_http.TooLarge:
        answer = b""
    except (OSError, guarded_http.AddressRefused) as error:
        waited = time.monotonic() - started
        raise Refusal(
            "image",
            f"Label Studio at {url} cannot be reached ({guarded_http.reason(error)}, "
            f"after {waited:.0f} s): set LABEL_STUDIO_URL to an address that works from here",
        ) from None
    if response.status_code in (400, 401, 403):
        raise Refusal(
            "image",
            f"Label Studio at {url} does not accept the personal access token "
            "(expired or revoked): put a new one into LABEL_STUDIO_API_KEY",
        )
    access = _access_token(answer)
    if access is None:
        raise Refusal(
            "image",
            f"{url} answered the token exchange with status {response.status_code} and no "
            "token: is LABEL_STUDIO_URL really Label Studio's address?",
        )
    return access


def _access_token(answer: bytes) -> str | None:
    try:
        access = orjson.loads(answer)["access"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return access if isinstance(access, str) and _TOKEN.fullmatch(access) else None
