"""Label configs of all sorts, none of which is trusted: read, or refused in one line, quickly."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from sam_backend.clicks import label_config
from sam_backend.clicks.controls import OUTPUT_TAGS
from sam_backend.errors import Refusal
from tests import fakes
from tests.costs import slowness
from tests.fuzz.conftest import tries

Count = Callable[[str], None]
Check = Callable[[], None]

_REAL = [path.read_text() for path in Path("label_configs").resolve().glob("*.xml")]
_TAGS = ("View", "Image", "Labels", "Label", "Text", "Repeater", "KeyPointLabels", "KeyPoint")
_TAGS_OF_ALL_KINDS = _TAGS + OUTPUT_TAGS
_NAMES = st.sampled_from(["image", "tag", "tag2", "tag,tag2", "", " ", "image,image", "é", "$a"])
_VALUES = st.sampled_from(["Car", "Bike", "$image", "true", "{{idx}}", "3", "x" * 300, "<&\"'"])
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        ("name", "toName", "value", "valueList", "alias", "smart", "sam_output", "candidates")
    )
    | st.sampled_from(("indexFlag", "perRegion", "apiUrl")),
    _NAMES | _VALUES | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6),
    max_size=5,
)


def _element(tag: str, attributes: dict[str, str], inner: list[str]) -> str:
    written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<{tag}{written}>{''.join(inner)}</{tag}>"


_ELEMENTS = st.recursive(
    st.builds(_element, st.sampled_from(_TAGS_OF_ALL_KINDS), _ATTRIBUTES, st.just([])),
    lambda inner: st.builds(
        _element, st.sampled_from(_TAGS_OF_ALL_KINDS), _ATTRIBUTES, st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def _cut_and_pasted(draw: st.DrawFn) -> str:
    """A real one, with pieces removed, repeated or replaced."""
    config = draw(st.sampled_from(_REAL))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.integers(0, len(config))) for _ in range(2))
        end = min(end, start + 200)
        piece = draw(st.sampled_from(["", config[start:end] * 2, "<", '"', "&x;", "\x00", "Brush"]))
        config = config[:start] + piece + config[end:]
    return config


_CONFIGS = _ELEMENTS | _cut_and_pasted() | st.text(max_size=100)


@tries(3000)
@given(config=_CONFIGS)
def test_label_configs(tried: Count, config: str) -> None:
    tried("label configs")
    try:
        parsed = label_config.parse(config)
    except Refusal:
        return
    assert all("\n" not in problem for problem in parsed.problems())


@tries(800)
@given(config=_CONFIGS)
def test_clicks_with_label_configs(
    app: Flask, tried: Count, tracebacks: Check, config: str
) -> None:
    tried("label configs")
    body: dict[str, Any] = fakes.request_body([fakes.keypoint("a", 50, 50)], config=config)
    body["tasks"][0]["data"]["image"] = ""  # the config is read first
    assert app.test_client().post("/predict", json=body).status_code == 200
    tracebacks()


_BOMB = "<!DOCTYPE View [<!ENTITY a 'ha'>{}]><View>&j;</View>".format(
    "".join(
        f"<!ENTITY {name} '{f'&{before};' * 10}'>"
        for before, name in zip("abcdefghi", "bcdefghij", strict=True)
    )
)
_MANY_LABELS = "".join(f'<Label value="{n}"/>' for n in range(20_000))
_OTHER_LABELS = _MANY_LABELS.replace('value="', 'value="x')


def _control(tag: str, labels: str, to_name: str) -> str:
    return f'<{tag} name="{tag}" toName="{to_name}" smart="true">{labels}</{tag}>'


HOSTILE = {
    "billion laughs": _BOMB,
    "external entity": "<!DOCTYPE V [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><V>&x;</V>",
    "external parameter entity": "<!DOCTYPE V [<!ENTITY % x SYSTEM 'http://127.0.0.1:9/'>%x;]><V/>",
    "external DTD": "<!DOCTYPE V SYSTEM 'http://127.0.0.1:9/x.dtd'><V/>",
    "10 MB": f"<View>{'<Text/>' * 1_500_000}</View>",
    "10 MB attribute": f'<View><Image name="i" value="{"x" * 10_000_000}"/></View>',
    "deep": "<View>" * 100_000 + "</View>" * 100_000,
    "deep, within the limit": "<View>" * 9_000 + "</View>" * 9_000,
    "many names": "<View>" + '<Brush name="b" toName="i"/>' * 20_000 + "</View>",
    "many variables": "<View>"
    + '<Brush indexFlag="x" name="b" toName="i,x"/>' * 20_000
    + "</View>",
    "many names of images": "<View>"
    + _control("BrushLabels", _MANY_LABELS, ",".join(map(str, range(50_000))))
    + "</View>",
    "many labels that are missing": "<View>"
    + _control("BrushLabels", _MANY_LABELS, "i")
    + _control("KeyPointLabels", _OTHER_LABELS, "i")
    + "</View>",
    "many images of a control": "<View>"
    + _control("BrushLabels", '<Label value="1"/>', "i")
    + _control("KeyPointLabels", '<Label value="2"/>', "i," * 90_000)
    + "</View>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_ones(app: Flask, tried: Count, tracebacks: Check, name: str) -> None:
    tried("label configs")
    client, config = app.test_client(), HOSTILE[name]
    body = fakes.request_body([fakes.keypoint("a", 50, 50)], config=config, image="x")
    for route, asked in (
        ("/validate", {"config": config}),
        ("/setup", {"project": name, "schema": config}),
        ("/predict", body),
    ):
        started = time.process_time()
        response = client.post(route, json=asked)
        seconds = (time.process_time() - started) / slowness()
        assert seconds < 3, "Label Studio waits no longer"
        assert response.status_code == 200
        assert len(response.data) < 100_000
        assert b"root:" not in response.data
        tracebacks()


@pytest.mark.parametrize("name", ["billion laughs", "external entity"])
def test_entities_are_refused(name: str) -> None:
    with pytest.raises(Refusal, match="not readable XML"):
        label_config.parse(HOSTILE[name])
