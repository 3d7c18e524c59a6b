"""The rewritten encoder and decoder say what the exported graphs say."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from sam_backend.engines.click_decoder import ClickDecoder
from sam_backend.engines.decoder_choice import agree
from sam_backend.engines.exported_decoder import ExportedDecoder
from sam_backend.engines.frame import Floats
from sam_backend.engines.graph.any_size_encoder import any_size, used
from sam_backend.engines.graph.reader import read_decoder
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import iou
from sam_backend.engines.protocol import Embedding
from tests.needs import PAIR, WEIGHTS, needs_weights

pytestmark = needs_weights


@pytest.fixture(scope="module")
def exported() -> onnx.ModelProto:
    return onnx.load(WEIGHTS / "encoder.onnx")


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def test_any_size_is_the_same_for_a_square_and_close_for_less(exported: onnx.ModelProto) -> None:
    rewritten = any_size(exported)
    trimmed = session(rewritten.model)
    pixels = np.zeros((1, 3, 1024, 1024), np.float32)
    noise = np.random.default_rng(0).normal(0, 1, (3, 11, 16)).astype(np.float32)
    pixels[0, :, :704] = noise.repeat(64, axis=1).repeat(64, axis=2)
    whole = session(exported).run(None, {"input": pixels})[0]
    same = trimmed.run(None, {"input": pixels} | rewritten.inputs(1024, 1024))[0]
    np.testing.assert_allclose(same, whole, atol=1e-4)
    for turned in (False, True):  # rows and columns are not mixed up
        less = np.ascontiguousarray(pixels[:, :, :704])
        reference = whole[:, :, :44]
        if turned:
            less = np.ascontiguousarray(less.transpose(0, 1, 3, 2))
            flipped = {"input": np.ascontiguousarray(pixels.transpose(0, 1, 3, 2))}
            full = trimmed.run(None, flipped | rewritten.inputs(1024, 1024))[0]
            reference = full[:, :, :, :44]
        part = trimmed.run(None, {"input": less} | rewritten.inputs(*less.shape[2:]))[0]
        assert part.shape == reference.shape
        inner = (part * reference).sum() / np.linalg.norm(part) / np.linalg.norm(reference)
        assert inner > 0.95


def test_queries_keys_and_values_are_not_cut_from_one_product(exported: onnx.ModelProto) -> None:
    kinds = [node.op_type for node in exported.graph.node]
    graph = any_size(exported).model.graph
    rewritten = [node.op_type for node in graph.node]
    assert kinds.count("Split") == 10
    assert "Split" not in rewritten
    assert rewritten.count("MatMul") == kinds.count("MatMul") + 2 * 10
    # The weights of the joint products would take 9 MB.
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used


@pytest.mark.parametrize(("pixels", "rows"), [(1, 64), (64, 64), (65, 128), (1000, 1024)])
def test_few_sizes(pixels: int, rows: int) -> None:
    assert used(pixels) == rows


@pytest.mark.parametrize("damage", ["window", "input", "slice"])
def test_an_unknown_graph_is_refused(exported: onnx.ModelProto, damage: str) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    if damage == "input":
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 512
    elif damage == "window":
        next(node for node in model.graph.node if node.op_type == "Pad").op_type = "Identity"
    else:
        pads = [n for n, node in enumerate(model.graph.node) if node.op_type == "Pad"]
        slices = [n for n, node in enumerate(model.graph.node) if node.op_type == "Slice"]
        model.graph.node[next(n for n in slices if n > pads[0] + 40)].op_type = "Identity"
    with pytest.raises(ValueError, match=r"attention|size"):
        any_size(model)


@pytest.mark.parametrize("shares_products", [False, True], ids=["bf16", "f32"])
def test_the_rebuilt_decoder_of_the_published_weights_gives_the_same_masks(
    shares_products: bool,
) -> None:
    """So it is not compared at each start, as others are."""
    found = read_decoder(WEIGHTS / "decoder.onnx")
    whole = session(found.model)

    def decode(
        embedding: Embedding, coordinates: Floats, codes: Floats, mask: Floats | None
    ) -> tuple[Floats, Floats]:
        inputs = {
            "image_embeddings": embedding.features,
            "point_coords": coordinates,
            "point_labels": codes,
            "mask_input": np.zeros((1, 1, 256, 256), np.float32)
            if mask is None
            else mask[None, None],
            "has_mask_input": np.array([mask is not None], np.float32),
            "orig_im_size": np.array([1024, 1024], np.float32),
        }
        names = [given.name for given in whole.get_inputs()]
        masks, scores = whole.run(
            [found.masks, found.scores], {name: inputs[name] for name in names}
        )
        return masks[0], scores[0]

    assert agree(ClickDecoder(found.model, session, shares_products=shares_products), decode)


def test_a_decoder_as_exported_keeps_no_graph_beside_its_session() -> None:
    """It takes as much memory as the weights."""
    sam = OnnxSam(*PAIR, "exported", "cpu", as_exported=True)
    assert isinstance(sam._decoder, ExportedDecoder)
    assert not sam._decoder._gives.model.graph.initializer


@pytest.mark.parametrize("shape", [(600, 900), (900, 500)], ids=["wide", "tall"])
def test_a_few_tokens_stand_for_the_padding(shape: tuple[int, int]) -> None:
    """The masks are those of the exported decoder, which looks at every one of them."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    image = np.full((*shape, 3), 120, np.uint8)
    image[np.hypot(rows - height / 2, columns - width / 2) < 150] = (200, 30, 30)
    rebuilt = OnnxSam(WEIGHTS / "encoder.onnx", WEIGHTS / "decoder.onnx", "rebuilt", "cpu")
    exported = OnnxSam(
        WEIGHTS / "encoder.onnx", WEIGHTS / "decoder.onnx", "exported", "cpu", as_exported=True
    )
    embedding = rebuilt.encode(image)
    points = np.array([[width / 2, height / 2]], np.float32)
    earlier = np.full((256, 256), -8, np.float32)
    earlier[100:150, 100:150] = 8
    for mask in (None, earlier):
        answers = [
            engine.decode(embedding, points, np.ones(1, np.float32), None, mask)
            for engine in (rebuilt, exported)
        ]
        (ours, our_scores), (theirs, their_scores) = answers
        painted = np.zeros((256, 256), bool)
        painted[: round(height * 256 / max(shape)), : round(width * 256 / max(shape))] = True
        overlaps = [iou(a[painted], b[painted]) for a, b in zip(ours, theirs, strict=True)]
        assert min(overlaps) > 0.8
        assert np.mean(overlaps) > 0.95
        assert np.abs(our_scores - their_scores).max() < 0.05
