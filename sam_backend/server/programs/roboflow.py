"""Roboflow Inference's requests for SAM 2, so that its clients can ask this back end.

An image's `value` that is an address is taken as one, whatever its `type`: Roboflow's own examples
send addresses as `base64`. `/sam2/embed_image` with points answers their masks too, for the same
reason. Nothing is asked of Roboflow, and `api_key` is not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from werkzeug.exceptions import BadRequest

from sam_backend.programs.mask import ObjectMask
from sam_backend.server.json_http import json_object
from sam_backend.server.programs import answer_limits, fields
from sam_backend.server.programs.fields import ImageFields, ObjectFields
from sam_backend.server.programs.handling import Fields, ProgramRoutes, Routes, answered
from sam_backend.server.programs.kept_images import KeptImage

_LONGEST_ID = 200
_TOLERANCE = 1.0


class Roboflow(ProgramRoutes):
    """The routes under /sam2."""

    def routes(self) -> Routes:
        return {
            "/sam2/embed_image": (["POST"], self.embed),
            "/sam2/segment_image": (["POST"], self.segment),
        }

    @answered
    def embed(self) -> Fields:
        body, started = json_object(), perf_counter()
        if "point_coords" in body or "prompts" in body:
            return self._segment(body)
        return {"image_id": self._image_id(body), "time": perf_counter() - started}

    @answered
    def segment(self) -> Fields:
        return self._segment(json_object())

    def _segment(self, body: Mapping[str, Any]) -> Fields:
        started = perf_counter()
        as_rle = fields.choice(body, "format", "json", ("json", "polygon", "rle")) == "rle"
        if body.get("mask_input") is not None:
            raise BadRequest("'mask_input' is not supported here: use /v1/segment")
        asked = _objects(body)
        kept = self._kept(body)
        asked = asked or [_all_of(kept)]
        room = answer_limits.masks(kept.image)
        if len(asked) > room:  # these answers have no place for the line of one object
            raise answer_limits.no_room(room)
        found, scores = [], []
        for each in asked:  # one mask at a time, because all masks of a large image fill the memory
            mask = self.parts.objects.mask(kept, each)
            found.append(mask.rle("coco") if as_rle else _polygons(mask))
            scores.append(mask.score)
        form = "rle" if as_rle else "polygon"
        return {
            "image_id": _name(body) or kept.id,
            "predictions": [
                {"masks": each, "confidence": score, "format": form}
                for each, score in zip(found, scores, strict=True)
            ],
            # Of Roboflow's older route for SAM, whose answers the examples read.
            "masks": found if as_rle else [line for lines in found for line in lines],
            "time": perf_counter() - started,
        }

    def _image_id(self, body: Mapping[str, Any]) -> str:
        kept = self._kept(body)
        return _name(body) or kept.id

    def _kept(self, body: Mapping[str, Any]) -> KeptImage:
        name = _name(body)
        own = None if name is None else "named:" + hashlib.sha256(name.encode()).hexdigest()
        if body.get("image") is not None:
            return self.parts.images.find(_image(body["image"]), own)
        if name is None:
            raise BadRequest("give 'image', or the 'image_id' of an image that was embedded")
        # An id of this server's own, or one that the program chose.
        known = self.parts.ids.content(name) is not None
        return self.parts.images.find(ImageFields(id=name if known else own))


def _name(body: Mapping[str, Any]) -> str | None:
    name = body.get("image_id")
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= _LONGEST_ID):
        raise BadRequest(f"'image_id' is not a text of 1 to {_LONGEST_ID} characters")
    return name


def _image(given: Any) -> ImageFields:
    value = given.get("value") if isinstance(given, Mapping) else None
    if not isinstance(value, str):
        raise BadRequest("""'image' is not {"type": "url" or "base64", "value": "…"}""")
    if value.lower().startswith(("http:", "https:", "data:")) or given.get("type") == "url":
        return fields.address(value)
    return ImageFields(content=fields.decoded(value))


def _objects(body: Mapping[str, Any]) -> list[ObjectFields]:
    """The prompts, in either of Roboflow's forms; none asks for the most prominent object."""
    if body.get("point_coords") is not None:
        one = {"points": body["point_coords"], "labels": body.get("point_labels")}
        return fields.objects({"objects": [one]})
    given = body.get("prompts")
    given = given.get("prompts") if isinstance(given, Mapping) else given
    if not given:
        return []
    try:
        return fields.objects({"objects": [_object(prompt) for prompt in given]})
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError):
        raise BadRequest("'prompts' is not a list of prompts with points or a box") from None


def _object(prompt: Mapping[str, Any]) -> Fields:
    points, box = prompt.get("points") or [], prompt.get("box")
    corners = None
    if box is not None:  # around its middle
        x, y, width, height = (float(box[name]) for name in ("x", "y", "width", "height"))
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return {
        "points": [[point["x"], point["y"]] for point in points],
        "labels": [int(bool(point.get("positive", True))) for point in points],
        "box": corners,
    }


def _all_of(kept: KeptImage) -> ObjectFields:
    return ObjectFields(None, None, [0, 0, kept.image.width, kept.image.height], None)


def _polygons(mask: ObjectMask) -> list[list[list[int]]]:
    return [line.round().astype(int).tolist() for line in mask.polygons(_TOLERANCE)]
