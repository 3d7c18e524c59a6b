"""Converts a PyTorch checkpoint, or a folder of transformers, to encoder.onnx and decoder.onnx.

The pair is first compared with PyTorch on an image. It is then written to a folder with the name of
the checkpoint, where the back end looks for it. `engines.convert` is its command.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch

from sam_backend.engines import sam_export, torch_engine
from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Frame
from sam_backend.engines.graph.reader import KIND
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import compare, iou, prompts, scene
from sam_backend.engines.protocol import Engine, prompt_points
from sam_backend.engines.recognise import convertible, recognise_folder
from sam_backend.engines.sam_export import Exportable
from sam_backend.engines.weights import sha256
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels
from sam_backend.installation import pip_install

OPSET = 17
LEAST_IOU = 0.99
SAME_PARTS = {"MobileSAM": ", or TinySAM, which has the same parts"}
HEARTBEAT = 15.0  # seconds; a large encoder takes minutes


def convert(
    source: Path,
    folder: Path,
    *,
    fixed_size: tuple[int, int] | None = None,
    picture: Pixels | None = None,
) -> float:
    """Writes the pair into the folder. Returns the lowest IoU with PyTorch over all prompts."""
    engine, parts, model = _read(source, fixed_size)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as name:
        draft = Path(name)
        facts = {"model": model, "checkpoint_sha256": _digest(source), KIND: parts.kind}
        _export_encoder(parts, draft / "encoder.onnx", facts)
        _export_decoder(parts, draft / "decoder.onnx", facts)
        # A square, because engines may treat padding differently.
        image = scene(MODEL_SIDE, MODEL_SIDE) if picture is None else picture
        with step("comparing PyTorch with ONNX Runtime"):
            worst = compare(engine, _pair(draft), image)
            if fixed_size:
                worst = min(worst, _compare_finished(engine, draft, scene(*fixed_size)))
        if worst < LEAST_IOU:
            raise SettingsError(
                f"the pair differs from PyTorch (IoU {worst:.3f}): nothing was written to {folder}"
            )
        folder.mkdir(exist_ok=True)
        for file in draft.iterdir():
            shutil.move(file, folder / file.name)
    print(f"wrote {folder}/encoder.onnx and {folder}/decoder.onnx")
    return worst


def _read(source: Path, fixed_size: tuple[int, int] | None) -> tuple[Engine, Exportable, str]:
    """The engine in PyTorch, its parts, and the name of the model."""
    with step(f"reading {source}"):
        if source.is_dir():
            model = recognise_folder(source)
        else:
            model = convertible(torch_engine.read(source, "meta"), source)
        print(f"  it is {model.name}{SAME_PARTS.get(model.name, '')}")
        if model.family == "sam":
            engine = torch_engine.TorchSam(source, model.name, "cpu")
            return engine, sam_export.exportable(engine.sam, fixed_size), model.name
        if fixed_size:
            raise SettingsError(f"--fixed-size is for SAM and MobileSAM, not for {model.name}")
        _need_transformers(model.name)
        from sam_backend.engines import (  # noqa: PLC0415 (transformers is optional)
            sam2_checkpoint,
            transformers_engine,
            transformers_export,
        )

        torch_engine.import_torchvision()
        if source.is_dir():
            module = transformers_engine.load(str(source))
        else:
            module = sam2_checkpoint.load(torch_engine.read(source, "cpu"), model.size)
        name = f"{model.name} in PyTorch"
        engine_of_it = transformers_engine.TransformersSam(module, name, "cpu")
        return engine_of_it, transformers_export.exportable(module), model.name


def _need_transformers(model: str) -> None:
    if not importlib.util.find_spec("transformers"):
        raise SettingsError(f"converting {model} needs transformers: {pip_install('transformers')}")


def _digest(source: Path) -> str:
    """The SHA-256 of a checkpoint, or of a folder's weights."""
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else [source]
    return " ".join(map(sha256, files))


def _export_encoder(parts: Exportable, path: Path, facts: dict[str, str]) -> None:
    with step("exporting the encoder"):
        blank = torch.zeros(1, 3, MODEL_SIDE, MODEL_SIDE)
        outputs = {"image_embeddings": parts.features, **parts.details}
        _export(parts.encoder, {"image": blank}, list(outputs), {}, path)
        _finish(path, facts, outputs)


def _export_decoder(parts: Exportable, path: Path, facts: dict[str, str]) -> None:
    inputs = {
        "image_embeddings": torch.zeros(parts.features),
        "point_coords": torch.full((1, 3, 2), 100.0),
        "point_labels": torch.tensor([[1.0, 0.0, -1.0]]),
        "mask_input": torch.zeros(1, 1, LOW_RES_SIDE, LOW_RES_SIDE),
        "has_mask_input": torch.zeros(1),
        **{name: torch.zeros(shape) for name, shape in parts.details.items()},
    }
    outputs = {parts.masks: (1, 4, *parts.size), "iou_predictions": (1, 4)}
    if parts.object_score:
        outputs["object_score_logits"] = (1, 1)
    axes = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
    with step("exporting the decoder"):
        _export(parts.decoder, inputs, list(outputs), axes, path)
        _finish(path, facts, outputs)


def _export(
    module: Any, inputs: dict[str, Any], outputs: list[str], axes: dict[str, Any], path: Path
) -> None:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # about constants, and all shapes are constants here
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # the new exporter needs another package, onnxscript
        )


def _finish(path: Path, facts: dict[str, str], outputs: dict[str, tuple[int, ...]]) -> None:
    """Adds facts and output shapes to the file, and joins weights that were exported beside it."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, facts)
    for output in model.graph.output:  # a trace does not know all sizes of its outputs
        shape = outputs[output.name]
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, 1, shape))
    pieces = [file for file in path.parent.iterdir() if file.suffix not in (".onnx", ".data")]
    path.unlink()
    if pieces:  # over protobuf's limit of 2 GB, each tensor is exported to its own file
        onnx.save_model(model, path, save_as_external_data=True, location=path.name + ".data")
        for piece in pieces:
            piece.unlink()
    else:
        onnx.save_model(model, path)


def _compare_finished(engine: Engine, folder: Path, image: Pixels) -> float:
    """The lowest IoU of the masks that the decoder itself scaled up. OnnxSam does not use them."""
    embedding = engine.encode(image)
    points, labels, _, _ = prompts(*image.shape[:2])["two points"]
    coordinates, codes = prompt_points(embedding.frame, points, labels, None)
    session = ort.InferenceSession(folder / "decoder.onnx", providers=["CPUExecutionProvider"])
    finished, _ = session.run(
        ["masks", "iou_predictions"],
        {
            "image_embeddings": embedding.features,
            "point_coords": coordinates,
            "point_labels": codes,
            "mask_input": np.zeros((1, 1, LOW_RES_SIDE, LOW_RES_SIDE), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        },
    )
    logits, _ = engine.decode(embedding, points, labels)
    lowest = min(
        iou(Frame(*image.shape[:2]).upsample(mask), other)
        for mask, other in zip(logits, finished[0], strict=True)
    )
    print(f"  masks of {image.shape[1]} x {image.shape[0]}: IoU at least {lowest:.4f}")
    return lowest


def _pair(folder: Path) -> OnnxSam:
    return OnnxSam(folder / "encoder.onnx", folder / "decoder.onnx", "ONNX", "cpu")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints the name of a step, a sign of life now and then, and the time that it took."""
    print(what, flush=True)
    start, done = time.monotonic(), threading.Event()

    def still_there() -> None:
        while not done.wait(HEARTBEAT):
            print(f"  {what}: {time.monotonic() - start:.0f} s so far", flush=True)

    thread = threading.Thread(target=still_there, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    print(f"  {time.monotonic() - start:.1f} s", flush=True)
