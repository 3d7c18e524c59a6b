"""The bytes of an image: from a file, from Label Studio, from the web; with limits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import requests

from sam_backend.errors import Refusal
from sam_backend.label_studio import TIMEOUT_S, LabelStudioAccess
from sam_backend.sources import Source, shown

MAX_BYTES = 200 * 1024 * 1024
MAX_SECONDS = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Download:
    """The bytes of an image, and the ETag or date by which its server can say "unchanged"."""

    content: bytes
    validator: str | None = None


class Fetcher:
    """Downloads images; keeps connections open between them."""

    def __init__(self, access: LabelStudioAccess) -> None:
        self._access = access
        self._session = requests.Session()

    def fetch(self, source: Source) -> Download:
        """The image; Refusal says why it cannot be had."""
        if source.content is not None:
            return Download(source.content)
        if source.path is not None:
            return Download(_read_file(source.path))
        with self._get_allowed(source, None) as response:
            return _download(response, source)

    def fetch_if_changed(self, source: Source, validator: str | None) -> Download | None:
        """The image, or None if it is still the one that came with this validator."""
        if source.url is None:  # files and inline images are never the same under another key
            return None
        with self._get_allowed(source, validator) as response:
            if validator and response.status_code == 304:
                return None
            return _download(response, source)

    def _get_allowed(self, source: Source, validator: str | None) -> requests.Response:
        response = self._get(source, validator)
        if response.status_code == 401 and source.label_studio is not None:
            response.close()
            response = self._get(source, validator, renew=True)
        return response

    def _get(
        self, source: Source, validator: str | None, *, renew: bool = False
    ) -> requests.Response:
        label_studio = source.label_studio
        auth = self._access.authorization(label_studio, renew=renew) if label_studio else None
        url = source.url or ""
        try:
            return self._session.get(
                url, auth=auth, headers=_conditions(validator), timeout=TIMEOUT_S, stream=True
            )
        except requests.RequestException as error:
            advice = (
                ": set LABEL_STUDIO_URL to an address of Label Studio that works from here"
                if label_studio
                else ""
            )
            raise Refusal(
                "image",
                f"the image {shown(url)} cannot be fetched ({type(error).__name__}){advice}",
            ) from None


def _conditions(validator: str | None) -> dict[str, str]:
    if validator is None:
        return {}
    is_etag = validator.startswith(('"', "W/"))
    return {"If-None-Match" if is_etag else "If-Modified-Since": validator}


def _check_answer(response: requests.Response, source: Source) -> None:
    url, status = source.url or "", response.status_code
    is_page = "text/html" in response.headers.get("Content-Type", "")
    if source.label_studio is not None and (status in (401, 403) or (status == 200 and is_page)):
        had = "does not accept the token" if source.label_studio.token else "wants a token"
        raise Refusal(
            "image",
            f"Label Studio {had} for the image {shown(url)}: create a Personal Access Token "
            "(Account & Settings) and set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY",
        )
    if status != 200:
        raise Refusal("image", f"the image {shown(url)} cannot be fetched: HTTP {status}")
    if is_page:
        raise Refusal("image", f"there is a web page, not an image, at {shown(url)}")


def _download(response: requests.Response, source: Source) -> Download:
    _check_answer(response, source)
    headers = response.headers
    return Download(
        _read_body(response, source), headers.get("ETag") or headers.get("Last-Modified")
    )


def _read_body(response: requests.Response, source: Source) -> bytes:
    url, started = source.url or "", time.monotonic()
    body = bytearray()
    try:
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > MAX_BYTES:
                raise Refusal("image", f"the image {shown(url)} is over {MAX_BYTES >> 20} MiB")
            if time.monotonic() - started > MAX_SECONDS:
                raise Refusal("image", f"the image {shown(url)} takes over {MAX_SECONDS:.0f} s")
    except requests.RequestException as error:
        raise Refusal(
            "image", f"the image {shown(url)} broke off ({type(error).__name__})"
        ) from None
    return bytes(body)


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Refusal("image", f"the image {path.name!r} is over {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise Refusal(
            "image", f"the image {path.name!r} cannot be read: {error.strerror}"
        ) from None
