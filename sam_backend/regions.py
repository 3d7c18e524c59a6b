"""From a mask to the results that draw it in the editor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sam_backend import rle
from sam_backend.errors import Refusal
from sam_backend.label_config import Control, LabelConfig
from sam_backend.prompts import Target
from sam_backend.segmenter import Segmentation

Result = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """The controls that hold a target's mask, and its labels in their words.

    One result of `<BrushLabels>`, or two of one id from `<Brush>` and `<Labels>`.
    """

    target: Target
    controls: tuple[Control, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, config: LabelConfig, target: Target) -> Output:
        control = config.output_for(target.to_name)
        naming = None if control.takes_labels else config.labels_for(target.to_name)
        words = tuple(config.label_word(naming or control, word) for word in target.labels)
        if control.takes_labels and not words:
            raise Refusal("prompt", "the prompt has no label: choose a label, then click again")
        both = (control, naming) if naming is not None and words else (control,)
        return cls(target, both, words)

    def brush(self, region_id: str, segmentation: Segmentation) -> list[Result]:
        """The results of one brush region."""
        stroke = {"format": "rle", "rle": rle.encode(segmentation.mask)}
        region: Result = {
            "id": region_id,
            "to_name": self.target.to_name,
            "original_width": self.target.width,
            "original_height": self.target.height,
            "image_rotation": self.target.rotation,
            "score": segmentation.score,
        }
        if self.target.item_index is not None:
            region["item_index"] = self.target.item_index
        return [
            {
                **region,
                "from_name": control.name,
                "type": control.tag.lower(),
                "value": {**stroke, control.tag.lower(): list(self.labels)}
                if control.takes_labels
                else stroke,
            }
            for control in self.controls
        ]
