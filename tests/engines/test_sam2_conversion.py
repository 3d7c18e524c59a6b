"""Models of SAM 2's kind without PyTorch: small ones of the real classes, with random weights."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sam_backend.embeddings.packed import rounded
from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.arithmetic import OPENVINO_F32
from sam_backend.engines.choice import EnginePlan, check, open_engine, plan
from sam_backend.engines.frame import Frame
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import prompts, scene
from sam_backend.engines.protocol import SAM_2, model_input
from sam_backend.errors import SettingsError
from sam_backend.settings import Settings
from tests.engines import served_pair
from tests.engines.exported import prompt_inputs, session
from tests.engines.transformers_models import small_model
from tests.needs import need

Arrays = Mapping[str, npt.NDArray[Any]]
SIDE = 1024
SQUARE = Frame(SIDE, SIDE, stretched=True)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def lively_model(kind: str) -> Any:
    """With weights so large that logits reach the tens, as those of trained models do."""
    model = small_model(kind).requires_grad_(False)
    for name, weight in model.named_parameters():
        if "timm_model" not in name:  # whose many convolutions would multiply them
            weight.normal_(0, 0.3)
    return model


@pytest.fixture(scope="module", params=["sam2", "edgetam"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of transformers, and beside it the pair that the command made of it."""
    need("torch", "transformers", "timm")
    from sam_backend.engines.convert import main  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("models") / f"small-{request.param}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lively_model(request.param).save_pretrained(folder)
        main([str(folder)])
    return folder


@pytest.fixture(scope="module")
def pair(converted: Path) -> tuple[Path, Path]:
    folder = converted.with_name(f"{converted.name}-onnx")
    return folder / "encoder.onnx", folder / "decoder.onnx"


def kinds(mask: bool) -> dict[str, Any]:
    """A prompt of each kind, with or without a previous mask."""
    drawn = prompts(SIDE, SIDE)
    earlier = drawn.pop("a point and a mask")[3] if mask else None
    return {
        name: (points, labels, box, earlier) for name, (points, labels, box, _) in drawn.items()
    }


@pytest.mark.parametrize("mask", [False, True])
def test_the_pair_says_what_the_original_says(
    converted: Path, pair: tuple[Path, Path], mask: bool
) -> None:
    """In full precision, for all kinds of prompt: logits, scores and the score of an object."""
    import torch  # noqa: PLC0415

    from sam_backend.engines import transformers_engine  # noqa: PLC0415

    model = transformers_engine.load(str(converted))
    pixels = model_input(scene(SIDE, SIDE), stretched=True)
    features, *details = session(pair[0]).run(None, {"image": pixels})
    with torch.inference_mode():
        made = model.get_image_embeddings(torch.from_numpy(pixels))
    decoder = session(pair[1])
    for name, (points, labels, box, earlier) in kinds(mask).items():
        prompt = prompt_inputs(SQUARE, points, labels, box, earlier, pads_boxes=True)
        finer = {"high_res_feats_0": details[0], "high_res_feats_1": details[1]}
        logits, scores, present = decoder.run(
            None, {"image_embeddings": features, **finer, **prompt}
        )
        asked: dict[str, Any] = {"image_embeddings": list(made)}
        if len(points):
            asked["input_points"] = torch.from_numpy(points)[None, None]
            asked["input_labels"] = torch.from_numpy(labels)[None, None].long()
        if box is not None:
            asked["input_boxes"] = torch.from_numpy(box)[None, None]
        if earlier is not None:
            asked["input_masks"] = torch.from_numpy(earlier)[None, None]
        with torch.inference_mode():
            single, several = (model(**asked, multimask_output=many) for many in (False, True))
        wanted = np.concatenate([answer.pred_masks[0, 0].numpy() for answer in (single, several)])
        assert np.abs(wanted).max() > 1, name  # so that 1e-4 means something
        np.testing.assert_allclose(logits[0], wanted, rtol=0, atol=1e-4, err_msg=name)
        wanted = np.concatenate([answer.iou_scores.ravel().numpy() for answer in (single, several)])
        np.testing.assert_allclose(scores[0], wanted, rtol=0, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(
            present.ravel(), single.object_score_logits.ravel().numpy(), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize("size", [(300, 500), (500, 300)])
def test_the_engine_answers_as_the_one_in_pytorch_does(
    converted: Path, pair: tuple[Path, Path], size: tuple[int, int]
) -> None:
    """Through all of it: stretched images, details in half precision, masks moved back."""
    in_torch = open_engine(EnginePlan("Transformers", "transformers", (), "cpu", str(converted)))
    in_onnx = OnnxSam(*pair, "ONNX", "cpu")
    assert in_torch.facts == in_onnx.facts == SAM_2
    image = scene(*size)
    embedding, wanted_embedding = in_onnx.encode(image), in_torch.encode(image)
    assert embedding.features.shape == wanted_embedding.features.shape == (1, 32, 64, 64)
    for name, prompt in prompts(*size).items():
        logits, scores = in_onnx.decode(embedding, *prompt)
        wanted, wanted_scores = in_torch.decode(wanted_embedding, *prompt)
        assert logits.shape == (4, 256, 256)
        assert np.abs(wanted).max() > 1, name
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=0.05, err_msg=name)
        np.testing.assert_allclose(scores, wanted_scores, rtol=0, atol=1e-4, err_msg=name)


def test_its_embeddings_are_kept_in_half_precision(pair: tuple[Path, Path], tmp_path: Path) -> None:
    engine = OnnxSam(*pair, "ONNX", "cpu")
    embedding = rounded(engine.encode(scene(300, 500)))
    assert [detail.shape for detail in embedding.details] == [(1, 4, 256, 256), (1, 8, 128, 128)]
    assert {detail.dtype for detail in embedding.details} == {np.dtype(np.float16)}
    store = EmbeddingStore(tmp_path, 100 << 20)
    store.put("a", embedding)
    back = store.get("a")
    assert back is not None
    prompt = prompts(300, 500)["two points"]
    logits, scores = engine.decode(back, *prompt)
    wanted, wanted_scores = engine.decode(embedding, *prompt)
    np.testing.assert_array_equal(logits, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


def test_its_folder_is_served_by_name(pair: tuple[Path, Path]) -> None:
    environ = {"SAM_CHOICE": "ONNX", "ONNX_CHECKPOINT": str(pair[0].parent), "DEVICE": "cpu"}
    chosen = plan(Settings.from_environment(environ))
    check(chosen)
    assert isinstance(open_engine(chosen), OnnxSam)


def test_openvino_gives_the_same_masks(pair: tuple[Path, Path]) -> None:
    need("openvino")
    in_onnx = OnnxSam(*pair, "ONNX", "cpu")
    in_openvino = OnnxSam(*pair, "ONNX", "cpu", encode_in=OPENVINO_F32, decode_in=OPENVINO_F32)
    assert in_openvino.fingerprint != in_onnx.fingerprint
    image = scene(300, 500)
    prompt = prompts(300, 500)["a rectangle and points"]
    logits, _ = in_openvino.decode(in_openvino.encode(image), *prompt)
    wanted, _ = in_onnx.decode(in_onnx.encode(image), *prompt)
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=0.05)


def test_an_encoder_of_another_model_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    import onnx  # noqa: PLC0415

    model = onnx.load(pair[0])
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "encoder.onnx")
    with pytest.raises(SettingsError, match="has no output high_res_feats_0, which the decoder"):
        OnnxSam(tmp_path / "encoder.onnx", pair[1], "ONNX", "cpu")


def test_a_pair_holds_no_trace_of_a_failed_conversion(converted: Path, tmp_path: Path) -> None:
    from sam_backend.engines.convert import main  # noqa: PLC0415

    broken = tmp_path / "broken"
    shutil.copytree(converted, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(SystemExit, match="cannot be loaded"):
        main([str(broken)])
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_the_server_answers_clicks_with_the_pair_also_after_a_restart(
    converted: Path, tmp_path: Path
) -> None:
    """The several arrays of an embedding go through the cache in memory and on disk."""
    folder = converted.with_name(f"{converted.name}-onnx")
    found = [served_pair.regions(folder, tmp_path) for _ in range(2)]
    assert found[0] == found[1]
    cache = Settings.from_environment({"MODEL_DIR": str(tmp_path)}).cache_dir
    kept = [path for path in cache.rglob("*") if path.stat().st_size > 1_000_000]
    assert kept
