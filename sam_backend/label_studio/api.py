"""Label Studio's API, for commands that read and write whole projects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import requests

from sam_backend.errors import Refusal, SettingsError
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.net import addresses, guarded_http
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection

TIMEOUT_S = (3.05, 300.0)  # to connect, between bytes: exports are prepared before the first byte
ANSWER_S = 900.0  # in all
EXPORT_S = 6 * 3600.0
MOST_EXPORT_BYTES = 64 << 30
_MOST_DETAIL_BYTES = 1 << 16


class StudioApi:
    """One Label Studio and the operator's token for it. Refusals quote its answer."""

    def __init__(self, settings: Settings) -> None:
        if settings.label_studio_url is None or settings.label_studio_token is None:
            raise SettingsError(
                "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY (a Personal Access Token), "
                "or work on a file that Label Studio exported"
            )
        self._connection = StudioConnection(settings.label_studio_url, settings.label_studio_token)
        self._access = LabelStudioAccess(settings)
        self._session = guarded_http.session(addresses.anything)
        self._most_mb = settings.max_body_mb

    @property
    def connection(self) -> StudioConnection:
        return self._connection

    def get(self, path: str, **params: object) -> Any:
        """The JSON at a path such as `/api/projects/7`."""
        with self._open("GET", path, ANSWER_S, params=params) as response:
            return self._json(response, path)

    def post(self, path: str, body: Mapping[str, Any] | list[Any]) -> Any:
        """Posts a JSON body and returns the JSON of the answer."""
        with self._open("POST", path, ANSWER_S, data=orjson.dumps(body)) as response:
            return self._json(response, path)

    @contextmanager
    def stream(self, path: str, **params: object) -> Iterator[Iterator[bytes]]:
        """A long answer, in pieces."""
        try:
            with self._open("GET", path, EXPORT_S, params=params) as response:
                yield guarded_http.chunks(response, MOST_EXPORT_BYTES)
        except guarded_http.TooLarge:
            raise _too_large(path, f"{MOST_EXPORT_BYTES >> 30} GB") from None

    def _json(self, response: requests.Response, path: str) -> Any:
        try:
            return orjson.loads(guarded_http.body(response, self._most_mb << 20))
        except guarded_http.TooLarge:
            raise _too_large(path, f"{self._most_mb} MB (MAX_BODY_MB)") from None
        except orjson.JSONDecodeError:
            raise Refusal(
                "label studio",
                f"{self._connection.url} answered {path} with no JSON: is LABEL_STUDIO_URL right?",
            ) from None

    @contextmanager
    def _open(
        self, method: str, path: str, seconds: float, **request: Any
    ) -> Iterator[requests.Response]:
        try:
            with guarded_http.Deadline(seconds), self._answer(method, path, **request) as response:
                if response.status_code >= 300:
                    raise Refusal("label studio", _error_message(method, path, response))
                yield response
        except (guarded_http.Overdue, requests.RequestException) as error:
            what = (
                f"over {seconds:g} s"
                if isinstance(error, guarded_http.Overdue)
                else guarded_http.reason(error)
            )
            raise Refusal(
                "label studio", f"Label Studio's answer to {method} {path} broke off ({what})"
            ) from None

    def _answer(self, method: str, path: str, **request: Any) -> requests.Response:
        response = self._send(method, path, **request)
        if response.status_code == 401:  # an access token lives for five minutes
            response.close()
            response = self._send(method, path, renew=True, **request)
        return response

    def _send(
        self, method: str, path: str, *, renew: bool = False, **request: Any
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self._connection.url + path,
                auth=self._access.authorization(self._connection, renew=renew),
                headers={"Content-Type": "application/json"},
                timeout=TIMEOUT_S,
                stream=True,
                allow_redirects=False,  # the token is for this address alone
                **request,
            )
        except requests.RequestException as error:
            raise Refusal(
                "label studio",
                f"Label Studio at {self._connection.url} cannot be reached "
                f"({guarded_http.reason(error)}): is LABEL_STUDIO_URL right?",
            ) from None


def _too_large(path: str, limit: str) -> Refusal:
    return Refusal("label studio", f"Label Studio's answer to {path} is over {limit}")


def _error_message(method: str, path: str, response: requests.Response) -> str:
    if response.status_code in (401, 403):
        return "Label Studio does not accept the token: put a new one into LABEL_STUDIO_API_KEY"
    if response.status_code == 404:
        return f"Label Studio has nothing at {path}: is the number right, and is it yours to see?"
    return f"Label Studio answered {method} {path} with {response.status_code}: {_detail(response)}"


def _detail(response: requests.Response) -> str:
    """Label Studio's own description of an error, in one line."""
    try:
        answer = orjson.loads(guarded_http.body(response, _MOST_DETAIL_BYTES))
        detail = answer.get("detail") or answer.get("validation_errors")
    except (orjson.JSONDecodeError, AttributeError, guarded_http.TooLarge):
        detail = None
    return " ".join(str(detail or response.reason).split())[:300]
