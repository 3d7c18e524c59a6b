"""Refuses requests from web pages, which an annotator's browser could be made to send.

Browsers say that a page sends a request. Old browsers do not always, but they ask before they send
JSON to another site, and this server does not permit it. The name in `Host` proves nothing by
itself: the name of another site may lead to this server while its page is open.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden, UnsupportedMediaType
from werkzeug.wrappers import Request

FORM = "application/x-www-form-urlencoded"
# The form on the status page posts here.
FORM_ROUTES = ("/check",)
# The page /try asks these, and sends the bytes of an image.
PAGE_ROUTES = ("/v1/embed", "/v1/segment", "/v1/everything", "/v1/find-similar")
IMAGE_ROUTES = ("/v1/embed",)


def refuse_pages(request: Request, *, is_guarded: bool) -> None:
    """Forbidden for a request of another site's page. UnsupportedMediaType if its body is not JSON.

    `is_guarded` says that a password is needed. A browser keeps it for the name that it was entered
    for, so no other site's page has it.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if request.path in FORM_ROUTES:
        _refuse_other_sites(request, origin, site, is_guarded=is_guarded)
        if request.mimetype == FORM:
            # Other sites' pages can send a form without asking, so the browser must vouch for it.
            if origin is None and site is None:
                raise Forbidden("the browser does not name the page of the form: use another one")
            return
    elif request.path in PAGE_ROUTES:
        _refuse_other_sites(request, origin, site, is_guarded=is_guarded)
    elif origin is not None or site is not None:
        raise Forbidden("requests from web pages are refused")
    if request.content_length and not _is_expected(request):
        also = " and not that of an image" if request.path in IMAGE_ROUTES else ""
        raise UnsupportedMediaType(f"the request's Content-Type is not application/json{also}")


def _is_expected(request: Request) -> bool:
    """Whether the body has a type that browsers send to no other site unasked."""
    is_image = request.mimetype.startswith(("image/", "application/octet-stream"))
    return request.mimetype == "application/json" or (is_image and request.path in IMAGE_ROUTES)


def _refuse_other_sites(
    request: Request, origin: str | None, site: str | None, *, is_guarded: bool
) -> None:
    is_foreign = origin is not None and origin.partition("://")[2] != request.host
    if is_foreign or site not in (None, "none", "same-origin"):
        raise Forbidden("requests from pages of other sites are refused")
    is_from_page = origin is not None or site is not None
    if is_from_page and not is_guarded and not _is_number_or_local(request.host):
        raise Forbidden(
            "open this page by the IP address of the server, or set BASIC_AUTH_USER and "
            "BASIC_AUTH_PASS: without a password, a page that was opened by name may be another "
            "site's"
        )


def _is_number_or_local(host: str) -> bool:
    """Whether no other site's page can have this host: names can be made to lead anywhere."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
