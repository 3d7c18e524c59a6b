"""What the tests of images share: a Label Studio, its tokens, and what fetches from it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from sam_backend.images.fetching import Fetcher
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from tests.loopback import Reply

LS = StudioConnection("http://studio.example:8080", "f00d")


def fetcher(settings: Settings) -> Fetcher:
    return Fetcher(settings, LabelStudioAccess(settings))


def only_for(header: str, content: bytes) -> Callable[[str | None, bytes], Reply]:
    return lambda auth, _body: (200, {}, content) if auth == header else (401, {}, b"{}")


def jwt(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2ln"
