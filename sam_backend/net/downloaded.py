"""The result of a download."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """The bytes of an image, and its ETag or date, with which a server can answer "unchanged"."""

    content: bytes
    validator: str | None = None
