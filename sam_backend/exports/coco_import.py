"""COCO's annotations as Label Studio's tasks, in the form that a label config has for masks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.errors import Refusal
from sam_backend.exports import coco_file
from sam_backend.exports.coco_file import CocoAnnotation, CocoFile, CocoImage
from sam_backend.exports.file_names import SafeNames, safe
from sam_backend.exports.saved_regions import UNLABELED
from sam_backend.exports.task_file import Report

# A task's data for a picture's file name. ValueError if there is none.
Data = Callable[[str], Mapping[str, Any]]


class Import:
    """The import of a COCO file into a project with a label config."""

    def __init__(
        self,
        coco: CocoFile,
        config: LabelConfig,
        control: str | None,  # the control for the masks. None: the first one that can hold them
        tolerance: float,  # of polygons, pixels
        report: Report,
    ) -> None:
        if not config.images or config.images[0].is_list:
            raise Refusal("config", "the label config has no <Image> that shows a single picture")
        self.regions = 0
        self._coco = coco
        self._config = config
        self._to_name = config.images[0].name
        self._control = control
        self._tolerance = tolerance
        self._report = report
        config.output_for(self._to_name, control)  # one Refusal now, not one for each mask
        # The labels for a mask of each category. None: the category cannot be imported.
        self._words = {word: self._words_of(word) for word in coco.category_names}

    def tasks(self, data: Data, kind: str) -> Iterator[Mapping[str, Any]]:
        """A task for each picture, even without masks. `kind` is "annotations" or "predictions"."""
        for image in self._coco.images:
            file_name = str(image.get("file_name"))
            try:
                task_data = data(file_name)
            except ValueError as error:
                self._report(f"picture {file_name!r}: {error}")
                continue
            ids = SafeNames()  # Label Studio would merge regions with the same id
            results = [
                result
                for annotation in self._coco.annotations(image)
                for result in self._results(annotation, image, ids)
            ]
            yield {"data": task_data, kind: [{"result": results}]}

    def _words_of(self, word: str) -> tuple[str, ...] | None:
        for labels in ((word,), ()) if word == UNLABELED else ((word,),):
            with contextlib.suppress(Refusal):
                self._output(Target(self._to_name, None, labels, 1, 1, 0))
                return labels
        self._report(f"category {word!r} is left out: the label config has no such label")
        return None

    def _results(
        self, annotation: CocoAnnotation, image: CocoImage, ids: SafeNames
    ) -> list[Result]:
        labels = self._labels(annotation)
        if labels is None:
            return []
        score = annotation.get("score")
        try:
            height, width = coco_file.size(image)
            target = Target(self._to_name, None, labels, width, height, _rotation(annotation))
            output = self._output(target)
            parts = self._parts(annotation, output)
        except (ValueError, Refusal) as error:
            where = f"picture {image.get('file_name')!r}, annotation {annotation.get('id')}"
            self._report(f"{where}: {error}")
            return []
        self.regions += 1
        region_id = ids.free(safe(f"coco-{annotation.get('id')}"))
        return output.results_of(
            region_id, parts, float(score) if isinstance(score, (int, float)) else None
        )

    def _labels(self, annotation: CocoAnnotation) -> tuple[str, ...] | None:
        """The labels of an annotation: its category, or several labels from our own export."""
        word = self._coco.category(annotation)
        if word is None:
            self._report(f"annotation {annotation.get('id')}: its category is not in the file")
            return None
        several = annotation.get("labels")
        words = several if isinstance(several, list) and word in several else [word]
        found = [self._words.get(str(other)) for other in words]
        if None in found:
            return None  # the category has been reported
        return tuple(label for labels in found for label in labels or ())

    def _output(self, target: Target) -> Output:
        return Output.in_control(self._config, target, self._control)

    def _parts(self, annotation: CocoAnnotation, output: Output) -> list[dict[str, Any]]:
        """The mask in the form of the control. For a polygon control, polygons stay unchanged."""
        height, width = output.target.height, output.target.width
        lines = coco_file.polygons(annotation)
        if lines is not None and output.control.tag in ("Polygon", "PolygonLabels"):
            percent = 100 / np.array([width, height])
            return [{"points": (line * percent).tolist(), "closed": True} for line in lines]
        return output.values(coco_file.mask(annotation, height, width), self._tolerance)


def _rotation(annotation: CocoAnnotation) -> float:
    """The rotation of the picture in the editor, which our own export writes."""
    angle = annotation.get("image_rotation")
    return float(angle) if isinstance(angle, (int, float)) else 0
