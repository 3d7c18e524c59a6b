"""Questions to one Label Studio, with its answers as they are: the checks judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import requests

from sam_backend.errors import Refusal
from sam_backend.label_studio.access import LabelStudioAccess, no_header
from sam_backend.net import guarded_http
from sam_backend.shared.projects import StudioConnection

# Label Studio asks each model of a project before it answers, and a first click encodes an image.
ANSWER_S = 60.0
_CONNECT_S = 3.05
_MOST_BYTES = 64 << 20  # a page of tasks


@dataclass(frozen=True)
class Answer:
    """An answer of Label Studio, or of whatever is at its address."""

    status: int
    value: Any = None  # the JSON; None if there is none
    location: str = ""  # where a redirect leads

    @property
    def detail(self) -> str:
        """What Label Studio says of an error, in one line."""
        if not isinstance(self.value, dict):
            return ""
        problems = self.value.get("validation_errors")
        if isinstance(problems, dict):
            said = [str(text) for texts in problems.values() for text in _listed(texts)]
            return " ".join(" ".join(said).split())
        return " ".join(str(self.value.get("detail") or "").split())


@dataclass(frozen=True)
class Silence:
    """No answer."""

    why: str
    is_untrusted_certificate: bool = False


Reply = Answer | Silence


def _listed(texts: object) -> list[object]:
    return texts if isinstance(texts, list) else [texts]


class Studio:
    """One Label Studio, as this back end reaches it."""

    def __init__(self, access: LabelStudioAccess, connection: StudioConnection) -> None:
        self.url = connection.url
        self.has_token = bool(connection.token)
        self._access = access
        self._connection = connection

    def ask_without_token(self, path: str) -> Reply:
        """Without a token: nobody knows yet whether this is Label Studio."""
        return self._ask("GET", path, no_header)

    def ask(self, path: str, **params: object) -> Reply:
        """With the token. Refusal if the token cannot be exchanged."""
        return self._authorized("GET", path, params=params)

    def tell(self, method: str, path: str, body: object = None) -> Reply:
        """A POST or a DELETE, with the token."""
        return self._authorized(method, path, data=orjson.dumps(body))

    def _authorized(self, method: str, path: str, **request: Any) -> Reply:
        reply = self._ask(method, path, self._access.authorization(self._connection), **request)
        if isinstance(reply, Answer) and reply.status == 401:  # an access token lives 5 minutes
            renewed = self._access.authorization(self._connection, renew=True)
            reply = self._ask(method, path, renewed, **request)
        return reply

    def _ask(self, method: str, path: str, auth: Any, **request: Any) -> Reply:
        try:
            with (
                guarded_http.Deadline(ANSWER_S),
                self._access.session.request(
                    method,
                    self.url + path,
                    auth=auth or no_header,
                    headers={"Content-Type": "application/json", "Accept": "application/json"},
                    timeout=(_CONNECT_S, ANSWER_S),
                    stream=True,
                    allow_redirects=False,
                    **request,
                ) as response,
            ):
                return _answer(response)
        except guarded_http.Overdue:
            return Silence(f"no answer within {ANSWER_S:g} s")
        except guarded_http.AddressRefused as refused:
            return Silence(f"no Label Studio can be at {refused.address}")
        except (OSError, ValueError) as error:
            return Silence(guarded_http.reason(error), "CERTIFICATE_VERIFY_FAILED" in str(error))


def _answer(response: requests.Response) -> Answer:
    try:
        value = orjson.loads(guarded_http.body(response, _MOST_BYTES))
    except (guarded_http.TooLarge, orjson.JSONDecodeError):
        value = None
    return Answer(response.status_code, value, response.headers.get("Location", ""))


def value_of(reply: Reply, path: str) -> Any:
    """The JSON of a good answer. Refusal says what came instead."""
    if isinstance(reply, Silence):
        raise Refusal("label studio", f"Label Studio did not answer {path} ({reply.why})")
    if reply.status == 404:
        raise Refusal(
            "label studio",
            f"Label Studio has nothing at {path}: is the number right, and may the user of the "
            "token see it?",
        )
    if reply.status >= 300 or reply.value is None:
        raise Refusal(
            "label studio", f"Label Studio answered {path} with {reply.status}: {reply.detail}"
        )
    return reply.value
