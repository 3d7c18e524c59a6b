"""The prompts that a click asks about: its own, or the prompts of the task's draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam_backend import watched_click
from sam_backend.clicks import newest, prompts
from sam_backend.clicks.newest import Found
from sam_backend.errors import Refusal

# No object needs more clicks, and each one costs a decode.
MAX_PROMPTS = 200
# Reported while the draft is answered.
WITHOUT_RECTANGLE = Refusal(
    "config",
    "the click came without its rectangle, so a rectangle of the saved draft is used: this version "
    "of Label Studio sends rectangles of <RectangleLabels> only, "
    "see label_configs/brush_and_boxes.xml",
)


@dataclass(frozen=True)
class ClickPrompts:
    """The prompts that came with a click, by their target. If there are none: the draft's."""

    sent: Found
    drawn: Found

    @classmethod
    def of(cls, results: Sequence[Any], task: Mapping[str, Any]) -> ClickPrompts:
        """The prompts in a click's results. Refusal if there are too many."""
        sent = prompts.from_click(results)
        for context in sent.values():
            watched_click.current().saw_prompts(context)
        count = sum(map(len, sent.values()))
        if count > MAX_PROMPTS:
            raise Refusal(
                "prompt",
                f"{count} prompts in one click are over the limit of {MAX_PROMPTS}: accept the "
                "finished masks, which removes their prompts",
            )
        return cls(sent, {} if sent else newest.drawn(task))

    @property
    def are_sent(self) -> bool:
        """Whether the click came with prompts."""
        return bool(self.sent)

    @property
    def are_none(self) -> bool:
        """Whether there is nothing to answer."""
        return not self.sent and not self.drawn
