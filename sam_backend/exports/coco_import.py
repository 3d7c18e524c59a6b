"""COCO's annotations as Label Studio's tasks, in the form that a label config has for masks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sam_backend import masks, shapes
from sam_backend.drafts import mappings
from sam_backend.errors import Refusal
from sam_backend.exports import coco_rle
from sam_backend.exports.names import SafeNames, safe
from sam_backend.exports.regions import UNLABELED
from sam_backend.exports.tasks import Report
from sam_backend.label_config import LabelConfig, Wishes
from sam_backend.masks import Points
from sam_backend.pictures import MOST_PIXELS
from sam_backend.prompts import Target
from sam_backend.regions import Output, Result

# A task's data for a picture's file name. ValueError if there is none.
Data = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True)
class Coco:
    """What a COCO file holds; nothing in it is taken for granted."""

    images: list[Mapping[str, Any]]
    by_image: dict[object, list[Mapping[str, Any]]]
    labels: dict[object, str]

    @classmethod
    def read(cls, path: Path) -> Coco:
        try:
            content = orjson.loads(path.read_bytes())
        except OSError as error:
            raise Refusal("file", f"{path} cannot be read: {error.strerror}") from None
        except orjson.JSONDecodeError as error:
            raise Refusal("file", f"{path} is not JSON: {error}") from None
        lists = content if isinstance(content, dict) else {}
        missing = [k for k in ("images", "annotations", "categories") if k not in lists]
        if missing:
            raise Refusal("file", f"{path} is no COCO file: it has no {', no '.join(missing)}")
        by_image: dict[object, list[Mapping[str, Any]]] = {}
        for annotation in mappings(lists["annotations"]):
            by_image.setdefault(_key(annotation.get("image_id")), []).append(annotation)
        categories = mappings(lists["categories"])
        return cls(
            images=mappings(lists["images"]),
            by_image=by_image,
            labels={_key(c.get("id")): str(c.get("name")) for c in categories},
        )


class Import:
    """A COCO file on its way into a project with a label config."""

    def __init__(
        self,
        coco: Coco,
        config: LabelConfig,
        control: str | None,  # that takes the masks; None: the first one that can
        tolerance: float,  # of polygons, pixels
        report: Report,
    ) -> None:
        if not config.images or config.images[0].is_list:
            raise Refusal("config", "the label config has no <Image> that shows a single picture")
        self.regions = 0
        self._coco = coco
        self._config = config
        self._to_name = config.images[0].name
        self._wishes = Wishes(control, candidates=1)
        self._tolerance = tolerance
        self._report = report
        config.output_for(self._to_name, control)  # a Refusal now, not one for each mask
        # The labels of a mask of each category. None: it cannot be imported.
        self._words = {word: self._words_of(word) for word in sorted(set(coco.labels.values()))}

    def tasks(self, data: Data, kind: str) -> Iterator[Mapping[str, Any]]:
        """A task for each picture, also without masks; `kind` is the list that holds them."""
        for image in self._coco.images:
            file_name = str(image.get("file_name"))
            try:
                shown = data(file_name)
            except ValueError as error:
                self._report(f"picture {file_name!r}: {error}")
                continue
            ids = SafeNames()  # Label Studio takes regions of one id for one
            results = [
                result
                for annotation in self._coco.by_image.get(_key(image.get("id")), ())
                for result in self._results(annotation, image, ids)
            ]
            yield {"data": shown, kind: [{"result": results}]}

    def _words_of(self, word: str) -> tuple[str, ...] | None:
        for labels in ((word,), ()) if word == UNLABELED else ((word,),):
            with contextlib.suppress(Refusal):
                self._output(Target(self._to_name, None, labels, 1, 1, 0))
                return labels
        self._report(f"category {word!r} is left out: the label config has no such label")
        return None

    def _results(
        self, annotation: Mapping[str, Any], image: Mapping[str, Any], ids: SafeNames
    ) -> list[Result]:
        labels = self._labels(annotation)
        if labels is None:
            return []
        score = annotation.get("score")
        try:
            height, width = _size(image)
            target = Target(self._to_name, None, labels, width, height, _rotation(annotation))
            output = self._output(target)
            parts = self._parts(annotation.get("segmentation"), output)
        except (ValueError, Refusal) as error:
            where = f"picture {image.get('file_name')!r}, annotation {annotation.get('id')}"
            self._report(f"{where}: {error}")
            return []
        self.regions += 1
        region_id = ids.free(safe(f"coco-{annotation.get('id')}"))
        return output.results_of(
            region_id, parts, float(score) if isinstance(score, (int, float)) else None
        )

    def _labels(self, annotation: Mapping[str, Any]) -> tuple[str, ...] | None:
        """In the file's words: the category, or all labels where our export wrote several."""
        word = self._coco.labels.get(_key(annotation.get("category_id")))
        if word is None:
            self._report(f"annotation {annotation.get('id')}: its category is not in the file")
            return None
        several = annotation.get("labels")
        words = several if isinstance(several, list) and word in several else [word]
        found = [self._words.get(str(other)) for other in words]
        if None in found:
            return None  # its category was reported
        return tuple(label for labels in found for label in labels or ())

    def _output(self, target: Target) -> Output:
        return Output.of(self._config, target, self._wishes)

    def _parts(self, segmentation: object, output: Output) -> list[shapes.Value]:
        """The mask as the control takes it. Polygons stay as they are where it takes polygons."""
        height, width = output.target.height, output.target.width
        if isinstance(segmentation, Mapping):
            mask = coco_rle.decode(segmentation)
            if mask.shape != (height, width):
                raise ValueError(f"the mask is not one of {width}x{height} pixels")
        else:
            polygons = _polygons(segmentation)
            if output.control.tag in ("Polygon", "PolygonLabels"):
                size = np.array([width, height])
                return [{"points": (p / size * 100).tolist(), "closed": True} for p in polygons]
            mask = np.zeros((height, width), bool)
            for polygon in polygons:
                mask |= masks.polygon(polygon, height, width)
        if not mask.any():
            raise ValueError("the mask has no pixel")
        return shapes.in_form_of(output.control.tag, self._tolerance)(mask)


def _polygons(segmentation: object) -> list[Points]:
    """COCO's polygons [[x0, y0, x1, …], …] in pixels."""
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("it has no mask")
    return [masks.places(polygon) for polygon in segmentation]


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    height, width = image.get("height"), image.get("width")
    if not isinstance(height, int) or not isinstance(width, int):
        raise ValueError("the picture's width and height are not in the file")  # noqa: TRY004
    if not 0 < height * width <= MOST_PIXELS:
        raise ValueError(f"a picture of {width}x{height} pixels is none")
    return height, width


def _rotation(annotation: Mapping[str, Any]) -> float:
    """What our export wrote of a picture that was turned in the editor."""
    angle = annotation.get("image_rotation")
    return float(angle) if isinstance(angle, (int, float)) else 0


def _key(number: object) -> object:
    """An id, whatever it is, as a key."""
    return number if isinstance(number, (int, str)) else repr(number)
