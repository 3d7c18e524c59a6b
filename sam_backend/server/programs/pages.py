"""The pages for people who use the engine without Label Studio: /try, and /docs."""

from __future__ import annotations

from ipaddress import ip_address
from mimetypes import guess_type
from pathlib import Path

from flask import Response, redirect, request
from werkzeug.exceptions import NotFound

from sam_backend.server import openapi
from sam_backend.server.json_http import Handler
from sam_backend.server.programs import api_page
from sam_backend.settings import Settings

_FOLDER = Path(__file__).resolve().parent.parent / "try_page"
_PARTS = frozenset(str(path.relative_to(_FOLDER)) for path in _FOLDER.rglob("*") if path.is_file())
_NO_OTHER_HOST = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


class Pages:
    """Plain HTML with one style sheet and one script, from this server alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def routes(self) -> dict[str, tuple[list[str], Handler]]:
        return {
            "/docs": (["GET"], self.docs),
            "/docs/docs.css": (["GET"], self.style),
            "/try": (["GET"], self.page),
            "/try/": (["GET"], self.without_slash),
            "/try/<path:name>": (["GET"], self.part),
        }

    def docs(self) -> Response:
        description = openapi.description(guarded=self._settings.basic_auth is not None)
        return _guarded(Response(api_page.page(description), mimetype="text/html"))

    def style(self) -> Response:
        return _file("docs.css")

    def page(self) -> Response:
        return self._try("page.html")

    def without_slash(self) -> Response:
        """Redirects to /try, because the page names its parts relative to that address."""
        return _guarded(redirect("../try"))  # type: ignore[arg-type]

    def part(self, name: str) -> Response:
        return self._try(name)

    def _try(self, name: str) -> Response:
        if not self._is_shown():
            raise NotFound(
                "the page to try the back end is for browsers on this machine: "
                "TRY_PAGE=on shows it to others"
            )
        return _file(name)

    def _is_shown(self) -> bool:
        if self._settings.try_page != "local":
            return self._settings.try_page == "on"
        # A proxy on this machine asks for others. It says so in one of these headers.
        return _is_loopback(request.remote_addr) and not any(
            name in request.headers for name in _FORWARDED
        )


def _file(name: str) -> Response:
    if name not in _PARTS:
        raise NotFound
    kind = guess_type(name)[0] or "application/octet-stream"
    return _guarded(Response((_FOLDER / name).read_bytes(), mimetype=kind))


def _is_loopback(address: str | None) -> bool:
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    # With HOST=::, IPv4 addresses are written as ::ffff:127.0.0.1.
    mapped = found.ipv4_mapped if found.version == 6 else None
    return (mapped or found).is_loopback


def _guarded(response: Response) -> Response:
    """With headers that keep the page from asking any other host."""
    response.headers.update(_NO_OTHER_HOST)
    return response
