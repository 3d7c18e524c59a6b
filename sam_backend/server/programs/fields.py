"""The fields of a program's request, each checked. BadRequest (400) says what is wrong. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from werkzeug.exceptions import BadRequest

from sam_backend.clicks.everything import GRID, LEVELS, MIN_IOU, MOST, Level
from sam_backend.clicks.phrases import MOST_CHARACTERS, MOST_PHRASES
from sam_backend.clicks.similar import MOST_DECODES
from sam_backend.lines import one_line
from sam_backend.programs.mask import MOST_ALTERNATIVES

MOST_OBJECTS = 100
MOST_POINTS = 200  # in all objects together, as in a click
MOST_PROPOSALS = 200
MOST_EXAMPLES = 100  # with the objects that are not wanted, or that have a mask

Format = Literal["polygon", "rle", "coco_rle", "png", "bitmask"]
FORMATS: tuple[Format, ...] = get_args(Format)

# The names of fields that several requests have.
IMAGE = ("image", "image_id")
FORM = ("format", "tolerance")
OBJECT = ("points", "labels", "box", "mask_input")
EVERYTHING = ("most", "min_score", "grid", "level")
_EXAMPLE = (*OBJECT, "mask")


@dataclass(frozen=True)
class ImageFields:
    """An image by its id, by its address, or as the bytes of its file."""

    id: str | None = None
    url: str | None = None
    content: bytes | None = None


@dataclass(frozen=True)
class ObjectFields:
    """What points at one object. The numbers are checked where the image's size is known."""

    points: Any
    labels: Any
    box: Any
    mask_input: str | None
    mask: Mapping[str, Any] | None = None  # run lengths as COCO has them, in place of a prompt


@dataclass(frozen=True)
class ExampleFields:
    """Objects like those to find, objects of other kinds, and objects that are known already."""

    examples: list[ObjectFields]
    negatives: list[ObjectFields]
    taken: list[ObjectFields]


@dataclass(frozen=True)
class EverythingFields:
    """Which objects everything mode finds."""

    most: int
    min_score: float
    grid: int
    level: Level


def image(body: Mapping[str, Any], *, by_id: bool = True) -> ImageFields:
    """`image_id`, or `image` with a `url` or with `base64`."""
    id_, given = body.get("image_id"), body.get("image")
    if by_id and (id_ is None) == (given is None):
        raise BadRequest("give either 'image_id' or 'image'")
    if by_id and id_ is not None:
        if not isinstance(id_, str):
            raise BadRequest("'image_id' is not a text")
        return ImageFields(id=id_)
    if not isinstance(given, Mapping) or len(given) != 1:
        raise BadRequest("""'image' is neither {"url": "…"} nor {"base64": "…"}""")
    ((kind, value),) = given.items()
    if kind not in ("url", "base64") or not isinstance(value, str):
        raise BadRequest("""'image' is neither {"url": "…"} nor {"base64": "…"}""")
    return address(value) if kind == "url" else ImageFields(content=decoded(value))


def address(value: str) -> ImageFields:
    """An image at an http or https address, or in a data URL."""
    if value[:5].lower() == "data:":
        return ImageFields(content=decoded(value))
    if not value.lower().startswith(("http://", "https://")):
        raise BadRequest(
            f"the image's url {one_line(value, 100)!r} is not an http or https address"
        )
    return ImageFields(url=value)


def decoded(text: str) -> bytes:
    """The bytes of base64 text, or of a data URL."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise BadRequest("the image's data URL is not base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("the image is not base64 text") from None


def objects(body: Mapping[str, Any]) -> list[ObjectFields]:
    """`objects`, or the fields of one object beside the others."""
    return _objects(body, OBJECT)


def examples(body: Mapping[str, Any]) -> ExampleFields:
    """The examples as `objects` has them, `negatives` and `taken`; each may be a mask."""
    others = [
        [] if body.get(name) in (None, []) else _listed(body, name, _EXAMPLE)
        for name in ("negatives", "taken")
    ]
    found = ExampleFields(_objects(body, _EXAMPLE), *others)
    if sum(map(len, (found.examples, *others))) > MOST_EXAMPLES:
        raise BadRequest(
            f"there are over {MOST_EXAMPLES} objects in 'objects', 'negatives' and 'taken'"
        )
    return found


def alternatives(body: Mapping[str, Any]) -> int:
    """How many other masks of each object are wanted."""
    return integer(body, "alternatives", 0, 0, MOST_ALTERNATIVES)


def everything(body: Mapping[str, Any]) -> EverythingFields:
    level: Any = choice(body, "level", "all", LEVELS)
    return EverythingFields(
        most=integer(body, "most", MOST, 1, MOST_PROPOSALS),
        min_score=number(body, "min_score", MIN_IOU, 0, 1),
        grid=integer(body, "grid", GRID, 1, GRID),
        level=level,
    )


def similar(body: Mapping[str, Any]) -> int:
    """How many similar objects are wanted."""
    return integer(body, "most", MOST_DECODES, 1, MOST_DECODES)


def phrases(body: Mapping[str, Any]) -> list[str]:
    """`phrases`: what to look for in the image."""
    given = body.get("phrases")
    if not isinstance(given, list) or not 0 < len(given) <= MOST_PHRASES:
        raise BadRequest(f"'phrases' is not a list of 1 to {MOST_PHRASES} texts")
    for each in given:
        if not isinstance(each, str) or not 0 < len(each.strip()) <= MOST_CHARACTERS:
            raise BadRequest(f"one of 'phrases' is not a text of 1 to {MOST_CHARACTERS} characters")
    return [each.strip() for each in given]


def known(body: Mapping[str, Any], *names: str) -> None:
    """BadRequest for a field with a name that nothing reads, such as a misspelt one."""
    for name in body:
        if name not in names:
            raise BadRequest(
                f"there is no field {one_line(name, 100)!r} here; the fields are {', '.join(names)}"
            )


def form(body: Mapping[str, Any]) -> Format:
    """The format of masks; polygons if none is given."""
    value = body.get("format", "polygon")
    if value not in FORMATS:
        raise BadRequest(f"'format' is not one of {', '.join(FORMATS)}")
    found: Format = value
    return found


def number(body: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"{name!r} is not a number from {least:g} to {most:g}")
    return float(value)


def integer(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = number(body, name, default, least, most)
    if not value.is_integer():
        raise BadRequest(f"{name!r} is not a whole number")
    return int(value)


def choice(body: Mapping[str, Any], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = body.get(name, default)
    if value not in choices:
        raise BadRequest(f"{name!r} is not one of {', '.join(choices)}")
    return str(value)


def _objects(body: Mapping[str, Any], names: tuple[str, ...]) -> list[ObjectFields]:
    if body.get("objects") is None:
        return [_object({name: body.get(name) for name in names})]
    if any(body.get(name) is not None for name in names):
        raise BadRequest("give the points and the box in 'objects', or beside it, not in both")
    return _listed(body, "objects", names)


def _listed(body: Mapping[str, Any], name: str, names: tuple[str, ...]) -> list[ObjectFields]:
    """The objects in a list, each with fields of these names."""
    given = body[name]
    if not isinstance(given, list) or not 0 < len(given) <= MOST_OBJECTS:
        raise BadRequest(f"{name!r} is not a list of 1 to {MOST_OBJECTS} objects")
    found = []
    for each in given:
        if not isinstance(each, Mapping):
            raise BadRequest(f"one of {name!r} is not an object with points or a box")
        known(each, *names)
        found.append(_object(each))
    if sum(len(each.points or ()) for each in found) > MOST_POINTS:
        raise BadRequest(f"there are over {MOST_POINTS} points in {name!r}")
    return found


def _object(given: Mapping[str, Any]) -> ObjectFields:
    points, labels, box = given.get("points"), given.get("labels"), given.get("box")
    for name, value in (("points", points), ("labels", labels), ("box", box)):
        if value is not None and not isinstance(value, list):
            raise BadRequest(f"{name!r} is not a list")
    if len(points or ()) > MOST_POINTS or len(labels or ()) > MOST_POINTS:
        raise BadRequest(f"an object has over {MOST_POINTS} points")
    mask_input = given.get("mask_input")
    if mask_input is not None and not isinstance(mask_input, str):
        raise BadRequest("'mask_input' is not the 'answer_id' of an earlier answer")
    mask = given.get("mask")
    if mask is not None and any(given.get(name) is not None for name in OBJECT):
        raise BadRequest("give either a 'mask' or what points at the object")
    if mask is not None and not isinstance(mask, Mapping):
        raise BadRequest("""'mask' is not {"size": [height, width], "counts": "…"}""")
    return ObjectFields(points, labels, box, mask_input, mask)
