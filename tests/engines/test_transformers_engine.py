"""Models of transformers: small ones of the real classes, saved by the tests and loaded again."""

from __future__ import annotations

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_backend.engines.choice import EnginePlan, check, open_engine, plan
from sam_backend.engines.frame import Frame
from sam_backend.engines.parity import prompts, scene
from sam_backend.engines.protocol import Engine
from sam_backend.errors import Refusal, SettingsError
from sam_backend.settings import Settings
from tests.engines.transformers_models import small_model
from tests.needs import need

KINDS = ("sam", "sam_hq", "sam2")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("torch", "transformers")
    path = tmp_path_factory.mktemp("models") / f"small-{request.param}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small_model(request.param).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def chosen(folder: Path) -> EnginePlan:
    environ = {"SAM_CHOICE": "Transformers", "TRANSFORMERS_MODEL": str(folder), "DEVICE": "cpu"}
    return plan(Settings.from_environment(environ))


@pytest.fixture(scope="module")
def engine(chosen: EnginePlan) -> Engine:
    check(chosen)
    return open_engine(chosen)


def test_every_kind_of_prompt_is_answered(engine: Engine) -> None:
    for size in ((300, 500), (500, 300)):
        embedding = engine.encode(scene(*size))
        assert embedding.features.shape == (1, 32, 64, 64)
        assert embedding.nbytes >= embedding.features.nbytes
        every = prompts(*size)
        every["a mask"] = (np.zeros((0, 2), np.float32), np.zeros(0, np.float32), None, None)
        for prompt in every.values():
            logits, scores = engine.decode(embedding, *prompt)
            assert logits.shape == (4, 256, 256)
            assert scores.shape == (4,)
            assert logits.dtype == scores.dtype == np.float32
            assert np.isfinite(logits).all()
            assert Frame(*size).upsample(logits[0]).shape == size


def test_it_says_what_the_model_itself_says(engine: Any, folder: Path) -> None:
    """Against the model called in one go, with the image as its own processor would prepare it."""
    import torch  # noqa: PLC0415

    if folder.name.endswith("sam_hq"):
        pytest.skip("transformers decodes it wrongly: test_hq_conversion tests it")

    image = scene(1024, 1024)  # a square: neither stretched nor padded
    pixels = image.astype(np.float32)
    if folder.name.endswith("sam2"):
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        pixels = ((pixels / 255 - mean) / std).astype(np.float32)
    else:
        mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
        pixels = ((pixels - mean) / std).astype(np.float32)
    model = small_model(folder.name.removeprefix("small-"))
    with torch.inference_mode():
        whole = model(
            pixel_values=torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()),
            input_points=torch.tensor([[[[512.0, 400.0]]]]),
            input_labels=torch.tensor([[[1]]]),
        )
    point = np.array([[512, 400]], np.float32)
    logits, scores = engine.decode(engine.encode(image), point, np.ones(1, np.float32))
    np.testing.assert_allclose(logits[1:], whole.pred_masks.numpy()[0, 0], atol=1e-3)
    np.testing.assert_allclose(scores[1:], whole.iou_scores.numpy()[0, 0], atol=1e-4)


def test_threads_do_not_disturb_each_other(engine: Engine) -> None:
    embeddings = [engine.encode(scene(*size)) for size in ((300, 500), (500, 300))]
    asked = [prompts(300, 500)["a point"], prompts(500, 300)["a rectangle"]]
    alone = [engine.decode(e, *p)[0] for e, p in zip(embeddings, asked, strict=True)]

    def work(number: int) -> float:
        logits, _ = engine.decode(embeddings[number % 2], *asked[number % 2])
        return float(np.abs(logits - alone[number % 2]).max())

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(16))) < 1e-3


def test_the_version_tells_weights_apart(chosen: EnginePlan, folder: Path) -> None:
    assert chosen.model_version.startswith(f"{folder.name}-")
    assert len(chosen.model_version) == len(folder.name) + 9


def test_a_name_on_the_hub_is_its_version() -> None:
    named = plan(Settings.from_environment({"SAM_CHOICE": "transformers"}))
    assert (named.source, named.model_version) == (
        "facebook/sam2.1-hiera-tiny",
        "sam2.1-hiera-tiny",
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("no such folder", "is neither a folder nor a model's name"),
        ("empty", "has no readable config.json"),
        ("bert", "is a model of type 'bert', not one of sam, sam_hq, sam2"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_reported(tmp_path: Path, source: str, words: str) -> None:
    need("torch", "transformers")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert/config.json").write_text(json.dumps({"model_type": "bert"}))
    where = source if " " in source else str(tmp_path / source)
    environ = {"SAM_CHOICE": "Transformers", "TRANSFORMERS_MODEL": where}
    with pytest.raises(SettingsError, match=words):
        check(plan(Settings.from_environment(environ)))


def test_pickled_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SettingsError, match="cannot be loaded"):
        open_engine(EnginePlan("Transformers", "transformers", (), "cpu", str(tmp_path)))


def export_for_transformers_js(model: Any, target: Path) -> tuple[Path, Path]:
    """As Optimum exports a SamModel: an encoder with two outputs, a decoder without rectangles."""
    import torch  # noqa: PLC0415

    class Encoder(torch.nn.Module):
        def forward(self, pixel_values: Any) -> Any:
            embeddings = model.vision_encoder(pixel_values).last_hidden_state
            positions = model.get_image_wide_positional_embeddings()
            return embeddings, positions.repeat(pixel_values.shape[0], 1, 1, 1)

    class Decoder(torch.nn.Module):
        def forward(self, points: Any, labels: Any, embeddings: Any, positions: Any) -> Any:
            sparse, dense = model.prompt_encoder(points, labels, None, None)
            masks, scores = model.mask_decoder(
                image_embeddings=embeddings,
                image_positional_embeddings=positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            return scores, masks

    model.requires_grad_(False)
    names = ["image_embeddings", "image_positional_embeddings"]
    files = target / "vision_encoder.onnx", target / "prompt_encoder_mask_decoder.onnx"
    points, labels = torch.rand(1, 1, 2, 2) * 1024, torch.tensor([[[1, 0]]])
    images = torch.zeros(1, 32, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Encoder().eval(),
            (torch.zeros(1, 3, 1024, 1024),),
            str(files[0]),
            input_names=["pixel_values"],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in ("pixel_values", *names)},
            opset_version=17,
            dynamo=False,
        )
        torch.onnx.export(
            Decoder().eval(),
            (points, labels, images, images),
            str(files[1]),
            input_names=["input_points", "input_labels", *names],
            output_names=["iou_scores", "pred_masks"],
            dynamic_axes={"input_points": {2: "points"}, "input_labels": {2: "points"}},
            opset_version=17,
            dynamo=False,
        )
    return files


def test_exports_for_transformers_js_are_served(tmp_path: Path) -> None:
    need("torch", "transformers")
    model = small_model("sam")
    model.save_pretrained(tmp_path / "small")
    files = export_for_transformers_js(model, tmp_path)
    foreign = open_engine(EnginePlan("ONNX", "onnx", files, "cpu"))
    own = open_engine(
        EnginePlan("Transformers", "transformers", (), "cpu", str(tmp_path / "small"))
    )
    image = scene(300, 500)
    for kind in ("a point", "two points"):
        prompt = prompts(300, 500)[kind]
        logits, scores = foreign.decode(foreign.encode(image), *prompt)
        wanted, wanted_scores = own.decode(own.encode(image), *prompt)
        np.testing.assert_allclose(logits, wanted, atol=1e-3)
        np.testing.assert_allclose(scores, wanted_scores, atol=1e-4)
    with pytest.raises(Refusal, match="takes no rectangles") as no:
        foreign.decode(foreign.encode(image), *prompts(300, 500)["a rectangle"])
    assert no.value.cause == "model"
