"""What a tag of the label config shows of a task's data, as the editor finds it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Of an address that is put together. Each variable may stand for a long text.
MOST_VARIABLES = 16
MOST_CHARACTERS = 10_000

_VARIABLE = re.compile(r"\$[\w\[\].{}]+", re.ASCII)
_STEP = re.compile(r"[^.\[\]]+")
_MOST_DIGITS = 6  # of the place in a list


def data_part(value: str, data: Mapping[str, Any]) -> Any:
    """The part of the data that `value="$image"` shows. None if there is none.

    `$photo.url` and `$photos[0]` show a part of a part. A value with other text is put together:
    `https://example.com/$name`.
    """
    key = value.lstrip("$")
    if key in data:
        return data[key]
    if _VARIABLE.fullmatch(value):
        return _part(data, key)
    variables = _VARIABLE.findall(value)
    if not 0 < len(variables) <= MOST_VARIABLES:
        return None
    parts = [_part(data, variable[1:]) for variable in variables]
    texts = [str(part) for part in parts if isinstance(part, str | int)]
    if len(texts) < len(parts) or sum(map(len, (value, *texts))) > MOST_CHARACTERS:
        return None
    between = _VARIABLE.split(value)
    return "".join(a + b for a, b in zip(between, [*texts, ""], strict=True))


def data_that_shows(value: str, content: str) -> dict[str, Any]:
    """The data of a new task in which a tag shows this content.

    ValueError if that is not one part of the data.
    """
    key = value.removeprefix("$")
    if "$" in key or "[" in key:
        raise ValueError(f"<Image value={value!r}> shows no single part of a task's data")
    data: Any = content
    for step in reversed(key.split(".")):
        data = {step: data}
    return dict(data)


def _part(data: Mapping[str, Any], path: str) -> Any:
    if path in data:
        return data[path]
    steps = _STEP.findall(path)
    found: Any = data if steps else None
    for step in steps:
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and step.isdigit() and len(step) <= _MOST_DIGITS:
            found = found[int(step)] if int(step) < len(found) else None
        else:
            return None
    return found
