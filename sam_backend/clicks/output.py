"""From a mask to the results that show it in the editor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sam_backend.clicks import extra_params
from sam_backend.clicks.controls import Control, OutputChoice
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.errors import Refusal
from sam_backend.formats import mask_writer
from sam_backend.formats.mask import Mask
from sam_backend.formats.results import part_id

Result = dict[str, Any]


class ScoredMask(Protocol):
    """A mask (H, W) and the model's score of it, 0 to 1."""

    @property
    def mask(self) -> Mask: ...

    @property
    def score(self) -> float: ...


@dataclass(frozen=True)
class Output:
    """The controls for a target's masks, and its labels in their words.

    `<BrushLabels>` needs one result for a region. `<Brush>` with a shared `<Labels>` needs two with
    the same id. Polygons, bitmasks and rectangles work in the same way.
    """

    target: Target
    control: Control
    naming: Control | None
    labels: tuple[str, ...]
    candidates: int  # for a single click

    @classmethod
    def for_click(
        cls, config: LabelConfig, target: Target, control: str, extra: Mapping[str, Any]
    ) -> Output:
        """The output for the options on a prompt's control, or in the model's extra params."""
        fitting = extra_params.usable(extra, config, target.to_name) if extra else {}
        return cls.of(config, target, config.output_choice(control, fitting))

    @classmethod
    def in_control(cls, config: LabelConfig, target: Target, control: str | None) -> Output:
        """One mask for each object, in a control of this name, or in the first one that fits."""
        return cls.of(config, target, OutputChoice(control, candidates=1))

    @classmethod
    def of(cls, config: LabelConfig, target: Target, output_choice: OutputChoice) -> Output:
        control = config.output_for(target.to_name, output_choice.output)
        _ = control.finish  # a Refusal now, not after the work
        naming = None if control.takes_labels else config.labels_for(target.to_name)
        words = tuple(config.label_word(naming or control, word) for word in target.labels)
        if control.takes_labels and not words:
            raise Refusal("prompt", "the prompt has no label: choose a label, then click again")
        return cls(target, control, naming if words else None, words, output_choice.candidates)

    def most_masks(self, group: Sequence[Prompt]) -> int:
        """How many masks an object may get: a single keypoint is ambiguous."""
        return self.candidates if len(group) == 1 and not group[0].is_rectangle else 1

    def results(
        self,
        region_id: str,
        segmentation: ScoredMask,
        polygon_tolerance: float,
        *,
        is_new: bool = True,
    ) -> list[Result]:
        """The results of a mask: one region, or one for each outline.

        A new mask is finished for its control. An existing mask keeps its painted pixels.
        """
        finish = self.control.finish
        mask = finish.applied_to(segmentation.mask) if is_new else segmentation.mask
        parts = self.values(mask, finish.tolerance(mask, polygon_tolerance))
        return self.results_of(region_id, parts, segmentation.score)

    def values(self, mask: Mask, polygon_tolerance: float) -> list[mask_writer.Value]:
        """A mask in the control's form: one value, or one for each polygon."""
        return mask_writer.in_form_of(self.control.tag, polygon_tolerance)(mask)

    def results_of(
        self, region_id: str, parts: Sequence[mask_writer.Value], score: float | None
    ) -> list[Result]:
        """The results of a mask that already has the control's form."""
        found: list[Result] = []
        for index, value in enumerate(parts):
            region = self._region(part_id(region_id, index), score)
            found += [self._result(region, self.control, value)]
            if self.naming is not None:
                found += [self._result(region, self.naming, value)]
        return found

    def _region(self, region_id: str, score: float | None) -> Result:
        region: Result = {
            "id": region_id,
            "to_name": self.target.to_name,
            "original_width": self.target.width,
            "original_height": self.target.height,
            "image_rotation": self.target.rotation,
        }
        if score is not None:
            region["score"] = score
        if self.target.item_index is not None:
            region["item_index"] = self.target.item_index
        return region

    def _result(self, region: Result, control: Control, value: dict[str, Any]) -> Result:
        kind = control.tag.lower()
        labelled = {**value, kind: list(self.labels)} if control.takes_labels else value
        return {**region, "from_name": control.name, "type": kind, "value": labelled}
