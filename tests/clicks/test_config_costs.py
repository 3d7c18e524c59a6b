"""What label configs and prompts of a megabyte cost: no shape of them takes long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import PromptChoice
from sam_backend.clicks import label_config, prompts
from sam_backend.errors import Refusal
from tests.costs import assert_cheap, assert_linear, cost_of
from tests.fakes import keypoint, rectangle

IMAGE = '<Image name="i" value="$i"/>'


def control(tag: str, name: str, inner: str, more: str = "") -> str:
    return f'<{tag} name="{name}" toName="i" {more}>{inner}</{tag}>'


def labels(count: int, *, aliases: bool = False) -> str:
    return "".join(
        f'<Label value="v{n}" alias="a{n}"/>' if aliases else f'<Label value="v{n}"/>'
        for n in range(count)
    )


def nested(count: int) -> str:
    """Controls in controls, and the labels in the innermost one."""
    opened = "".join(f'<BrushLabels name="b{n}" toName="i">' for n in range(count))
    return f"<View>{IMAGE}{opened}{labels(count * 20)}{'</BrushLabels>' * count}</View>"


def on_many_images(count: int) -> str:
    """One prompt's control for many images, each with an output of its own."""
    names = ",".join(f"i{n}" for n in range(count))
    outputs = "".join(
        f'<BrushLabels name="b{n}" toName="i{n}"><Label value="x"/></BrushLabels>'
        for n in range(count)
    )
    aliases = "".join(f'<Label value="x" alias="a{n}"/>' for n in range(count * 40))
    point = f'<KeyPointLabels name="k" smart="true" toName="{names}">{aliases}</KeyPointLabels>'
    return f"<View>{IMAGE}{outputs}{point}</View>"


def aliases_far_away(count: int) -> str:
    """Labels that only the last of many controls knows by the words of the output."""
    output = control("BrushLabels", "b", labels(count * 20))
    points = control("KeyPoint", "k", "", 'smart="true"') * count
    own = control("KeyPointLabels", "p", labels(count * 20, aliases=True), 'smart="true"')
    return f"<View>{IMAGE}{output}{points}{own}</View>"


def long_labels(count: int) -> str:
    """The same problem over and over, with names of many kilobytes in it."""
    output = control("BrushLabels", "b", f'<Label value="{"x" * count * 1000}"/>' * 10)
    own = control("KeyPointLabels", "k", '<Label value="y"/>' * (count * 200), 'smart="true"')
    return f"<View>{IMAGE}{output}{own}</View>"


def deep(count: int) -> str:
    return "<View>" * (count * 1000) + "</View>" * (count * 1000)


CONFIGS: list[tuple[Callable[[int], str], int]] = [
    (nested, 900),
    (on_many_images, 500),
    (aliases_far_away, 600),
    (long_labels, 45),
    (deep, 35),
]


def problems(xml: str) -> list[str]:
    return label_config.parse(xml).problems()


@pytest.mark.parametrize(("xml_of", "size"), CONFIGS, ids=[each[0].__name__ for each in CONFIGS])
def test_a_long_label_config(xml_of: Callable[[int], str], size: int) -> None:
    assert 400_000 < len(xml_of(size)) <= label_config.MAX_LENGTH
    assert_cheap(cost_of(problems, xml_of(size)))
    assert_linear(problems, lambda times: xml_of(times * size // 2))


def test_a_label_is_its_innermost_controls() -> None:
    """As Label Studio's SDK reads it."""
    found = label_config.parse(
        control(
            "BrushLabels",
            "a",
            '<Label value="1"/><View>'
            + control("BrushLabels", "b", '<Label value="2"/>')
            + "</View>",
        )
    )
    assert [[label.value for label in control.labels] for control in found.controls] == [
        ["1"],
        ["2"],
    ]


def test_problems_name_labels_and_controls_in_brief() -> None:
    for problem in problems(long_labels(45)):
        assert len(problem) < 2000


def test_too_many_images() -> None:
    with pytest.raises(Refusal, match="over 1000 images"):
        label_config.parse("<View>" + IMAGE * 1001 + "</View>")


def test_images_that_show_the_same_are_one_to_fetch() -> None:
    found = label_config.parse(
        '<View><Image name="a" value="$x"/><Image name="b" value="$x"/>'
        '<Image name="c" value="$y"/></View>'
    )
    assert [image.name for image in found.different_images] == ["a", "c"]


def read_often(results: list[dict[str, Any]]) -> None:
    """For each of the tasks that a click may be in."""
    for _ in range(16):
        prompts.from_click(results)


@pytest.mark.parametrize(
    "results",
    [
        [{}] * 300_000,
        [{"id": [[]] * 200_000}] * 2,
        [keypoint("x" * 900_000, 50, 50)],
        [keypoint("k", 50, 50, label="x" * 900_000)],
        [
            {
                **keypoint("k", 50, 50),
                "type": "keypointlabels",
                "value": {"x": 1, "y": 1, "labels": ["a"] * 200_000},
            }
        ],
        [keypoint(f"k{n}", 50, 50, label=f"l{n}") for n in range(200)],
    ],
    ids=["nothing", "list as id", "long id", "long label", "many labels", "many objects"],
)
def test_prompts_that_nobody_placed_are_refused(results: list[dict[str, Any]]) -> None:
    with pytest.raises(Refusal):
        prompts.from_click(results)
    assert_cheap(cost_of(read_often, results))


def grouped(count: int) -> object:
    """Which of a task's own keypoints belong to which of its rectangles."""
    boxes = [rectangle(f"r{n}", n % 80, n * 7 % 80, 15, 15) for n in range(count)]
    points = [keypoint(f"k{n}", n * 7 % 100, n % 100, positive=n % 2 > 0) for n in range(count)]
    return stored_prompts.objects([*boxes, *points], PromptChoice())


def test_prompts_that_a_task_holds_are_grouped_in_little_time() -> None:
    assert_cheap(cost_of(grouped, stored_prompts.MOST_PROMPTS // 2))
    with pytest.raises(Refusal, match="over the limit of 10000"):
        grouped(stored_prompts.MOST_PROMPTS)
