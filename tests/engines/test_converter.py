"""Conversions of real and small checkpoints, and exports as other programs write them."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from sam_backend.engines.choice import EnginePlan, check, open_engine, plan
from sam_backend.engines.parity import compare, iou, scene
from sam_backend.engines.protocol import Engine
from sam_backend.errors import SettingsError
from sam_backend.formats import rle
from sam_backend.server.app import create_app
from sam_backend.server.startup import open_services
from sam_backend.settings import Settings
from tests.fakes import inline, keypoint, request_body
from tests.needs import CHECKPOINT, PAIR, need, need_files

ATTENTION = "mask_decoder.transformer.layers.0.self_attn"
# Name in the package, width and heads, as published; how many blocks, and which see everything.
SMALL: dict[str, tuple[str, int, int, int, list[int]]] = {
    "SAM-B": ("vit_b", 768, 12, 2, [1]),
    "SAM-L": ("vit_l", 1024, 16, 1, []),
    "SAM-H": ("vit_h", 1280, 16, 1, []),
}


@pytest.fixture(autouse=True)
def packages() -> None:
    need("torch", "mobile_sam", "segment_anything")


@pytest.fixture(scope="module")
def mobile_sam() -> Engine:
    need("torch", "mobile_sam")
    need_files(CHECKPOINT)
    return open_engine(EnginePlan("MobileSAM", "torch", (CHECKPOINT,), "cpu"))


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAM's three sizes at their real widths, which they are told apart by, but not as deep."""
    from sam_backend.engines import torch_engine  # noqa: PLC0415

    torch_engine.import_torchvision()
    building = importlib.import_module("segment_anything.build_sam")

    for name, width, heads, depth, seeing_all in SMALL.values():
        build = partial(building._build_sam, width, depth, heads, seeing_all)
        monkeypatch.setitem(building.sam_model_registry, name, build)


def random_checkpoint(path: Path, model: str) -> Path:
    import torch  # noqa: PLC0415
    from segment_anything import sam_model_registry  # noqa: PLC0415

    torch.manual_seed(1)
    torch.save(sam_model_registry[SMALL[model][0]]().state_dict(), path)
    return path


@pytest.mark.usefixtures("few_blocks")
@pytest.mark.parametrize("model", SMALL)
def test_sam_of_every_size_converts_and_agrees(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from sam_backend.engines.convert import main  # noqa: PLC0415

    checkpoint = random_checkpoint(tmp_path / "sam.pth", model)
    main([str(checkpoint)])
    printed = capsys.readouterr().out
    assert f"it is {model}" in printed
    assert "a rectangle and points: IoU of the masks at least 1.0000" in printed
    pair = EnginePlan(model, "onnx", (tmp_path / "sam/encoder.onnx", tmp_path / "sam/decoder.onnx"))
    check(pair)
    facts = {p.key: p.value for p in onnx.load(pair.files[0]).metadata_props}
    assert facts["model"] == model
    check(EnginePlan(model, "torch", (checkpoint,)))


@pytest.mark.usefixtures("few_blocks")
def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "sam.pth", "SAM-B")
    for wrong in ("SAM-H", "MobileSAM"):
        with pytest.raises(SettingsError, match=f"is a checkpoint of SAM-B, not of {wrong}"):
            check(EnginePlan(wrong, "torch", (checkpoint,)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weights": 1}, "is not a checkpoint of SAM"),
        (
            {"mask_decoder.hf_token.weight": 1, f"{ATTENTION}.q_proj.weight": 1},
            "is a checkpoint of SAM-HQ, not of MobileSAM",
        ),
        ({"sam_mask_decoder.x": 1}, "is a checkpoint of SAM 2, not of MobileSAM"),
        (Path("/a/pickle/that/would/run/code"), "is not a readable PyTorch checkpoint"),
        (b"<html>404</html>", "is not a readable PyTorch checkpoint"),
        (b"root:x:0:0:root:/root:/bin/bash", "is not a readable PyTorch checkpoint"),
    ],
)
def test_an_invalid_checkpoint_is_refused(tmp_path: Path, content: object, words: str) -> None:
    import torch  # noqa: PLC0415

    path = tmp_path / "mobile_sam.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(SettingsError, match=words) as caught:
        check(EnginePlan("MobileSAM", "torch", (path,)))
    assert "\n" not in str(caught.value)


def test_the_real_checkpoint_converts_to_a_fixed_size_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sam_backend.engines.convert import main  # noqa: PLC0415

    shutil.copy(CHECKPOINT, tmp_path / "mobile_sam.pt")
    main([str(tmp_path / "mobile_sam.pt"), "--fixed-size", "300", "500"])
    printed = capsys.readouterr().out
    assert "masks of 500 x 300: IoU at least" in printed
    files = (tmp_path / "mobile_sam/encoder.onnx", tmp_path / "mobile_sam/decoder.onnx")
    assert sorted((tmp_path / "mobile_sam").iterdir()) == sorted(files)
    outputs = {o.name: o for o in onnx.load(files[1]).graph.output}
    dims = [d.dim_value for d in outputs["masks"].type.tensor_type.shape.dim]
    assert dims[-2:] == [300, 500]
    with pytest.raises(SystemExit, match="--force"):
        main([str(tmp_path / "mobile_sam.pt")])


def test_a_tiny_sam_is_converted_by_its_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TinySAM has the parts of MobileSAM, so MobileSAM's weights under its name stand for it."""
    from sam_backend.engines.convert import main  # noqa: PLC0415

    need_files(CHECKPOINT, *PAIR)
    shutil.copy(CHECKPOINT, tmp_path / "tinysam_42.3.pth")
    main([str(tmp_path / "tinysam_42.3.pth")])
    assert "it is MobileSAM, or TinySAM, which has the same parts" in capsys.readouterr().out
    made = tmp_path / "tinysam_42.3"
    pairs = PAIR, (made / "encoder.onnx", made / "decoder.onnx")
    published, converted = (open_engine(EnginePlan("ONNX", "onnx", pair, "cpu")) for pair in pairs)
    # A square picture, because the encoder of the published pair leaves out the padding of others.
    assert compare(published, converted, scene(700, 700)) > 0.999


def clicked(folder: Path, size: tuple[int, int]) -> Any:
    """The mask that the server answers a click with, serving the pair in the folder."""
    environ = {"SAM_CHOICE": "ONNX", "ONNX_CHECKPOINT": str(folder), "MODEL_DIR": str(folder)}
    settings = Settings.from_environment(environ)
    check(plan(settings))
    height, width = size
    client = create_app(settings, open_services(settings)).test_client()
    point = keypoint("a", 50, 50, original_width=width, original_height=height)
    picture = BytesIO()
    Image.fromarray(scene(height, width)).save(picture, "PNG")
    body = request_body([point], image=inline(picture.getvalue()))
    (region,) = client.post("/predict", json=body).get_json()["results"][0]["result"]
    return rle.decode(region["value"]["rle"], height, width)


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (640, 640)])
def test_a_pair_of_a_fixed_size_serves_clicks_on_images_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int]
) -> None:
    from sam_backend.engines.convert import main  # noqa: PLC0415

    need_files(CHECKPOINT)
    folder = tmp_path_factory.getbasetemp() / "fixed"
    if not folder.exists():
        main([str(CHECKPOINT), "--fixed-size", "300", "500", "--output", str(folder)])
        main([str(CHECKPOINT), "--output", str(folder.with_name("any"))])
    mask = clicked(folder, size)
    assert mask.any()
    other = clicked(folder.with_name("any"), size)
    assert iou(mask.astype(np.float32), other.astype(np.float32)) > 0.99


def test_a_pair_that_differs_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam_backend.engines import converter, onnx_export, pair_check  # noqa: PLC0415

    need_files(CHECKPOINT, *PAIR)

    def copy(_parts: Any, folder: Path, _facts: Any) -> None:
        for file in PAIR:
            shutil.copy(file, folder / file.name)

    monkeypatch.setattr(onnx_export, "write", copy)
    monkeypatch.setattr(pair_check, "compare", lambda *_: 0.5)
    with pytest.raises(SettingsError, match=r"differs from PyTorch .IoU 0.500.: nothing was"):
        converter.convert(CHECKPOINT, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def official_decoder(sam: Any, path: Path, *, single: bool) -> None:
    """As segment-anything's scripts/export_onnx_model.py writes it, and samexporter after it."""
    import torch  # noqa: PLC0415
    from mobile_sam.utils.onnx import SamOnnxModel  # noqa: PLC0415

    inputs = {
        "image_embeddings": torch.randn(1, 256, 64, 64),
        "point_coords": torch.randint(0, 1024, (1, 5, 2)).float(),
        "point_labels": torch.randint(0, 4, (1, 5)).float(),
        "mask_input": torch.randn(1, 1, 256, 256),
        "has_mask_input": torch.tensor([1.0]),
        "orig_im_size": torch.tensor([1500.0, 2250.0]),
    }
    torch.onnx.export(
        SamOnnxModel(sam, return_single_mask=single).eval(),
        tuple(inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=["masks", "iou_predictions", "low_res_masks"],
        dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}},
        opset_version=17,
        dynamo=False,
    )


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("single", [True, False])
def test_exports_of_the_official_script_are_served(
    tmp_path: Path, mobile_sam: Any, single: bool
) -> None:
    need_files(*PAIR)
    official_decoder(mobile_sam.sam, tmp_path / "sam.onnx", single=single)
    pair = EnginePlan("ONNX", "onnx", (PAIR[0], tmp_path / "sam.onnx"), "cpu")
    check(pair)
    # The script freezes the crop of its example's shape, which is a landscape: not these masks.
    assert compare(mobile_sam, open_engine(pair), scene(700, 700)) > 0.99


@pytest.mark.usefixtures("quiet")
def test_encoders_of_samexporter_are_served(tmp_path: Path, mobile_sam: Any) -> None:
    import torch  # noqa: PLC0415

    need_files(*PAIR)

    class WithPreprocessing(torch.nn.Module):
        def forward(self, image: Any) -> Any:
            mean, std = (
                torch.tensor([123.675, 116.28, 103.53]),
                torch.tensor([58.395, 57.12, 57.375]),
            )
            planes = ((image - mean) / std).permute(2, 0, 1)
            right, below = 1024 - planes.shape[-1], 1024 - planes.shape[-2]
            return mobile_sam.sam.image_encoder(
                torch.nn.functional.pad(planes, (0, right, 0, below))[None]
            )

    torch.onnx.export(
        WithPreprocessing().eval(),
        (torch.randn(1024, 1024, 3),),
        str(tmp_path / "sam.encoder.onnx"),
        input_names=["input_image"],
        output_names=["image_embeddings"],
        dynamic_axes={"input_image": {0: "image_height", 1: "image_width"}},
        opset_version=17,
        dynamo=False,
    )
    shutil.copy(PAIR[1], tmp_path / "sam.decoder.onnx")
    files = (tmp_path / "sam.encoder.onnx", tmp_path / "sam.decoder.onnx")
    engine = open_engine(EnginePlan("ONNX", "onnx", files, "cpu"))
    assert compare(mobile_sam, engine, scene(700, 700)) > 0.99
