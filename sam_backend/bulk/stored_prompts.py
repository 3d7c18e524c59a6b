"""The prompts that tasks already have: from people, from a detector, or in their data. Pure.

Each rectangle is an object. A keypoint in rectangles of its label refines the smallest of them. Any
other positive keypoint is a separate object, and a negative keypoint cuts the object of the nearest
positive one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_backend.clicks import prompts
from sam_backend.clicks.controls import Control
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.errors import Refusal
from sam_backend.formats.results import SHARED_LABELS, Result, is_prompt, mappings

ANNOTATIONS, PREDICTIONS = "annotations", "predictions"
MOST_PROMPTS = 10_000  # of one label on one image

Task = Mapping[str, Any]


class _Pixels(dict[str, float]):
    """Where an item of a data field lies, in pixels. No result in the JSON of a task has one."""


@dataclass(frozen=True)
class PromptChoice:
    """The choice of a task's prompts."""

    sources: tuple[str, ...] = (ANNOTATIONS, PREDICTIONS)  # or names of data fields
    labels: tuple[str, ...] = ()  # none: all
    prediction_version: str | None = None  # of the model that predicted them; None: the newest


@dataclass(frozen=True)
class StoredObject:
    """The prompts of one object, the first of which names its region."""

    target: Target
    prompts: tuple[Prompt, ...]

    @property
    def region_id(self) -> str:
        return prompts.mask_id(self.prompts[0].id)


def results(
    task: Task, choice: PromptChoice, config: LabelConfig, own_version: str
) -> list[Result]:
    """The results with prompts in a task. A region in several places counts once.

    Of several annotations, the ground truth counts, or else the one saved last. Of several
    predictions, the newest one from another model counts.
    """
    found: dict[tuple[str, str], Result] = {}
    for source in choice.sources:
        if source == ANNOTATIONS:
            part = _results(annotation(task))
        elif source == PREDICTIONS:
            part = _results(prediction(task, choice.prediction_version, own_version))
        else:
            part = _field_results(task, source, config)
        for result in part:
            found.setdefault((str(result.get("id")), str(result.get("type"))), result)
    prompt_ids = {id_ for (id_, _), result in found.items() if _is_prompt(result)}
    return [
        result
        for (id_, kind), result in found.items()
        if id_ in prompt_ids and (kind == SHARED_LABELS or _is_prompt(result))
    ]


def masked(task: Task, own_version: str) -> frozenset[str]:
    """The ids of a task's regions that this back end predicted or an annotator accepted.

    Parts of one mask are named a, a.2, a.3, …: the first one stands for all.
    """
    own = [p for p in mappings(task.get("predictions")) if p.get("model_version") == own_version]
    holders = [*own, *mappings(task.get("annotations"))]
    return frozenset(str(result.get("id")) for holder in holders for result in _results(holder))


def has_masked(task: Task, own_version: str, beginning: str | tuple[str, ...]) -> bool:
    """Whether one of the ids from `masked` begins like this."""
    return any(id_.startswith(beginning) for id_ in masked(task, own_version))


def with_size(result: Result, width: int, height: int) -> Result:
    """The result in the editor's form: with the image's size, which detectors leave out.

    Pixels from data fields become percent.
    """
    sized = {"original_width": width, "original_height": height, **result}
    pixels = sized.pop("pixels", None)
    if not isinstance(pixels, _Pixels):
        return sized
    scale = 100 / width, 100 / height
    place = {key: number * scale[key in ("y", "height")] for key, number in pixels.items()}
    return {**sized, "value": {**sized["value"], **place}}


def page(result: Result) -> tuple[str, int | None]:
    """The name of a result's image, and its index among several."""
    index = result.get("item_index")
    if not isinstance(index, int | None):
        raise Refusal("prompt", "the page of a prompt's image is not a number")
    return str(result.get("to_name")), index


def objects(found: Sequence[Result], choice: PromptChoice) -> list[StoredObject]:
    """The objects with the chosen labels under results with sizes."""
    return [
        StoredObject(target, group)
        for target, members in prompts.read(found).items()
        if not choice.labels or set(target.labels) & set(choice.labels)
        for group in _groups(members, target.aspect)
    ]


def output_control(config: LabelConfig, to_name: str, prompt_control: str) -> Control:
    """The control for an object's mask, which is never the control of its prompt.

    It is the first control for masks, or else the first one for tight boxes.
    """
    named = config.output_choice(prompt_control, {}).output
    if named is not None:
        return config.output_for(to_name, named)
    others = [
        control
        for control in config.controls
        if control.can_hold_masks_of(to_name) and control.name != prompt_control
    ]
    if not others:
        raise Refusal(
            "config",
            f"no control on image {to_name!r} can hold a mask of the regions in "
            f"{prompt_control!r}: add <BrushLabels> or <Brush> to the label config",
        )
    return min(others, key=lambda control: control.tag.startswith("Rectangle"))


def _is_prompt(result: Result) -> bool:
    """Whether this is a saved prompt, or an item of a data field in pixels."""
    return isinstance(result.get("pixels"), _Pixels) or is_prompt(result)


def _groups(members: Sequence[Prompt], aspect: float) -> Iterator[tuple[Prompt, ...]]:
    if len(members) > MOST_PROMPTS:  # each keypoint is compared with each rectangle
        raise Refusal(
            "prompt",
            f"{len(members)} prompts of a label on an image are over the limit of {MOST_PROMPTS}",
        )
    rectangles = [prompt for prompt in members if prompt.is_rectangle]
    array = prompts.rectangle_array(rectangles, aspect)
    groups = {prompt.id: [prompt] for prompt in rectangles}
    free = []
    for keypoint in (prompt for prompt in members if not prompt.is_rectangle):
        index, distance = prompts.nearest_rectangle(keypoint, array) if rectangles else (0, 1.0)
        if distance == 0:
            groups[rectangles[index].id].append(keypoint)
        else:
            free.append(keypoint)
    positive = [keypoint for keypoint in free if keypoint.is_positive]
    where = np.array([(keypoint.x, keypoint.y) for keypoint in positive]).reshape(-1, 2)
    groups |= {keypoint.id: [keypoint] for keypoint in positive}
    for keypoint in free:
        if not keypoint.is_positive and positive:
            nearest = np.hypot(*(where - (keypoint.x, keypoint.y)).T).argmin()
            groups[positive[nearest].id].append(keypoint)
    return (tuple(group) for group in groups.values())


def annotation(task: Task) -> Mapping[str, Any]:
    """Of several annotations, the ground truth, or else the one saved last."""
    usable = [a for a in mappings(task.get(ANNOTATIONS)) if not a.get("was_cancelled")]
    return max(usable, key=_standing, default={})


def _standing(annotation: Mapping[str, Any]) -> tuple[bool, str, float]:
    number = annotation.get("id")
    return (
        bool(annotation.get("ground_truth")),
        str(annotation.get("updated_at") or ""),
        number if isinstance(number, int) else 0,
    )


def prediction(task: Task, version: str | None, own_version: str) -> Mapping[str, Any]:
    """The newest prediction of a version. Without a version: of any model but this back end's."""
    usable = [
        prediction
        for prediction in mappings(task.get(PREDICTIONS))
        if prediction.get("model_version") != own_version
        and version in (None, prediction.get("model_version"))
    ]
    return max(usable, key=_standing, default={})


def _results(holder: Mapping[str, Any]) -> list[Result]:
    return mappings(holder.get("result"))


def _field_results(task: Task, field: str, config: LabelConfig) -> list[Result]:
    """A data field's boxes and points as results on the config's first image."""
    data = task.get("data")
    entries = data.get(field) if isinstance(data, Mapping) else None
    if entries is None:
        return []
    if not config.images:
        raise Refusal("config", "the label config has no <Image>")
    if not isinstance(entries, list):
        raise Refusal("prompt", f"the data field {field!r} is not a list of boxes and points")
    return [
        _field_result(field, number, entry, config.images[0].name)
        for number, entry in enumerate(entries)
    ]


def _field_result(field: str, number: int, entry: object, to_name: str) -> Result:
    """One of {"x", "y", "width", "height"} in percent, {"box": [x0, y0, x1, y1]} or
    {"point": [x, y], "positive": …} in pixels; each with an optional "label".
    """
    result: dict[str, Any] = {
        "id": f"{field}-{number}",
        "to_name": to_name,
        "from_name": field,
        "type": "rectangle",
    }
    given = entry if isinstance(entry, Mapping) else {}
    value: dict[str, Any] = {}
    try:
        if "box" in given:
            x0, y0, x1, y1 = map(float, given["box"])
            result["pixels"] = _Pixels(x=x0, y=y0, width=x1 - x0, height=y1 - y0)
        elif "point" in given:
            x, y = map(float, given["point"])
            result |= {"type": "keypoint", "is_positive": given.get("positive") is not False}
            result["pixels"] = _Pixels(x=x, y=y)
        else:
            value = {key: float(given[key]) for key in ("x", "y", "width", "height")}
    except (TypeError, ValueError, KeyError):
        raise Refusal(
            "prompt",
            f"entry {number + 1} of the data field {field!r} is not one of "
            '{"x", "y", "width", "height"} in percent, {"box": [x0, y0, x1, y1]} in pixels and '
            '{"point": [x, y]} in pixels',
        ) from None
    if given.get("label") is not None:
        value["labels"] = [str(given["label"])]
    return {**result, "value": value}
