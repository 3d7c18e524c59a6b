"""The parts of a label config that this back end needs: images, prompt controls, mask controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from sam_backend.clicks import finishing
from sam_backend.clicks.controls import PROMPT_TAGS, Control, ImageObject, Label, OutputChoice
from sam_backend.errors import Refusal

# The largest configs that people write have a thousand labels for each of three controls.
MAX_LENGTH = 1_000_000
MAX_CONTROLS = 1000
MAX_IMAGES = 1000
# Limits for problems, for labels in the text of one problem, and for characters of a name.
MAX_SAID = 10
MAX_NAME = 80
# Labels to compare with the labels of an output, to find problems.
MAX_COMPARED = 100_000
# Characters of cached configs. Parsing a longer config takes less time than fetching its image.
MAX_KEPT = 64
MAX_KEPT_LENGTH = 100_000


@dataclass(frozen=True)
class LabelConfig:
    """The controls and images of one project, in document order."""

    controls: tuple[Control, ...]
    images: tuple[ImageObject, ...]

    @cached_property
    def different_images(self) -> tuple[ImageObject, ...]:
        """One of the images that show the same part of a task's data."""
        return tuple({i.data_key: i for i in reversed(self.images)}.values())[::-1]

    @cached_property
    def _outputs(self) -> dict[str, list[Control]]:
        """The controls that can hold masks, by image."""
        found: dict[str, list[Control]] = {}
        for control in self.controls:
            for to_name in control.to_names:
                if control.can_hold_masks_of(to_name):
                    found.setdefault(to_name, []).append(control)
        return found

    @cached_property
    def _values(self) -> dict[str, list[str]]:
        """All words of the prompt controls for a label that has this word in one of them."""
        found: dict[str, dict[str, None]] = {}
        for control in self.controls:
            if control.tag in PROMPT_TAGS:
                for word, value in control.values.items():
                    found.setdefault(word, {})[value] = None
        return {word: list(values) for word, values in found.items()}

    def image(self, name: str) -> ImageObject:
        for image in self.images:
            if image.name == name:
                return image
        raise Refusal("config", f"the label config has no <Image name={_quoted(name)}>")

    def output_for(self, to_name: str, wanted: str | None = None) -> Control:
        """The control for the masks of an image: the wanted one, or else the first one."""
        found = self._outputs.get(to_name, [])
        if wanted is not None:
            found = [control for control in found if control.name == wanted]
            if not found:
                raise Refusal(
                    "config",
                    f"sam_output={_quoted(wanted)} is not a control on image {_quoted(to_name)} "
                    "that can hold a mask",
                )
        if not found:
            raise Refusal(
                "config",
                f"no control on image {_quoted(to_name)} can hold a mask: "
                f"add <BrushLabels> or <Brush> with toName={_quoted(to_name)} to the label config",
            )
        return found[0]

    def output_choice(self, prompt_control: str, extra_params: Mapping[str, Any]) -> OutputChoice:
        """The options on a prompt's control, or else in the model's extra params."""
        found = [control for control in self.controls if control.name == prompt_control]
        own = found[0] if found else None
        output = (own and own.sam_output) or extra_params.get("sam_output")
        candidates = (own and own.candidates) or extra_params.get("candidates") or 1
        if str(candidates) not in ("1", "2", "3"):
            raise Refusal("config", f"candidates={_quoted(str(candidates))} is not 1, 2 or 3")
        return OutputChoice(None if output is None else str(output), int(candidates))

    def finds_rest(self, prompt_control: str) -> bool:
        """Whether a control's prompts ask for the rest of a kind."""
        return prompt_control in self._finding

    @cached_property
    def _finding(self) -> frozenset[str]:
        return frozenset(control.name for control in self.controls if control.sam_find == "rest")

    def labels_for(self, to_name: str) -> Control | None:
        """The shared `<Labels>` of an image, which names the regions of bare controls."""
        for control in self.controls:
            if control.tag == "Labels" and to_name in control.to_names:
                return control
        return None

    def label_word(self, control: Control, word: str) -> str:
        """A prompt's label in the words of another control, because aliases may differ.

        A control with labels from the task (`value="$…"`) accepts any word.
        """
        if not control.labels or control.has_labels_of_the_task:
            return word
        if word in control.words:
            return control.words[word]
        for value in self._values.get(word, ()):
            if value in control.words:
                return control.words[value]
        known = ", ".join(_quoted(label.word) for label in control.labels[:MAX_SAID])
        more = len(control.labels) - MAX_SAID
        known += f" and {more} more" if more > 0 else ""
        raise Refusal(
            "config",
            f"label {_quoted(word)} of the prompt is missing in "
            f"<{control.tag} name={_quoted(control.name)}>, "
            f"which has {known}: give both controls the same labels",
        )

    def problems(self) -> list[str]:
        """The problems of this config with smart prompts, one line each."""
        found: dict[str, None] = {}
        for problem in self._problems():
            found[problem] = None
            if len(found) == MAX_SAID:
                break
        return list(found)

    def _problems(self) -> Iterator[str]:
        if not self.images:
            yield "there is no <Image> tag"
        smart = [c for c in self.controls if c.tag in PROMPT_TAGS and c.smart]
        if not smart:
            yield 'no <KeyPointLabels>, <KeyPoint>, … has smart="true"'
        compared = 0
        for control in smart:
            if control.sam_find not in (None, "rest"):
                yield f"sam_find={_quoted(control.sam_find)} is not rest"
            for to_name in control.to_names:
                try:
                    output = self.output_for(to_name, control.sam_output)
                    _ = output.finish
                    for word in control.values:
                        compared += 1 + len(self._values[word])
                        if compared > MAX_COMPARED:
                            return
                        self.label_word(output, word)
                except Refusal as refusal:
                    yield str(refusal)


def parse(xml: str) -> LabelConfig:
    """The label config of a request. It is cached by its text, because each click sends it."""
    return _kept(xml) if len(xml) <= MAX_KEPT_LENGTH else _parse(xml)


def _parse(xml: str) -> LabelConfig:
    if len(xml) > MAX_LENGTH:
        raise Refusal("config", f"the label config is over {MAX_LENGTH:,} characters")
    try:
        root = fromstring(xml)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise Refusal("config", f"the label config is not readable XML: {error}") from None
    elements = [element for element in root.iter() if element.get("name")]
    tags = [element for element in elements if element.get("toName")]
    to_names = [_to_names(element) for element in tags]
    if sum(map(len, to_names)) > MAX_CONTROLS:
        raise Refusal("config", f"the label config has over {MAX_CONTROLS} controls")
    images = tuple(_image(element) for element in elements if element.tag == "Image")
    if len(images) > MAX_IMAGES:
        raise Refusal("config", f"the label config has over {MAX_IMAGES} images")
    labels = _labels(root)
    controls = (
        _control(tag, names, labels[tag]) for tag, names in zip(tags, to_names, strict=True)
    )
    return LabelConfig(controls=tuple(controls), images=images)


_kept = lru_cache(maxsize=MAX_KEPT)(_parse)


def read(path: Path) -> LabelConfig:
    """The label config in a file."""
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("config", f"the label config {path} cannot be read: {error}") from None


def _labels(root: Element) -> dict[Element, list[Label]]:
    """The labels of each control, without the labels of controls inside it."""
    found: dict[Element, list[Label]] = {}
    unseen: list[tuple[Element, list[Label]]] = [(root, [])]
    while unseen:
        element, labels = unseen.pop()
        if element.get("name") and element.get("toName"):
            labels = found[element] = []
        if element.tag == "Label":
            value, alias = element.get("value", ""), element.get("alias")
            labels.append(Label(value=value, alias=alias or None))
        unseen.extend((inner, labels) for inner in reversed(element))
    return found


def _to_names(element: Element) -> tuple[str, ...]:
    return tuple(dict.fromkeys(element.get("toName", "").replace(" ", "").split(",")))


def _control(element: Element, to_names: tuple[str, ...], labels: list[Label]) -> Control:
    return Control(
        tag=element.tag,
        name=element.get("name", ""),
        to_names=to_names,
        labels=tuple(labels),
        smart=element.get("smart", "").lower() == "true",
        smart_only=element.get("smartOnly", "").lower() == "true",
        sam_output=element.get("sam_output"),
        candidates=element.get("candidates"),
        finish_attributes=tuple(
            (attribute, element.get(attribute, ""))
            for attribute in finishing.ATTRIBUTES
            if attribute in element.attrib
        ),
        sam_find=element.get("sam_find"),
    )


def _quoted(name: str) -> str:
    """A name in a message."""
    return repr(name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…")


def _image(element: Element) -> ImageObject:
    """`value="$key"` shows one image, `valueList="$key"` a list of them."""
    many = element.get("valueList")
    value = many or element.get("value") or ""
    return ImageObject(name=element.get("name", ""), value=value.strip(), is_list=bool(many))
