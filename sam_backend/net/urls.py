"""An address on the web, read once: as the client reads it that connects. Pure.

Parsers differ on where a host ends (`http://a\\@b`), and what is judged must be what is connected
to. So an address is taken in the form in which it is sent, and one that could be read in two ways
is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

MOST_CHARACTERS = 8192  # what web servers take in a request's first line

Origin = tuple[str, str, int]  # scheme, host, port

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ADDRESS = re.compile(
    r"https?://"
    r"(?:[^/?#\\@\s]*@)?"  # a user and a password
    r"(?:\[[0-9a-f:.]+\]|[^/?#\\@\s\[\]%:]+)(?::[0-9]*)?"
    r"(?:/[^?#\\]*)?(?:[?#].*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Url:
    """An http address in the form in which it is sent."""

    text: str
    origin: Origin
    path: str

    @property
    def host_header(self) -> str:
        """Host and port, without the port that is the scheme's default."""
        scheme, host, port = self.origin
        name = f"[{host}]" if ":" in host else host
        return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"


def parse(text: str) -> Url | None:
    """The address that a text is; None if it is none, or could be read in two ways."""
    if len(text) > MOST_CHARACTERS or _CONTROL.search(text) or not _ADDRESS.fullmatch(text):
        return None
    try:
        text.encode()  # half a character has no bytes
        sent = _as_sent(text)
        if len(sent) > MOST_CHARACTERS or not _ADDRESS.fullmatch(sent) or _as_sent(sent) != sent:
            return None
        parts = urlsplit(sent)  # as `requests` finds the host in what it sends
        port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except (requests.RequestException, ValueError):
        return None
    return Url(sent, (parts.scheme, parts.hostname, port), parts.path) if parts.hostname else None


def origin(text: str) -> Origin | None:
    """Scheme, host and port of an address; None if it is not one."""
    url = parse(text)
    return url.origin if url else None


def _as_sent(text: str) -> str:
    request = requests.PreparedRequest()
    request.prepare_url(text, None)
    return str(request.url)
