"""How many masks fit into an answer: each one costs time by its pixels. Pure."""

from __future__ import annotations

from sam_backend.errors import Refusal
from sam_backend.programs.image import EmbeddedImage

MOST_PIXELS = 120_000_000
MOST_PROPOSAL_PIXELS = 1_000_000_000


def masks(image: EmbeddedImage) -> int:
    """The number of masks of an image that an answer has room for, at least one."""
    return _fitting(MOST_PIXELS, image)


def proposals(image: EmbeddedImage) -> int:
    """The same for everything in an image, which takes much longer."""
    return _fitting(MOST_PROPOSAL_PIXELS, image)


def _fitting(pixels: int, image: EmbeddedImage) -> int:
    return max(1, pixels // (image.width * image.height))


def no_room(count: int) -> Refusal:
    """For what comes after so many masks."""
    return Refusal(
        "limit",
        f"an answer has room for {count} masks of this image: ask for the others in another "
        "request",
    )


def no_decodes() -> Refusal:
    """For what comes after as many new masks as a request may ask for."""
    return Refusal(
        "limit", "this needs too many new masks at once: ask for it in a request of its own"
    )
