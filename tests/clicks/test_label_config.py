"""Which control takes the mask, under which name; read as the SDK reads label configs."""

import pytest
from label_studio_sdk._extensions.label_studio_tools.core.label_config import parse_config

from sam_backend.clicks import label_config
from sam_backend.errors import Refusal
from tests.fakes import BRUSH_LABELS, SHARED_LABELS
from tests.needs import REPOSITORY

PASTED = sorted((REPOSITORY / "label_configs").glob("*.xml"))


@pytest.mark.parametrize(
    "xml", [BRUSH_LABELS, SHARED_LABELS, *(path.read_text() for path in PASTED)]
)
def test_controls_are_those_the_sdk_finds(xml: str) -> None:
    oracle = parse_config(xml)
    ours = {control.name: control for control in label_config.parse(xml).controls}
    for name, control in oracle.items():
        assert ours[name].tag == control["type"]
        assert list(ours[name].to_names) == control["to_name"]
        assert [label.word for label in ours[name].labels] == list(control["labels"])
        assert label_config.parse(xml).image("image").data_key == control["inputs"][0]["value"]


@pytest.mark.parametrize("path", PASTED, ids=lambda path: path.stem)
def test_configs_to_paste_have_no_problems(path: object) -> None:
    assert label_config.parse(path.read_text()).problems() == []  # type: ignore[attr-defined]


def test_the_mask_goes_to_the_control_on_the_prompts_own_image() -> None:
    config = label_config.parse(
        """<View><Image name="left" value="$l"/><Image name="right" value="$r"/>
        <BrushLabels name="on_right" toName="right"><Label value="A"/></BrushLabels>
        <BrushLabels name="on_left" toName="left"><Label value="A"/></BrushLabels></View>"""
    )
    assert config.output_for("left").name == "on_left"
    assert config.output_for("right").name == "on_right"


def test_one_control_may_serve_two_images() -> None:
    config = label_config.parse(
        """<View><Image name="a" value="$a"/><Image name="b" value="$b"/>
        <BrushLabels name="both" toName="a,b"><Label value="A"/></BrushLabels></View>"""
    )
    assert config.output_for("b").name == "both"


def test_a_label_goes_by_its_alias() -> None:
    config = label_config.parse(
        """<View><Image name="image" value="$image"/>
        <BrushLabels name="brush" toName="image"><Label value="Car"/></BrushLabels>
        <KeyPointLabels name="point" toName="image" smart="true">
          <Label value="Car" alias="vehicle"/></KeyPointLabels></View>"""
    )
    assert config.label_word(config.output_for("image"), "vehicle") == "Car"
    assert config.problems() == []


def test_labels_that_come_with_the_task_are_taken_as_they_are() -> None:
    config = label_config.parse(
        """<View><Image name="image" value="$image"/>
        <BrushLabels name="brush" toName="image" value="$labels"/></View>"""
    )
    assert config.label_word(config.output_for("image"), "anything") == "anything"


def test_a_label_that_the_mask_cannot_have_is_named() -> None:
    config = label_config.parse(BRUSH_LABELS)
    with pytest.raises(
        Refusal, match="'Boat' of the prompt is missing in <BrushLabels name='tag'>"
    ):
        config.label_word(config.output_for("image"), "Boat")


@pytest.mark.parametrize(
    ("xml", "problem"),
    [
        ("<View/>", "there is no <Image> tag"),
        (
            '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i"/></View>',
            'smart="true"',
        ),
        (
            '<View><Image name="i" value="$i"/><KeyPoint name="k" toName="i" smart="true"/></View>',
            "no control on image 'i' can hold a mask",
        ),
        (BRUSH_LABELS.replace('<Label value="Car"/>', "", 1), "label 'Car' of the prompt"),
    ],
)
def test_a_config_that_cannot_work_says_why(xml: str, problem: str) -> None:
    assert any(problem in line for line in label_config.parse(xml).problems())


@pytest.mark.parametrize(
    "xml",
    [
        "<View>",
        "",
        '<!DOCTYPE a [<!ENTITY e "eeee">]><View>&e;</View>',
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><View>&e;</View>',
    ],
)
def test_xml_that_is_broken_or_hostile_is_refused(xml: str) -> None:
    with pytest.raises(Refusal, match="not readable XML"):
        label_config.parse(xml)
