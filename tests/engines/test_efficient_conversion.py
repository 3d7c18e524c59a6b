"""EfficientSAM without PyTorch, with random weights: the decoder has its real size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from sam_backend.engines.frame import Frame
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import prompts, scene
from sam_backend.engines.protocol import (
    EFFICIENT_SAM,
    four_of_three,
    model_input,
    slotted_points,
)
from sam_backend.errors import SettingsError
from tests.engines import served_pair
from tests.engines.exported import session
from tests.needs import need

SIDE = 1024
SQUARE = Frame(SIDE, SIDE, stretched=True)
NOWHERE = np.zeros((0, 2), np.float32)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def random_weights() -> dict[str, Any]:
    """A checkpoint in its makers' names: the encoder has two blocks instead of twelve."""
    import torch  # noqa: PLC0415

    from sam_backend.engines import efficient_model, torch_engine  # noqa: PLC0415

    torch.manual_seed(2)
    torch_engine.import_torchvision()
    model = efficient_model.empty(64, depth=2)
    weights: dict[str, Any] = {
        name.replace(".lin", ".fc") if name.startswith("image_encoder.blocks.") else name: value
        for name, value in model.state_dict().items()
    }
    # Of 14 x 14 tokens, and of one for the whole image.
    weights["image_encoder.pos_embed"] = torch.randn(1, 197, 64)
    for name, value in weights.items():
        if "mask_decoder" in name:  # so that logits exceed 1
            value.normal_(0, 0.1 if value.ndim > 1 else 0.3)
    return weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and beside it the pair that the command made of it."""
    need("torch", "segment_anything")
    import torch  # noqa: PLC0415

    from sam_backend.engines.convert import main  # noqa: PLC0415

    path = tmp_path_factory.mktemp("models") / "efficient_sam_vitt.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"model": random_weights()}, path)
        main([str(path), "--output", str(path.parent / "pair")])
    return path


@pytest.fixture(scope="module")
def pair(checkpoint: Path) -> tuple[Path, Path]:
    return checkpoint.parent / "pair/encoder.onnx", checkpoint.parent / "pair/decoder.onnx"


@pytest.fixture(scope="module")
def engine(pair: tuple[Path, Path]) -> OnnxSam:
    return OnnxSam(*pair, "ONNX", "cpu")


def original(checkpoint: Path) -> Any:
    """The engine in PyTorch."""
    from sam_backend.engines import sources  # noqa: PLC0415

    return sources.read(checkpoint, None).engine


def test_the_pair_says_what_the_original_says(checkpoint: Path, pair: tuple[Path, Path]) -> None:
    """In full precision, for all kinds of prompt."""
    import torch  # noqa: PLC0415

    sam = original(checkpoint).sam
    pixels = model_input(scene(SIDE, SIDE), stretched=True)
    (features,) = session(pair[0]).run(None, {"image": pixels})
    with torch.inference_mode():
        (made,) = sam.encode(torch.from_numpy(pixels))
    np.testing.assert_allclose(features, made.numpy(), rtol=0, atol=1e-4)
    decoder = session(pair[1])
    assert [value.name for value in decoder.get_inputs()] == [
        "image_embeddings",
        "point_coords",
        "point_labels",
    ]
    for kind, (points, labels, box, _) in prompts(SIDE, SIDE).items():
        placed = slotted_points(SQUARE, points, labels, box, 6)
        names = ("image_embeddings", "point_coords", "point_labels")
        inputs = dict(zip(names, (made.numpy(), *placed), strict=True))
        logits, scores = decoder.run(None, inputs)
        with torch.inference_mode():
            wanted = [part.numpy() for part in sam.decode(made, *map(torch.from_numpy, placed))]
        assert np.abs(wanted[0]).max() > 1, kind  # so that 1e-4 means something
        assert logits.shape == (1, 3, 256, 256)
        np.testing.assert_allclose(logits, wanted[0], rtol=0, atol=1e-4, err_msg=kind)
        np.testing.assert_allclose(scores, wanted[1], rtol=0, atol=1e-4, err_msg=kind)


@pytest.mark.parametrize("size", [(700, 700), (300, 500)])
def test_the_engine_answers_as_the_one_in_pytorch_does(
    checkpoint: Path, engine: OnnxSam, size: tuple[int, int]
) -> None:
    in_torch, image = original(checkpoint), scene(*size)
    assert in_torch.facts == engine.facts == EFFICIENT_SAM
    embedding, wanted_embedding = engine.encode(image), in_torch.encode(image)
    for kind, prompt in prompts(*size).items():
        logits, scores = engine.decode(embedding, *prompt)
        wanted, wanted_scores = in_torch.decode(wanted_embedding, *prompt)
        assert logits.shape == (4, 256, 256)
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-3, err_msg=kind)
        np.testing.assert_allclose(scores, wanted_scores, rtol=0, atol=1e-4, err_msg=kind)


def test_a_prompt_has_six_points() -> None:
    """The corners of the rectangle, and the newest positive points that fit beside them."""
    points = np.arange(16, dtype=np.float32).reshape(8, 2)
    labels = np.array([1, 1, 0, 1, 1, 1, 1, 1], np.float32)
    box = np.array([20, 30, 40, 50], np.float32)
    coordinates, codes = slotted_points(SQUARE, points, labels, box, 6)
    np.testing.assert_array_equal(coordinates[0, :, 0], [8, 10, 12, 14, 20, 40])
    np.testing.assert_array_equal(codes[0], [1, 1, 1, 1, 2, 3])
    coordinates, codes = slotted_points(SQUARE, points[:3], labels[:3], None, 6)
    np.testing.assert_array_equal(coordinates[0, :, 0], [0, 2, -1, -1, -1, -1])
    np.testing.assert_array_equal(codes[0], [1, 1, -1, -1, -1, -1])


def test_of_three_masks_the_best_is_first_and_the_largest_is_last() -> None:
    masks = np.full((3, 256, 256), -1, np.float32)
    for mask, side in zip(masks, (90, 10, 50), strict=True):
        mask[:side, :side] = 1
    four, scores = four_of_three(masks, np.array([0.1, 0.2, 0.9], np.float32))
    assert [int((mask > 0).sum()) for mask in four] == [2500, 100, 2500, 8100]
    np.testing.assert_array_equal(scores, np.array([0.9, 0.2, 0.9, 0.1], np.float32))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    need("torch", "segment_anything")
    import torch  # noqa: PLC0415

    from sam_backend.engines.convert import main  # noqa: PLC0415

    weights = random_weights()
    del weights["mask_decoder.iou_token.weight"]
    torch.save({"model": weights}, tmp_path / "x.pt")
    with pytest.raises(SystemExit, match=r"do not fit EfficientSAM: .*mask_decoder\.iou_token"):
        main([str(tmp_path / "x.pt")])


def test_a_decoder_that_lacks_an_output_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model = onnx.load(pair[1])
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "decoder.onnx")
    with pytest.raises(SettingsError, match="it has no output iou_predictions"):
        OnnxSam(pair[0], tmp_path / "decoder.onnx", "ONNX", "cpu")


def test_the_server_answers_clicks_with_the_pair(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert len(served_pair.regions(pair[0].parent, tmp_path)) == 2
