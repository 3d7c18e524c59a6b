"""Downloads an image from a file, from Label Studio or from the web, with limits."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url

from sam_backend.errors import Refusal
from sam_backend.images.sources import Source, quoted, serves
from sam_backend.label_studio.access import TIMEOUT_S, LabelStudioAccess
from sam_backend.label_studio.trust import ADVICE
from sam_backend.net import guarded_http, urls
from sam_backend.net.downloaded import Download
from sam_backend.settings import Settings

MOST_REDIRECTS = 5


class Fetcher:
    """Downloads images and keeps connections open between them."""

    def __init__(self, settings: Settings, access: LabelStudioAccess) -> None:
        self._access = access
        self._most_mb = settings.max_image_mb
        self._seconds = settings.fetch_seconds
        self._permits = settings.allowed_image_hosts.permits
        self._outside = guarded_http.session(self._permits)
        # At DEBUG it logs whole addresses, with the signatures of private images.
        logging.getLogger("urllib3").setLevel(logging.INFO)

    def fetch(self, source: Source) -> Download:
        """The image. Refusal if it cannot be fetched."""
        if source.content is not None:
            if len(source.content) > self._most_mb << 20:
                raise self._too_large("in the task's data")
            return Download(source.content)
        if source.path is not None:
            return Download(self._read_file(source.path, source.root or source.path.parent))
        with self._answer(source, None) as response:
            return self._download(response, source)

    def fetch_if_changed(self, source: Source, validator: str | None) -> Download | None:
        """The image, or None if it is unchanged since it came with this validator."""
        if source.url is None:  # the key of a file or an inline image changes with its content
            return None
        with self._answer(source, validator) as response:
            if validator and response.status_code == 304:
                return None
            return self._download(response, source)

    @contextmanager
    def _answer(self, source: Source, validator: str | None) -> Iterator[requests.Response]:
        """The response with the image. The time limit covers everything until the body is read."""
        self._judge(source)
        try:
            with (
                guarded_http.Deadline(self._seconds),
                self._get_allowed(source, validator) as response,
            ):
                yield response
        except guarded_http.Overdue:
            raise Refusal(
                "image",
                f"the image {quoted(source.url or '')} takes over {self._seconds} s "
                "(FETCH_SECONDS)",
            ) from None

    def _judge(self, source: Source) -> None:
        """Refuses a forbidden address at once: a batch may name one in thousands of tasks."""
        url = urls.parse(source.url or "")
        if url is None or _is_inside(source, url.text):
            return
        try:
            guarded_http.judge_number(url, self._permits)
        except guarded_http.AddressRefused as refused:
            raise Refusal("image", _refused(source, url.text, refused)) from None

    def _get_allowed(self, source: Source, validator: str | None) -> requests.Response:
        response = self._get(source, validator)
        if response.status_code == 401 and _is_inside(source, response.url):
            response.close()
            response = self._get(source, validator, renew=True)
        return response

    def _get(
        self, source: Source, validator: str | None, *, renew: bool = False
    ) -> requests.Response:
        """The first answer that is not a redirect. Each hop is checked like the first."""
        url = source.url or ""
        for _ in range(MOST_REDIRECTS + 1):
            response = self._hop(source, url, validator, renew=renew)
            if not response.is_redirect:
                return response
            response.close()
            url = _target(source, url, response)
        raise Refusal(
            "image", f"the image {quoted(source.url or '')} redirects over {MOST_REDIRECTS} times"
        )

    def _hop(
        self, source: Source, url: str, validator: str | None, *, renew: bool
    ) -> requests.Response:
        is_inside, auth = _is_inside(source, url), None
        if source.label_studio is not None and is_inside:
            auth = self._access.authorization(source.label_studio, renew=renew)
        session = self._access.session if is_inside else self._outside
        try:
            return session.get(
                url,
                auth=auth or _OfAddress(),
                headers=_conditions(validator),
                timeout=TIMEOUT_S,
                stream=True,
                allow_redirects=False,
            )
        except guarded_http.AddressRefused as refused:
            raise Refusal("image", _refused(source, url, refused)) from None
        except (OSError, ValueError) as error:
            raise Refusal("image", _unreachable(source, url, error)) from None

    def _download(self, response: requests.Response, source: Source) -> Download:
        _check_answer(response, source)
        headers = response.headers
        return Download(
            self._read_body(response, source), headers.get("ETag") or headers.get("Last-Modified")
        )

    def _read_body(self, response: requests.Response, source: Source) -> bytes:
        try:
            return guarded_http.body(response, self._most_mb << 20)
        except guarded_http.TooLarge:
            raise self._too_large(quoted(source.url or "")) from None
        except requests.RequestException as error:
            raise Refusal(
                "image", f"the image {quoted(source.url or '')} broke off ({type(error).__name__})"
            ) from None

    def _read_file(self, path: Path, root: Path) -> bytes:
        try:
            with os.fdopen(_open_below(root, path.relative_to(root)), "rb") as file:
                content = file.read((self._most_mb << 20) + 1)
        except OSError as error:
            raise Refusal(
                "image", f"the image {path.name!r} cannot be read: {error.strerror}"
            ) from None
        if len(content) > self._most_mb << 20:
            raise self._too_large(repr(path.name))
        return content

    def _too_large(self, name: str) -> Refusal:
        return Refusal("image", f"the image {name} is over {self._most_mb} MB (MAX_IMAGE_MB)")


class _OfAddress(AuthBase):
    """Uses a password in the address itself, and never a .netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(user, password)(request) if user else request


def _open_below(root: Path, name: Path) -> int:
    """Opens a file below a folder for reading. `name` had no links in it when it was checked.

    A link that was added since then is not followed: each step starts from an open folder.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in name.parent.parts:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = below
        # O_NONBLOCK: opening a pipe would wait for its other end.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name.name, flags, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(None, "it is not a file")
    return file


def _is_inside(source: Source, url: str) -> bool:
    """Whether an address belongs to the image's own Label Studio, so that the token may be sent."""
    own = source.label_studio
    return own is not None and (urls.parse(url) == urls.parse(source.url or "") or serves(own, url))


def _target(source: Source, url: str, response: requests.Response) -> str:
    """The target of a redirect."""
    try:
        there = urls.parse(urljoin(url, response.headers["Location"]))
    except ValueError:
        there = None
    here = urls.parse(url)
    if there is None or here is None:
        raise Refusal(
            "image", f"the image {quoted(source.url or '')} redirects to an invalid web address"
        )
    if _is_inside(source, url) and there.origin == here.origin and "/login" in there.path:
        raise _not_let_in(source)
    # Label Studio redirects all of its addresses like this, and the token would not be sent along.
    to_https = here.origin[:2] == ("http", there.origin[1]) and there.origin[0] == "https"
    if to_https and _is_inside(source, url):
        raise Refusal(
            "image",
            f"Label Studio at {source.host} redirects to https: "
            "set LABEL_STUDIO_URL to its https address",
        )
    return there.text


def _not_let_in(source: Source) -> Refusal:
    has_token = source.label_studio is not None and source.label_studio.token
    had = "does not accept the token" if has_token else "needs a token"
    return Refusal("image", f"Label Studio {had} for the image {quoted(source.url or '')}{ADVICE}")


def _refused(source: Source, url: str, refused: guarded_http.AddressRefused) -> str:
    host, at = refused.host.strip("[]"), str(refused.address)
    if _is_inside(source, url):
        return f"Label Studio at {host} is on an address that no Label Studio can have ({at})"
    return (
        f"the image {quoted(source.url or '')} is on a private address "
        f"({host if host == at else f'{host}, {at}'}): "
        f"add {host} to ALLOWED_IMAGE_HOSTS to let the back end fetch it"
    )


def _unreachable(source: Source, url: str, error: Exception) -> str:
    why, advice = guarded_http.reason(error), ""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        why = "its TLS certificate is not trusted here"
        advice = ": set REQUESTS_CA_BUNDLE to a file with the certificate of its authority"
    elif not isinstance(error, requests.RequestException):  # for example, the CA bundle is missing
        why = str(error)
    elif _is_inside(source, url):
        advice = ": set LABEL_STUDIO_URL to an address of Label Studio that works from here"
    return f"the image {quoted(source.url or '')} cannot be fetched ({why}){advice}"


def _conditions(validator: str | None) -> dict[str, str]:
    if validator is None:
        return {}
    is_etag = validator.startswith(('"', "W/"))
    return {"If-None-Match" if is_etag else "If-Modified-Since": validator}


def _check_answer(response: requests.Response, source: Source) -> None:
    url, status = source.url or "", response.status_code
    is_page = "text/html" in response.headers.get("Content-Type", "")
    is_login = status in (401, 403) or (status == 200 and is_page)
    if is_login and _is_inside(source, response.url):
        raise _not_let_in(source)
    if status != 200:
        raise Refusal("image", f"the image {quoted(url)} cannot be fetched: HTTP {status}")
    if is_page:
        raise Refusal("image", f"there is a web page, not an image, at {quoted(url)}")
