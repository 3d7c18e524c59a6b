"""Where a project's Label Studio is, and the header that lets us in."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson
import requests
from cachetools import TTLCache
from requests.auth import AuthBase

from sam_backend.errors import Refusal
from sam_backend.settings import Settings
from sam_backend.state import Connection

TIMEOUT_S = (3.05, 10.0)  # to connect, between bytes
# An access token lives for 5 minutes; a new one is fetched well before.
_ACCESS_TOKEN_S = 240.0


class TokenAuth(AuthBase):
    """Sets the header itself: given as `headers`, requests would let a .netrc file override it."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class LabelStudioAccess:
    """Chooses address and token: what the operator configured comes before what `/setup` said."""

    def __init__(self, settings: Settings, told: Callable[[str], Connection | None]) -> None:
        self._settings = settings
        self._told = told
        self._access_tokens: TTLCache[str, str] = TTLCache(maxsize=64, ttl=_ACCESS_TOKEN_S)
        self._lock = threading.Lock()

    def connection(self, project: str) -> Connection | None:
        """The Label Studio of a project, or None as long as nobody said where it is."""
        told = self._told(project)
        url = self._settings.label_studio_url
        if url is None:
            return told
        return Connection(url, self._settings.label_studio_token or (told.token if told else None))

    def authorization(self, connection: Connection, *, renew: bool = False) -> TokenAuth | None:
        """The header for requests to this Label Studio; `renew` drops a refused access token."""
        token = connection.token
        if not token:
            return None
        if not is_refresh_token(token):
            return TokenAuth(f"Token {token}")
        with self._lock:
            if renew:
                self._access_tokens.pop(token, None)
            access = self._access_tokens.get(token)
        if access is None:
            access = _exchange(connection.url, token)
            with self._lock:
                self._access_tokens[token] = access
        return TokenAuth(f"Bearer {access}")


def is_refresh_token(token: str) -> bool:
    """A personal access token is a JWT that says of itself that it is for refreshing."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        claims: Any = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(claims, dict) and claims.get("token_type") == "refresh"


def _exchange(url: str, token: str) -> str:
    started = time.monotonic()
    try:
        response = requests.post(
            f"{url}/api/token/refresh/",
            json={"refresh": token},
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        waited = time.monotonic() - started
        raise Refusal(
            "image",
            f"Label Studio at {url} cannot be reached ({type(error).__name__} after "
            f"{waited:.0f} s): set LABEL_STUDIO_URL to an address that works from here",
        ) from None
    if response.status_code in (400, 401, 403):
        raise Refusal(
            "image",
            f"Label Studio at {url} does not accept the personal access token "
            "(expired or revoked): put a new one into LABEL_STUDIO_API_KEY",
        )
    try:
        return str(response.json()["access"])
    except (requests.JSONDecodeError, KeyError, TypeError):
        raise Refusal(
            "image",
            f"{url} answered the token exchange with status {response.status_code} and no "
            "token: is LABEL_STUDIO_URL really Label Studio's address?",
        ) from None
