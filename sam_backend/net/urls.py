"""Web addresses, parsed exactly as the HTTP client parses them. Pure.

Parsers differ on where a host ends (`http://a\\@b`), but the host that is judged must be the host
that is connected to. So an address is parsed in the form in which it is sent. An address that
could be read in two ways is rejected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import requests

MOST_CHARACTERS = 8192  # the limit of web servers for a request's first line

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


@lru_cache(maxsize=256)  # each click asks for the address of its image
def parse(text: str) -> Url | None:
    """The address in a text. None if it is not an address, or could be read in two ways."""
    return None if len(text) > MOST_CHARACTERS else _parse(text)


@lru_cache(maxsize=64)  # each address is parsed in several places
def _parse(text: str) -> Url | None:
    if _CONTROL.search(text) or not _ADDRESS.fullmatch(text):
        return None
    try:
        text.encode()  # fails for half of a surrogate pair
        sent = _as_sent(text)
        if len(sent) > MOST_CHARACTERS or not _ADDRESS.fullmatch(sent) or _as_sent(sent) != sent:
            return None
        parts = urlsplit(sent)  # as `requests` finds the host
        port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except (requests.RequestException, ValueError):
        return None
    return Url(sent, (parts.scheme, parts.hostname, port), parts.path) if parts.hostname else None


def origin(text: str) -> Origin | None:
    """Scheme, host and port of an address. None if it is no address."""
    url = parse(text)
    return url.origin if url else None


def _as_sent(text: str) -> str:
    request = requests.PreparedRequest()
    request.prepare_url(text, None)
    return str(request.url)
