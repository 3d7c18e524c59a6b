"""The description at /openapi.json: a file, completed with the facts of this server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from sam_backend import __version__
from sam_backend.server.credentials import OPEN_ROUTES

_FILE = Path(__file__).with_suffix(".json")

_REFUSED = {
    "description": "user name or password is missing or wrong",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def description(*, guarded: bool) -> dict[str, Any]:
    """The complete description. `guarded`: a user name and a password are set."""
    whole: dict[str, Any] = orjson.loads(_FILE.read_bytes())
    whole["info"]["version"] = __version__
    if guarded:
        whole["components"]["securitySchemes"] = {"basic": {"type": "http", "scheme": "basic"}}
        for path, calls in whole["paths"].items():
            for call in calls.values() if path not in OPEN_ROUTES else ():
                call["security"] = [{"basic": []}]
                call["responses"]["401"] = _REFUSED
    return whole
