"""Smart keypoints and rectangles as the editor sends them, and as pixels of the image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sam_backend.clicks.segmenter import ObjectPrompt
from sam_backend.engines.frame import Floats, Frame
from sam_backend.errors import Refusal
from sam_backend.formats import results as json_results
from sam_backend.formats.results import PROMPT_TYPES, RECTANGLE_TYPES, value

RectangleArray = npt.NDArray[np.float64]

# Limits of a click: its regions, and the images or labels of its prompts.
MOST_RESULTS = 10_000
MOST_TARGETS = 32
# Limits of a prompt. Each part of the answer repeats these values.
MOST_LABELS = 100
MOST_CHARACTERS = 1000  # of an id, a name or a label
MOST_SIDE = 10_000_000  # of an image, and of pages


@dataclass(frozen=True)
class Target:
    """The image, page and label that prompts of one object share."""

    to_name: str
    item_index: int | None
    labels: tuple[str, ...]
    width: int  # of the image in pixels, as the browser shows it
    height: int
    rotation: float  # of the image, degrees; echoed in the answer

    @property
    def page(self) -> json_results.Page:
        return json_results.Page(self.to_name, self.item_index, self.height, self.width)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.width, self.height

    @property
    def aspect(self) -> float:
        """How many times as wide as high the image is."""
        return self.width / self.height

    @property
    def frame(self) -> Frame:
        return Frame(self.height, self.width)

    def pixels(self, keypoints: Sequence[Prompt]) -> Floats:
        """The places of keypoints (N, 2) x, y in pixels of the image, none outside."""
        size = np.array([self.width, self.height], np.float32)
        points = np.array([(p.x, p.y) for p in keypoints], np.float32).reshape(-1, 2) / 100 * size
        return np.clip(points, 0, size - 1).astype(np.float32)


@dataclass(frozen=True)
class Prompt:
    """One smart region. Its place is in percent of the image, as the editor counts."""

    id: str
    x: float
    y: float
    # A keypoint has no size.
    width: float = 0.0
    height: float = 0.0
    angle: float = 0.0
    is_rectangle: bool = False
    is_positive: bool = True
    control: str = ""  # that it was placed with


def mask_id(prompt_id: str) -> str:
    """The id of a prompt's region: the same with each click, and different from the prompt's id.

    With the prompt's own id, the editor would merge the two on accept, and break on undo.
    """
    return f"m-{prompt_id}"


def from_click(results: Sequence[Mapping[str, Any]]) -> dict[Target, tuple[Prompt, ...]]:
    """The prompts of a click's context. Refusal if there are more than an annotator places."""
    if len(results) > MOST_RESULTS:
        raise Refusal(
            "prompt", f"{len(results)} regions in one click are over the limit of {MOST_RESULTS}"
        )
    found = read(results)
    if len(found) > MOST_TARGETS:
        raise Refusal(
            "prompt",
            f"the prompts of one click have {len(found)} labels or images, over the limit of "
            f"{MOST_TARGETS}: accept the finished masks, which removes their prompts",
        )
    return found


def read(results: Iterable[Mapping[str, Any]]) -> dict[Target, tuple[Prompt, ...]]:
    """The prompts among the results of a context or draft, by target.

    With a shared `<Labels>`, one prompt is two results of one id: the second carries the label.
    A region with a mask and a prompt's type is an accepted mask, not a prompt.
    """
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        if isinstance(result, Mapping) and not json_results.has_mask(result):
            by_id.setdefault(_text(result.get("id")), []).append(result)
    found: dict[Target, list[Prompt]] = {}
    for parts in by_id.values():
        shape = next((part for part in parts if part.get("type") in PROMPT_TYPES), None)
        if shape is not None:
            found.setdefault(_target(shape, parts), []).append(_prompt(shape))
    return {target: tuple(prompts) for target, prompts in found.items()}


def objects(prompts: Sequence[Prompt], aspect: float) -> list[tuple[Prompt, ...]]:
    """The prompts of each object, in order of placement: one object per rectangle.

    With several rectangles, a keypoint belongs to the smallest around it, or else to the nearest.
    `aspect` is the image's.
    """
    rectangles = [prompt for prompt in prompts if prompt.is_rectangle]
    if len(rectangles) <= 1:
        return [tuple(prompts)] if prompts else []
    array = rectangle_array(rectangles, aspect)
    groups: dict[str, list[Prompt]] = {rectangle.id: [] for rectangle in rectangles}
    for prompt in prompts:
        owner = prompt if prompt.is_rectangle else rectangles[nearest_rectangle(prompt, array)[0]]
        groups[owner.id].append(prompt)
    return [tuple(group) for group in groups.values()]


def rectangle_array(rectangles: Sequence[Prompt], aspect: float) -> RectangleArray:
    """The rectangles of an image (N, 7): x, y, width and height in percent, and their rotation.

    The rotation is a cosine and two sines, which also turn percents of the image's width into
    percents of its height, and back. `aspect` is the image's.
    """
    turns = [math.radians(r.angle) for r in rectangles]
    rows = [
        (
            r.x,
            r.y,
            r.width,
            r.height,
            math.cos(turn),
            math.sin(turn) * aspect,
            math.sin(turn) / aspect,
        )
        for r, turn in zip(rectangles, turns, strict=True)
    ]
    return np.array(rows, np.float64).reshape(-1, 7)


def nearest_rectangle(keypoint: Prompt, rectangles: RectangleArray) -> tuple[int, float]:
    """The nearest rectangle's index, the smallest of equally near ones, and its distance.

    A distance is in percent, and 0 within the rectangle.
    """
    # Rotation turns the rectangle about its top-left corner; turn the point back instead.
    left, top, width, height, cosine, sine_down, sine_across = rectangles.T
    dx, dy = keypoint.x - left, keypoint.y - top
    x = dx * cosine + dy * sine_across
    y = dy * cosine - dx * sine_down
    across = np.maximum(np.maximum(-x, 0), x - width)
    down = np.maximum(np.maximum(-y, 0), y - height)
    distances = np.hypot(across, down)
    nearest = np.flatnonzero(distances == distances.min())
    best = int(nearest[(width * height)[nearest].argmin()])
    return best, float(distances[best])


def object_prompt(prompts: Sequence[Prompt], target: Target) -> ObjectPrompt:
    """The prompts of one object in image pixels. At most one of them is a rectangle."""
    rectangle = next((prompt for prompt in prompts if prompt.is_rectangle), None)
    keypoints = [prompt for prompt in prompts if not prompt.is_rectangle]
    return ObjectPrompt(
        points=target.pixels(keypoints),
        labels=np.array([p.is_positive for p in keypoints], np.float32),
        box=None if rectangle is None else _box(rectangle, target),
    )


def _box(rectangle: Prompt, target: Target) -> Floats:
    """The upright box around a rectangle (4,) x0, y0, x1, y1 in pixels, cut to the image."""
    turn = math.radians(rectangle.angle)
    left, top = rectangle.x / 100 * target.width, rectangle.y / 100 * target.height
    width = rectangle.width / 100 * target.width
    height = rectangle.height / 100 * target.height
    corners = [
        (
            left + u * math.cos(turn) - v * math.sin(turn),
            top + u * math.sin(turn) + v * math.cos(turn),
        )
        for u, v in ((0, 0), (width, 0), (width, height), (0, height))
    ]
    xs = np.clip([x for x, _ in corners], 0, target.width)
    ys = np.clip([y for _, y in corners], 0, target.height)
    if np.ptp(xs) < 1 or np.ptp(ys) < 1:
        raise Refusal("prompt", "the rectangle covers no pixel of the image: draw a larger one")
    return np.array([xs.min(), ys.min(), xs.max(), ys.max()], np.float32)


def _target(shape: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> Target:
    try:
        width, height = int(shape["original_width"]), int(shape["original_height"])
        item_index = shape.get("item_index")
        target = Target(
            to_name=_text(shape["to_name"]),
            item_index=None if item_index is None else int(item_index),
            labels=_labels(parts),
            width=width,
            height=height,
            rotation=float(shape.get("image_rotation") or 0),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refusal("prompt", f"the prompt is incomplete: {error!r}") from None
    if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE):
        raise Refusal("prompt", "the size of the prompt's image is impossible")
    if not 0 <= (target.item_index or 0) <= MOST_SIDE or not math.isfinite(target.rotation):
        raise Refusal("prompt", "the page or the rotation of the prompt's image is impossible")
    return target


def _labels(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The label words of a region, from whichever of its results and keys has them."""
    for part in parts:
        words = json_results.labels(part)
        if words is not None:
            if len(words) > MOST_LABELS:
                raise Refusal("prompt", f"the prompt has over {MOST_LABELS} labels")
            return tuple(map(_text, words))
    return ()


def _prompt(shape: Mapping[str, Any]) -> Prompt:
    place = value(shape)
    is_rectangle = shape.get("type") in RECTANGLE_TYPES
    try:
        x, y = float(place["x"]), float(place["y"])
        width, height = (
            (float(place["width"]), float(place["height"])) if is_rectangle else (0.0, 0.0)
        )
        angle = float(place.get("rotation") or 0) if is_rectangle else 0.0
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refusal("prompt", f"the prompt is incomplete: {error!r}") from None
    if not all(abs(number) <= MOST_SIDE for number in (x, y, width, height, angle)):  # nor NaN
        raise Refusal("prompt", "the prompt's place is not a number")
    return Prompt(
        _text(shape.get("id")),
        x,
        y,
        width,
        height,
        angle,
        is_rectangle=is_rectangle,
        # Only smart keypoints say it, and only Alt makes it false: absent means positive. Later
        # versions of Label Studio say it within the value.
        is_positive=shape.get("is_positive") is not False and place.get("positive") is not False,
        control=_text(shape.get("from_name")),
    )


def _text(given: object) -> str:
    """An id, a name or a label."""
    if isinstance(given, list | dict) or len(text := str(given)) > MOST_CHARACTERS:
        raise Refusal("prompt", f"an id, a name or a label is over {MOST_CHARACTERS} characters")
    return text
