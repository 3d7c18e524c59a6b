"""Models that understand words: small ones of the real classes, saved by the tests and loaded."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from sam_backend.engines import text_choice
from sam_backend.engines.text_protocol import Finder
from sam_backend.errors import Refusal, SettingsError
from sam_backend.formats.pictures import Pixels
from tests.engines import text_models
from tests.needs import need

HEIGHT, WIDTH = 90, 120
IMAGE: Pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(scope="module", params=["sam3", "grounding-dino", "owlv2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("torch", "transformers")
    path: Path = tmp_path_factory.mktemp("models") / request.param
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return text_models.save(request.param, path)


def opened(folder: Path, min_score: float | None = None) -> Finder:
    from sam_backend.engines.text_model import TextModel  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TextModel(str(folder), "cpu", min_score)


def test_a_saved_model_answers_a_phrase_with_objects_best_first(folder: Path) -> None:
    text_choice.check(str(folder))
    found = opened(folder, min_score=0.0).find(IMAGE, "cat")
    assert found
    scores = [finding.score for finding in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1
    for finding in found:
        left, top, right, bottom = finding.box
        assert 0 <= left <= right <= WIDTH
        assert 0 <= top <= bottom <= HEIGHT
        assert (finding.mask is not None) == (folder.name == "sam3")
        if finding.mask is not None:
            assert (finding.mask.shape, finding.mask.dtype) == ((HEIGHT, WIDTH), np.dtype(bool))


def test_what_the_model_doubts_is_left_out(folder: Path) -> None:
    assert opened(folder, min_score=1.1).find(IMAGE, "cat") == []


def test_the_same_phrase_finds_the_same_and_another_phrase_does_not(folder: Path) -> None:
    model = opened(folder, min_score=0.0)
    first, again, other = (model.find(IMAGE, phrase) for phrase in ("cat", "cat", "dog"))
    assert [f.score for f in first] == [f.score for f in again]
    assert [f.score for f in first] != [f.score for f in other]


def test_a_phrase_that_is_too_long_is_refused_with_what_to_do(folder: Path) -> None:
    with pytest.raises(Refusal, match="longer than the text model reads: use fewer words"):
        opened(folder).find(IMAGE, "red cat " * 200)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (None, "has no readable config.json of transformers"),
        ({"model_type": "bert"}, "is a model of type 'bert', not one of sam3"),
        ({"model_type": ["sam3"]}, r"is a model of type \['sam3'\], not one of sam3"),
    ],
)
def test_a_folder_of_something_else_stops_the_start(
    tmp_path: Path, config: dict[str, object] | None, complaint: str
) -> None:
    need("torch", "transformers")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SettingsError, match=complaint):
        text_choice.check(str(tmp_path))


def test_a_path_that_is_missing_is_not_taken_for_a_name_on_the_hub() -> None:
    need("torch", "transformers")
    with pytest.raises(SettingsError, match="is neither a folder"):
        text_choice.check("/no/such/folder")


def test_without_pytorch_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="SAM_TEXT_MODEL='a/b' needs transformers and PyTorch"):
        text_choice.check("a/b")


def test_no_text_model_is_the_default() -> None:
    text_choice.check(None)
    assert text_choice.opener(None, "cpu") is None
