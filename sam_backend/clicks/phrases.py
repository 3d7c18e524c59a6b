"""Phrases that name objects, and the labels that the objects get.

An annotator writes phrases into a smart `<TextArea>`. A phrase with the name of a label finds
objects of that label. `truck=Vehicle` finds trucks and labels them Vehicle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.output import Output
from sam_backend.clicks.prompts import Target
from sam_backend.errors import Refusal

MOST_PHRASES = 20  # in one request: each needs a run of the text model
MOST_CHARACTERS = 200  # of a phrase


@dataclass(frozen=True)
class Phrase:
    """Words that name a kind of object, and the label for it if they say one."""

    text: str
    label: str | None = None

    @property
    def beginning(self) -> str:
        """How the ids of its regions begin. Asking again replaces them."""
        return f"m-{hashlib.sha256(self.text.lower().encode()).hexdigest()[:8]}-"

    def id_of(self, number: int) -> str:
        """The id of a region."""
        return f"{self.beginning}{number}"

    def output(self, config: LabelConfig, target: Target, choice: OutputChoice) -> Output:
        """The output for the objects that it names. They have no label if none has its text."""
        control = config.output_for(target.to_name, choice.output)
        naming = control if control.takes_labels else config.labels_for(target.to_name)
        words = {} if naming is None else {key.lower(): word for key, word in naming.words.items()}
        label = self.label or words.get(self.text.lower())
        if label is None:
            return Output(target, control, None, (), 1)
        # A label that was asked for and is missing is refused there, with a list of the labels.
        word = words.get(label.lower(), label)
        return Output.in_control(config, replace(target, labels=(word,)), control.name)


def read(text: str) -> list[Phrase]:
    """The phrases of a text: `car; person`, or `truck=Vehicle` with the name of a label."""
    found: dict[str, Phrase] = {}  # a phrase that is repeated with another label has the last one
    for part in text.replace("\n", ";").split(";"):
        words, _, label = (side.strip() for side in part.partition("="))
        if len(words) > MOST_CHARACTERS:
            raise Refusal("prompt", f"a phrase is over {MOST_CHARACTERS} characters")
        if words:
            found[words.lower()] = Phrase(words, label or None)
    return list(found.values())


def mapped(text: str, labels: Sequence[str]) -> list[Phrase]:
    """The phrases of a text, and their labels as in `car=Vehicle`. Refusal if one is wrong."""
    label_of = {}
    for entry in labels:
        pair = read(entry)
        if len(pair) != 1 or pair[0].label is None:
            raise Refusal("config", f"--map {entry!r} is not like 'car=Vehicle'")
        label_of[pair[0].text.lower()] = pair[0].label
    found = [Phrase(p.text, p.label or label_of.pop(p.text.lower(), None)) for p in read(text)]
    if not found:
        raise Refusal("config", f"--text {text!r} names nothing: write it like 'car; person'")
    if label_of:
        raise Refusal("config", f"--map {next(iter(label_of))!r} is no phrase of --text {text!r}")
    return found


def from_click(results: Sequence[Any], config: LabelConfig) -> dict[tuple[str, str], list[Phrase]]:
    """The phrases in a click's results, by the name of the text's control and of its image."""
    smart = {control.name for control in config.controls if control.asks_in_words}
    found: dict[tuple[str, str], list[Phrase]] = {}
    for result in results:
        if not isinstance(result, Mapping) or result.get("type") != "textarea":
            continue
        value = result.get("value")
        texts = value.get("text") if isinstance(value, Mapping) else None
        if str(result.get("from_name")) in smart and isinstance(texts, list | str):
            lines = [texts] if isinstance(texts, str) else map(str, texts)
            key = str(result["from_name"]), str(result.get("to_name"))
            found.setdefault(key, []).extend(read(";".join(lines)))
    if sum(map(len, found.values())) > MOST_PHRASES:
        raise Refusal("prompt", f"over {MOST_PHRASES} phrases at once: delete the finished ones")
    return found
