"""Foreign ONNX files: small graphs with the inputs and outputs that other exporters write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sam_backend.engines.frame import Floats, Frame
from sam_backend.engines.graph.reader import read_decoder, read_encoder
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import iou, prompts
from sam_backend.engines.protocol import Embedding
from sam_backend.errors import Refusal, SettingsError
from sam_backend.formats.pictures import Pixels
from tests.needs import PAIR, need_files

OFFICIAL = {
    "image_embeddings": (1, 4, 64, 64),
    "point_coords": (1, "points", 2),
    "point_labels": (1, "points"),
    "mask_input": (1, 1, 256, 256),
    "has_mask_input": (1,),
}
Array = npt.NDArray[Any]
MADE = 3.0  # the logit wherever a toy decoder sees its object


def value(
    name: str, shape: tuple[int | str, ...] | None, kind: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    **constants: Array,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "toy",
        inputs,
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def encoder(path: Path, shape: tuple[int | str, ...], kind: int = TensorProto.FLOAT) -> Path:
    """Shrinks the red channel of the image to 64 x 64; `shape` as exporters declare it."""
    nodes = [helper.make_node("Cast", ["pixels"], ["plain"], to=TensorProto.FLOAT)]
    if len(shape) == 3:
        nodes += [
            helper.make_node("Transpose", ["plain"], ["planes"], perm=[2, 0, 1]),
            helper.make_node("Unsqueeze", ["planes", "zero"], ["batch"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["plain"], ["batch"]))
    nodes += [
        helper.make_node("Conv", ["batch", "kernel"], ["four"]),
        helper.make_node("Resize", ["four", "", "", "grid"], ["image_embeddings"]),
    ]
    kernel = np.zeros((4, 3, 1, 1), np.float32)
    kernel[:, 0] = 1
    return save(
        path,
        nodes,
        [value("pixels", shape, kind)],
        [value("image_embeddings", None)],
        kernel=kernel,
        zero=np.array([0], np.int64),
        grid=np.array([1, 4, 64, 64], np.int64),
    )


def decoder(
    path: Path,
    masks: int,
    size: tuple[int, int] | None,
    *,
    resized: bool = True,
    extra: bool = True,
) -> Path:
    """Finds what is brighter than the mean; `size`: only gives masks of that height and width.

    `resized`: scales them up as exporters do, else in a way that the graph does not show.
    """
    nodes = [
        helper.make_node("Slice", ["image_embeddings", "none", "count", "one"], ["channels"]),
        helper.make_node("Resize", ["channels", "", "", "low"], ["raw"], mode="linear"),
        helper.make_node("Mul", ["raw", "gain"], ["low_res"]),
        helper.make_node("ReduceMean", ["point_coords"], ["mean"], axes=[1, 2], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zeros"]),
        helper.make_node("Reshape", ["zeros", "pair"], ["flat"]),
        helper.make_node("Add", ["flat", "guesses"], ["iou_predictions"]),
    ]
    if size is None:
        nodes.append(helper.make_node("Identity", ["low_res"], ["low_res_masks"]))
    else:
        nodes += [
            helper.make_node("Slice", ["low_res", "none", "rows", "two"], ["cropped"]),
            helper.make_node("Resize", ["cropped", "", "", "full"], ["big"]),
            helper.make_node("Identity" if resized else "Neg", ["big"], ["once"]),
            helper.make_node("Identity" if resized else "Neg", ["once"], ["masks"]),
        ]
    shape = None if size is None else (1, masks, *size)
    constants: dict[str, Array] = {
        "none": np.array([0], np.int64),
        "count": np.array([masks], np.int64),
        "one": np.array([1], np.int64),
        "low": np.array([1, masks, 256, 256], np.int64),
        "gain": np.array(MADE, np.float32),
        "nothing": np.array(0, np.float32),
        "pair": np.array([1, 1], np.int64),
        "guesses": np.linspace(0.5, 0.9, masks, dtype=np.float32)[None],
    }
    if size is not None:
        constants["full"] = np.array([1, masks, *size], np.int64)
        constants["rows"] = np.array([256 * size[0] // max(size)], np.int64)
        constants["two"] = np.array([2], np.int64)
    return save(
        path,
        nodes,
        [value(name, OFFICIAL[name]) for name in OFFICIAL]
        + ([value("orig_im_size", (2,))] if extra else []),
        [
            value("low_res_masks" if size is None else "masks", shape),
            value("iou_predictions", None),
        ],
        **constants,
    )


def half(height: int, width: int) -> Pixels:
    """White on the left, black on the right: a toy decoder's object is what is white."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = 255
    return image


def answer(engine: OnnxSam, height: int, width: int) -> tuple[Floats, Floats]:
    embedding = engine.encode(half(height, width))
    return engine.decode(embedding, *prompts(height, width)["a point"])


def left_half(logits: Floats, height: int, width: int) -> float:
    wanted = np.full((height, width), -1, np.float32)
    wanted[:, : width // 2] = 1
    return iou(Frame(height, width).upsample(logits), wanted)


@pytest.mark.parametrize("masks", [1, 3, 4])
@pytest.mark.parametrize("size", [None, (300, 500)])
def test_any_number_of_masks_is_served_as_four(
    tmp_path: Path, masks: int, size: tuple[int, int] | None
) -> None:
    engine = OnnxSam(
        encoder(tmp_path / "encoder.onnx", (1, 3, 1024, 1024)),
        decoder(tmp_path / "decoder.onnx", masks, size),
        "toy",
    )
    for height, width in ((300, 500), (500, 300)):  # what it scales up to does not matter
        logits, scores = answer(engine, height, width)
        assert (logits.shape, scores.shape) == ((4, 256, 256), (4,))
        assert left_half(logits[0], height, width) > 0.95
    best = {1: [0.5] * 4, 3: [0.9, 0.5, 0.7, 0.9], 4: [0.5, 1.9 / 3, 2.3 / 3, 0.9]}[masks]
    np.testing.assert_allclose(scores, best, atol=1e-6)


def test_a_file_for_one_size_serves_that_size_and_refuses_others(tmp_path: Path) -> None:
    engine = OnnxSam(
        encoder(tmp_path / "encoder.onnx", (1, 3, 1024, 1024)),
        decoder(tmp_path / "decoder.onnx", 1, (300, 500), resized=False),
        "toy",
    )
    logits, _ = answer(engine, 300, 500)
    assert left_half(logits[0], 300, 500) > 0.95
    with pytest.raises(Refusal, match="made for images of 500 x 300 only, and this one") as no:
        engine.encode(half(500, 300))
    assert no.value.cause == "model"
    foreign = Embedding(np.zeros((1, 4, 64, 64), np.float32), 301, 500)
    with pytest.raises(Refusal, match="has 500 x 301"):
        engine.decode(foreign, *prompts(301, 500)["a point"])


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1, 3, 1024, 1024), TensorProto.FLOAT),
        (("batch", 3, "height", "width"), TensorProto.FLOAT),
        ((1, 3, 1024, 1024), TensorProto.FLOAT16),
        ((1024, 1024, 3), TensorProto.FLOAT),
        ((1024, 1024, 3), TensorProto.UINT8),
        ((684, 1024, 3), TensorProto.FLOAT),
    ],
)
def test_encoders_take_images_in_several_ways(
    tmp_path: Path, shape: tuple[int | str, ...], kind: int
) -> None:
    path = encoder(tmp_path / "encoder.onnx", shape, kind)
    engine = OnnxSam(path, decoder(tmp_path / "decoder.onnx", 4, None), "toy")
    features = engine.encode(half(300, 500)).features
    assert features.dtype == np.float32
    assert features[0, 0, 2, 2] > features[0, 0, 2, 40]


def test_an_image_of_any_size_is_given_as_it_is_to_an_encoder_that_pads(tmp_path: Path) -> None:
    path = encoder(tmp_path / "encoder.onnx", ("image_height", "image_width", 3))
    engine = OnnxSam(path, decoder(tmp_path / "decoder.onnx", 4, None), "toy")
    assert engine.encode(half(300, 500)).features[0, 0, 63, 0] == 255  # no padding below


def test_an_image_that_does_not_fit_an_encoder_is_refused(tmp_path: Path) -> None:
    path = encoder(tmp_path / "encoder.onnx", (684, 1024, 3))
    engine = OnnxSam(path, decoder(tmp_path / "decoder.onnx", 4, None), "toy")
    with pytest.raises(Refusal, match="takes images of 1024 x 684, and one of 300 x 500"):
        engine.encode(half(500, 300))


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    small = encoder(tmp_path / "small.onnx", (1, 3, 224, 224))
    with pytest.raises(SettingsError, match=r"small.onnx takes 1x3x224x224, not an image of SAM"):
        read_encoder(small)
    right = decoder(tmp_path / "decoder.onnx", 4, None)
    with pytest.raises(SettingsError, match=r"decoder.onnx is not an image encoder"):
        read_encoder(right)
    with pytest.raises(SettingsError, match="it has no input image_embeddings, point_coords"):
        read_decoder(small)
    (tmp_path / "cut.onnx").write_bytes(right.read_bytes()[:100])
    with pytest.raises(SettingsError, match=r"cut.onnx is not a readable ONNX file"):
        read_decoder(tmp_path / "cut.onnx")
    with pytest.raises(SettingsError, match=r"none.onnx does not exist"):
        read_decoder(tmp_path / "none.onnx")


@pytest.mark.parametrize("kept", ["low_res_masks", "masks"])
def test_the_default_decoder_is_cut_the_same_from_either_output(tmp_path: Path, kept: str) -> None:
    need_files(*PAIR)
    model = onnx.load(PAIR[1])
    for output in [o for o in model.graph.output if o.name not in (kept, "iou_predictions")]:
        model.graph.output.remove(output)
    onnx.save(model, tmp_path / "decoder.onnx")
    assert read_decoder(tmp_path / "decoder.onnx") == read_decoder(PAIR[1])
