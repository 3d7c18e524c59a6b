"""Which Label Studio to trust if the operator named none.

Any client that reaches `/setup` can name any address. The back end trusts the first one that
answers like Label Studio and accepts the token from the same request. It trusts no other after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson
import requests
from requests.auth import AuthBase

from sam_backend.errors import Refusal
from sam_backend.net import guarded_http
from sam_backend.net.urls import origin
from sam_backend.shared.projects import StudioConnection
from sam_backend.shared.state import State

PROOF_S = 3.0
_PROOF_BYTES = 1 << 16
_TOKEN = re.compile(r"[ -~]{1,4096}")  # what a header may hold
_WHO_AM_I = "/api/current-user/whoami"


def setup_connection(hostname: object, token: object) -> StudioConnection | None:
    """The Label Studio that a `/setup` request names. None if its address is not valid."""
    url = str(hostname or "").rstrip("/")
    if origin(url) is None or any(sign in url for sign in "?#@"):
        return None
    is_token = isinstance(token, str) and _TOKEN.fullmatch(token)
    return StudioConnection(url, str(token) if is_token else None)


class Belief:
    """The one trusted Label Studio. All workers share it, and it survives a restart."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._believed: str | None = None  # it never changes, and survives a lost file

    def doubt(self, connection: StudioConnection) -> str | None:
        """The reason not to trust this Label Studio, if another one is trusted."""
        believed = self._known()
        if believed is None or origin(believed) == origin(connection.url):
            return None
        return (
            f"Label Studio at {connection.url} is not trusted, because {believed} came first: "
            f"if it is yours, set LABEL_STUDIO_URL={connection.url}"
        )

    def check(
        self,
        connection: StudioConnection,
        session: requests.Session,
        auth: Callable[[], AuthBase | None],
    ) -> None:
        """Refusal if this Label Studio is not trusted. The first one must prove its identity."""
        if self._known() is None:
            prove(connection, session, auth())
            self._believed = self._state.believe(connection.url) or connection.url
        doubt = self.doubt(connection)
        if doubt:
            raise Refusal("image", doubt)

    def _known(self) -> str | None:
        if self._believed is None:
            self._believed = self._state.believed()
        return self._believed


def prove(connection: StudioConnection, session: requests.Session, auth: AuthBase | None) -> None:
    """Asks who the owner of the token is. Refusal unless the answer is like Label Studio's."""
    url = connection.url
    if auth is None:
        raise Refusal("image", f"Label Studio at {url} sent no token, so it is not trusted{ADVICE}")
    try:
        with (
            guarded_http.Deadline(PROOF_S),
            session.get(
                url + _WHO_AM_I,
                auth=auth,
                headers={"Accept": "application/json"},
                timeout=(1.0, PROOF_S),
                stream=True,
                allow_redirects=False,
            ) as response,
        ):
            answer = guarded_http.body(response, _PROOF_BYTES)
    except guarded_http.TooLarge:
        answer = b""
    except (OSError, guarded_http.AddressRefused) as error:
        late = isinstance(error, guarded_http.Overdue | requests.Timeout)
        why = f"no answer within {PROOF_S:.0f} s" if late else guarded_http.reason(error)
        raise Refusal(
            "image",
            f"Label Studio at {url} cannot be reached ({why}): "
            "set LABEL_STUDIO_URL to an address that works from here",
        ) from None
    if response.status_code in (401, 403):
        raise Refusal("image", f"Label Studio at {url} does not accept the token{ADVICE}")
    if response.is_redirect:
        raise Refusal(
            "image",
            f"Label Studio at {url} redirects elsewhere: "
            "set LABEL_STUDIO_URL to its present address",
        )
    if response.status_code != 200 or not _is_a_user(answer):
        raise Refusal(
            "image",
            f"{url} does not answer like Label Studio (HTTP {response.status_code}): "
            "set LABEL_STUDIO_URL to Label Studio's address",
        )


ADVICE = (
    ": create a Personal Access Token (Account & Settings) and set LABEL_STUDIO_URL and "
    "LABEL_STUDIO_API_KEY"
)


def _is_a_user(answer: bytes) -> bool:
    try:
        user = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return False
    return isinstance(user, dict) and isinstance(user.get("id"), int) and "email" in user
