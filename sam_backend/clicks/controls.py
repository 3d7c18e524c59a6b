"""The tags of a label config that matter to clicks: controls with their labels, and images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sam_backend.clicks import finishing
from sam_backend.clicks.finishing import Finish

KEYPOINT_TAGS = ("KeyPointLabels", "KeyPoint")
RECTANGLE_TAGS = ("RectangleLabels", "Rectangle")
PROMPT_TAGS = KEYPOINT_TAGS + RECTANGLE_TAGS
OUTPUT_TAGS = (
    "BrushLabels",
    "Brush",
    "BitmaskLabels",
    "Bitmask",
    "PolygonLabels",
    "Polygon",
    "VectorLabels",
    "Vector",
    "RectangleLabels",
    "Rectangle",
)


@dataclass(frozen=True)
class Label:
    """A `<Label>`: the text for annotators, and the word in results."""

    value: str
    alias: str | None

    @property
    def word(self) -> str:
        return self.alias or self.value


@dataclass(frozen=True)
class Control:
    """A tag with `toName`. `labels` is empty for tags without their own labels."""

    tag: str
    name: str
    to_names: tuple[str, ...]
    labels: tuple[Label, ...]
    smart: bool
    smart_only: bool  # all its regions are prompts
    # Options of a prompt's control: the control for its masks, and the number for a single click.
    sam_output: str | None = None
    candidates: str | None = None
    # Wishes of an output's control, as they are written: how its masks are finished.
    finish_attributes: tuple[tuple[str, str], ...] = ()
    sam_find: str | None = None  # "rest": its prompts are examples of what to find

    @cached_property
    def words(self) -> dict[str, str]:
        """The word of each label by its word and by its value."""
        found: dict[str, str] = {}
        for label in self.labels:
            found.setdefault(label.word, label.word)
            found.setdefault(label.value, label.word)
        return found

    @cached_property
    def values(self) -> dict[str, str]:
        """The value of each label by its word."""
        return {label.word: label.value for label in reversed(self.labels)}

    @cached_property
    def has_labels_of_the_task(self) -> bool:
        return any(label.value.startswith("$") for label in self.labels)

    @cached_property
    def finish(self) -> Finish:
        """How masks are finished for this control. Refusal if an attribute is wrong."""
        return finishing.read(self.tag, self.name, dict(self.finish_attributes))

    @property
    def asks_in_words(self) -> bool:
        return self.tag == "TextArea" and self.smart

    @property
    def takes_labels(self) -> bool:
        return self.tag.endswith("Labels")

    def can_hold_masks_of(self, to_name: str) -> bool:
        # A smart rectangle is a prompt; the tight box of a mask goes to one that is not.
        is_prompt = self.smart and self.tag in PROMPT_TAGS
        return self.tag in OUTPUT_TAGS and to_name in self.to_names and not is_prompt


@dataclass(frozen=True)
class ImageObject:
    """An `<Image>` tag."""

    name: str
    value: str  # names the part of a task's data that it shows, see shown_data
    is_list: bool

    @property
    def data_key(self) -> str:
        """The name in the task's data. It may name a part of a part."""
        return self.value.lstrip("$")


@dataclass(frozen=True)
class OutputChoice:
    """Optional choices: the control for the masks, and the number of masks for a single click."""

    output: str | None
    candidates: int
