"""The decoder of SAM 2 and EdgeTAM, rebuilt for clicks: of its real size, with random weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_backend.embeddings.packed import packed, rounded, unpacked
from sam_backend.engines import click_details, timing
from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_F32
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import prompts, scene
from tests.engines.transformers_models import HIERA
from tests.needs import need

SIZE = 300, 500


def model_with_a_real_decoder(kind: str) -> Any:
    """Random weights, so large that logits reach the tens."""
    import torch  # noqa: PLC0415

    from sam_backend.engines.torch_engine import import_torchvision  # noqa: PLC0415

    torch.manual_seed(5)
    import_torchvision()
    import transformers as t  # noqa: PLC0415

    if kind == "edgetam":
        backbone = t.TimmWrapperConfig(
            architecture="repvit_m1",
            model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        )
        vision = t.EdgeTamVisionConfig(backbone_config=backbone)
        model = t.EdgeTamModel(t.EdgeTamConfig(vision_config=vision))
    else:
        vision = t.Sam2VisionConfig(
            backbone_config=t.Sam2HieraDetConfig(**HIERA), backbone_channel_list=[64, 32, 16, 8]
        )
        model = t.Sam2Model(t.Sam2Config(vision_config=vision))
    model.eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "decoder" in name:
            weight.normal_(0, 0.08 if weight.ndim > 1 else 0.3)
    return model


@pytest.fixture(scope="module", params=["sam2", "edgetam"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    need("torch", "transformers", "timm")
    from sam_backend.engines import onnx_export, transformers_export  # noqa: PLC0415

    folder = tmp_path_factory.mktemp(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model_with_a_real_decoder(request.param)
        onnx_export.write(transformers_export.exportable(model), folder, {})
    return folder / "encoder.onnx", folder / "decoder.onnx"


@pytest.fixture
def engines(pair: tuple[Path, Path]) -> tuple[OnnxSam, OnnxSam]:
    """One with the decoder for clicks, and one with the decoder as it was exported."""
    return OnnxSam(*pair, "ONNX", "cpu"), OnnxSam(*pair, "ONNX", "cpu", as_exported=True)


def test_it_gives_the_masks_of_the_exported_decoder(engines: tuple[OnnxSam, OnnxSam]) -> None:
    """For all kinds of prompt, with and without an earlier mask."""
    fast, exported = engines
    assert fast.fingerprint != exported.fingerprint  # their embeddings differ in order
    image = scene(*SIZE)
    embedding, plain = fast.encode(image), exported.encode(image)
    assert replace(embedding, derived={}).nbytes == plain.nbytes
    every = prompts(*SIZE)
    mask = every["a point and a mask"][3]
    every |= {f"{kind}, and a mask": (*prompt[:3], mask) for kind, prompt in every.items()}
    for kind, prompt in every.items():
        logits, scores = fast.decode(embedding, *prompt)
        wanted, wanted_scores = exported.decode(plain, *prompt)
        assert np.abs(wanted).max() > 1, kind
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=2e-3, err_msg=kind)
        np.testing.assert_allclose(scores, wanted_scores, rtol=0, atol=1e-4, err_msg=kind)


def test_its_embedding_comes_back_from_disk(engines: tuple[OnnxSam, OnnxSam]) -> None:
    engine = engines[0]
    embedding = rounded(engine.encode(scene(*SIZE)))
    content = packed(embedding)
    assert content is not None
    back = unpacked(content)
    assert back is not None
    prompt = prompts(*SIZE)["a rectangle and points"]
    np.testing.assert_array_equal(
        engine.decode(back, *prompt)[0], engine.decode(embedding, *prompt)[0]
    )


def test_it_is_timed_in_several_arithmetics_and_serves_in_each(pair: tuple[Path, Path]) -> None:
    need("openvino")
    times = timing.decodes(pair[1], [ONNX_F32, OPENVINO_F32], rounds=1)
    assert set(times) == {ONNX_F32, OPENVINO_F32}
    in_openvino = OnnxSam(*pair, "ONNX", "cpu", decode_in=OPENVINO_F32)
    in_onnx = OnnxSam(*pair, "ONNX", "cpu")
    embedding = in_onnx.encode(scene(*SIZE))
    prompt = prompts(*SIZE)["two points"]
    logits, wanted = (
        engine.decode(replace(embedding, derived={}), *prompt)[0]  # each with products of its own
        for engine in (in_openvino, in_onnx)
    )
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=0.01)


def test_a_single_mask_that_is_not_stable_is_replaced_by_the_best_of_the_others() -> None:
    logits = np.full((4, 256, 256), -9, np.float32)
    logits[0, :100], logits[2, :50] = 0.01, 9  # the first one is neither inside nor outside
    scores = np.array([0.9, 0.1, 0.8, 0.2], np.float32)
    stable = logits.copy(), scores.copy()
    stable[0][0, :100] = 9
    click_details.stabilise(*stable, 0.05, 0.98)
    assert (stable[0][0, :100] == 9).all()
    click_details.stabilise(logits, scores, 0.05, 0.98)
    np.testing.assert_array_equal(logits[0], logits[2])
    assert scores[0] == scores[2]
