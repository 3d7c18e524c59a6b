"""From a program's points and box to the prompt of one object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sam_backend.clicks.segmenter import ObjectPrompt
from sam_backend.engines.frame import Floats
from sam_backend.errors import Refusal
from sam_backend.formats.mask import Mask

Points = Sequence[Sequence[float]] | npt.ArrayLike
Labels = Sequence[int] | npt.ArrayLike
Box = Sequence[float] | npt.ArrayLike


def object_prompt(
    width: int,
    height: int,
    points: Points | None = None,
    labels: Labels | None = None,
    box: Box | None = None,
) -> ObjectPrompt:
    """The prompt of an object in an image of this size.

    Points are x, y in image pixels, labels 1 (on the object) or 0 (not on it); without labels, all
    points are on the object. A box is left, top, right, bottom.
    """
    coordinates = _numbers(points, "points").reshape(-1, 2)
    signs = np.ones(len(coordinates), np.float32)
    if labels is not None:
        signs = _numbers(labels, "labels").ravel()
    if len(signs) != len(coordinates):
        raise Refusal("prompt", f"there are {len(coordinates)} points and {len(signs)} labels")
    if not np.isin(signs, (0, 1)).all():
        raise Refusal("prompt", "a label is neither 1 (on the object) nor 0 (not on it)")
    outside = (coordinates < 0) | (coordinates > [width, height])
    if outside.any():
        x, y = coordinates[outside.any(axis=1)][0]
        raise Refusal(
            "prompt", f"the point ({x:g}, {y:g}) is outside the image of {width}x{height} pixels"
        )
    return ObjectPrompt(coordinates, signs, _corners(width, height, box))


def added(earlier: ObjectPrompt, prompt: ObjectPrompt) -> ObjectPrompt:
    """The earlier prompt with further points. Points that it has already may be repeated first."""
    if prompt.extends(earlier):
        return prompt
    if prompt.box is not None and not np.array_equal(prompt.box, np.asarray(earlier.box)):
        raise Refusal(
            "prompt", "a box cannot refine a mask: refine it with points, or begin with the box"
        )
    return ObjectPrompt(
        np.concatenate((earlier.points, prompt.points)),
        np.concatenate((earlier.labels, prompt.labels)),
        earlier.box,
    )


def check_is_on_object(prompt: ObjectPrompt) -> None:
    """Refusal for a prompt that points at nothing."""
    if prompt.box is None and not prompt.labels.any():
        found = (
            "there are only points that are not on the object"
            if len(prompt.labels)
            else ("there is no prompt")
        )
        raise Refusal("prompt", f"{found}: add a point on it, or a box")


def check_is_example(masks: Mask) -> None:
    """Refusal for low-res masks (N, 256, 256) that show nothing."""
    if not masks.any():
        raise Refusal("prompt", "an example is missing: give the mask of an object")


def _corners(width: int, height: int, box: Box | None) -> Floats | None:
    if box is None:
        return None
    corners = _numbers(box, "box").ravel()
    if corners.shape != (4,):
        raise Refusal("prompt", "a box has four numbers: left, top, right, bottom")
    inside: Floats = np.clip(corners, 0, [width, height, width, height]).astype(np.float32)
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise Refusal(
            "prompt",
            f"the box {corners.tolist()} covers no pixel of the image of {width}x{height} pixels: "
            "its numbers are left, top, right, bottom",
        )
    return inside


def _numbers(values: npt.ArrayLike | None, name: str) -> Floats:
    try:
        with np.errstate(over="ignore"):  # beyond the range, a number is infinite
            array = np.asarray([] if values is None else values, np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        raise Refusal("prompt", f"the {name} are not numbers") from None
    if not np.isfinite(array).all():
        raise Refusal("prompt", f"the {name} are not finite numbers")
    # Callers count the points of a list, so a point cannot hold others.
    if name == "points" and array.size and (array.ndim > 2 or array.shape[-1] != 2):
        raise Refusal("prompt", "a point has two numbers: x, y")
    return array
