"""What a download brought."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """The bytes of an image, and the ETag or date by which its server can say "unchanged"."""

    content: bytes
    validator: str | None = None
