"""A model's extra params in Label Studio: typed by a person, for all clicks of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sam_backend.clicks.label_config import LabelConfig
from sam_backend.errors import Refusal

LEARN = "learn"  # from the masks that a project's annotators keep

_CANDIDATES = ("1", "2", "3")
_LONGEST_SAID = 40


def read(given: object, config: LabelConfig | None) -> tuple[dict[str, Any], str | None]:
    """The usable extra params, and one line about the others. `given` is JSON, or its text."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}, None
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            return {}, "the model's extra params are ignored: they are not JSON"
    if not isinstance(given, dict):
        return {}, "the model's extra params are ignored: they are not a JSON object"
    usable, problems = dict[str, Any](), list[str]()
    for name, value in given.items():
        problem = _problem(name, value, config)
        if problem:
            problems.append(f"{_short(name)}: {_short(value)} ({problem})")
        else:
            usable[name] = value
    if not problems:
        return usable, None
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return usable, f"the model's extra params are ignored in part: {problems[0]}{more}"


def usable(stored: Mapping[str, Any], config: LabelConfig, to_name: str) -> dict[str, Any]:
    """The extra params that fit a click on an image, because the label config may have changed."""
    found = {name: value for name, value in stored.items() if not _problem(name, value, None)}
    if "sam_output" in found and not _can_hold_masks(config, found["sam_output"], to_name):
        del found["sam_output"]
    return found


def _problem(name: object, value: object, config: LabelConfig | None) -> str | None:
    if name == "candidates":
        return None if str(value) in _CANDIDATES else "it can be 1, 2 or 3"
    if name == LEARN:
        return None if isinstance(value, bool) else "it can be true or false"
    if name != "sam_output":
        return "known are sam_output, candidates and learn"
    if not isinstance(value, str):
        return "it is not the name of a control"
    images = [image.name for image in config.images] if config else []
    if config and not any(_can_hold_masks(config, value, image) for image in images):
        return "no control of that name can hold a mask"
    return None


def _can_hold_masks(config: LabelConfig, control: str, to_name: str) -> bool:
    try:
        config.output_for(to_name, control)
    except Refusal:
        return False
    return True


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SAID else text[:_LONGEST_SAID] + "…"
