"""Refuses requests from web pages, which an annotator's browser could be made to send.

Browsers say that a page sends a request. Old browsers do not always, but they ask before they send
JSON to another site, and this server does not permit it. The name in `Host` proves nothing by
itself: the name of another site may lead to this server while its page is open.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden, UnsupportedMediaType
from werkzeug.wrappers import Request

FORM = "application/x-www-form-urlencoded"
# The form on the status page posts here.
FORM_ROUTES = ("/check",)
# The page /try asks these, and sends the bytes of an image.
PAGE_ROUTES = ("/v1/embed", "/v1/segment", "/v1/everything", "/v1/find-similar")
IMAGE_ROUTES = ("/v1/embed",)
# These tell of tasks and images. The others that need no body tell nothing of anybody.
TELLING_ROUTES = ("/", "/metrics")
# No site on the internet has a name with these endings, or a name without a dot.
_PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_ADVICE = (
    "use the IP address of the server, set BASIC_AUTH_USER and BASIC_AUTH_PASS, or add the name to "
    "SERVER_NAMES: without a password, a page that was opened by name may be another site's"
)


def refuse_pages(request: Request, *, is_guarded: bool, names: Collection[str] = ()) -> None:
    """Forbidden for a request of another site's page. UnsupportedMediaType if its body is not JSON.

    `is_guarded` says that a password is needed. A browser keeps it for the name that it was entered
    for, so no other site's page has it. `names` are known to be this server's own.
    """
    host = _host(request)
    is_safe = is_guarded or _is_own(host, names)
    if request.method in ("GET", "HEAD", "OPTIONS"):
        if request.path in TELLING_ROUTES and not is_safe:
            raise Forbidden(_ADVICE)
        return
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if request.path in FORM_ROUTES:
        _refuse_other_sites(host, origin, site, is_safe=is_safe)
        if request.mimetype == FORM:
            # Other sites' pages can send a form without asking, so the browser must vouch for it.
            if origin is None and site is None:
                raise Forbidden("the browser does not name the page of the form: use another one")
            return
    elif request.path in PAGE_ROUTES:
        _refuse_other_sites(host, origin, site, is_safe=is_safe)
    elif origin is not None or site is not None:
        raise Forbidden("requests from web pages are refused")
    if request.content_length and not _is_expected(request):
        also = " and not that of an image" if request.path in IMAGE_ROUTES else ""
        raise UnsupportedMediaType(f"the request's Content-Type is not application/json{also}")


def _is_expected(request: Request) -> bool:
    """Whether the body has a type that browsers send to no other site unasked."""
    is_image = request.mimetype.startswith(("image/", "application/octet-stream"))
    return request.mimetype == "application/json" or (is_image and request.path in IMAGE_ROUTES)


def _host(request: Request) -> str:
    """The name that the browser asked for. Werkzeug has none if it contains an underscore."""
    return request.host or request.headers.get("Host", "")


def _refuse_other_sites(host: str, origin: str | None, site: str | None, *, is_safe: bool) -> None:
    is_foreign = origin is not None and origin.partition("://")[2] != host
    if is_foreign or site not in (None, "none", "same-origin"):
        raise Forbidden("requests from pages of other sites are refused")
    if (origin is not None or site is not None) and not is_safe:
        raise Forbidden(_ADVICE)


def _is_own(host: str, names: Collection[str]) -> bool:
    """Whether no other site's page can have this host: names can be made to lead anywhere.

    Containers, Prometheus and local networks use the names that are accepted.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        if name in names or name.endswith(_PRIVATE_ENDINGS):
            return True
        return "." not in name or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
