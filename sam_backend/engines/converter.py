"""Converts a PyTorch checkpoint of SAM or MobileSAM to encoder.onnx and decoder.onnx.

    python onnx_converter.py models/sam_vit_b_01ec64.pth

The pair is first compared with PyTorch on an image. It is then written to a folder with the name of
the checkpoint, where the back end looks for it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image, ImageOps

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Frame
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import compare, iou, prompts, scene
from sam_backend.engines.protocol import prompt_points
from sam_backend.engines.weights import sha256
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels

try:
    import torch
except ImportError:
    sys.exit("converting needs PyTorch: pip install -r requirements-torch.txt")

from sam_backend.engines import torch_engine

OPSET = 17
LEAST_IOU = 0.99
HEARTBEAT = 15.0  # seconds; a large encoder takes minutes


class FourMasks(torch.nn.Module):
    """SAM's decoder with the official script's inputs; returns the masks of all four tokens."""

    def __init__(self, sam: Any, fixed_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.prompts = sam.prompt_encoder
        self.decoder = sam.mask_decoder
        self.fixed_size = fixed_size

    def forward(
        self,
        image_embeddings: Any,
        point_coords: Any,
        point_labels: Any,
        mask_input: Any,
        has_mask_input: Any,
    ) -> tuple[Any, Any]:
        no_mask = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense = has_mask_input * self.prompts.mask_downscaling(mask_input)
        masks, scores = self.decoder.predict_masks(
            image_embeddings=image_embeddings,
            image_pe=self.prompts.get_dense_pe(),
            sparse_prompt_embeddings=self._sparse(point_coords, point_labels.unsqueeze(-1)),
            dense_prompt_embeddings=dense + (1 - has_mask_input) * no_mask,
        )
        if self.fixed_size:
            height, width = Frame(*self.fixed_size).scaled
            square = (MODEL_SIDE, MODEL_SIDE)
            masks = torch.nn.functional.interpolate(masks, square, mode="bilinear")
            masks = masks[..., :height, :width]
            masks = torch.nn.functional.interpolate(masks, self.fixed_size, mode="bilinear")
        return masks, scores

    def _sparse(self, points: Any, labels: Any) -> Any:
        # A trace keeps no `if`, so the embedding of every label is multiplied by 0 or 1.
        codes = self.prompts.pe_layer._pe_encoding((points + 0.5) / MODEL_SIDE)  # noqa: SLF001
        codes = codes * (labels != -1)
        kinds = [self.prompts.not_a_point_embed, *self.prompts.point_embeddings]
        for label, kind in enumerate(kinds, start=-1):
            codes = codes + kind.weight * (labels == label)
        return codes


def convert(
    checkpoint: Path,
    folder: Path,
    *,
    fixed_size: tuple[int, int] | None = None,
    picture: Pixels | None = None,
) -> float:
    """Writes the pair into the folder. Returns the lowest IoU with PyTorch over all prompts."""
    with step(f"reading {checkpoint}"):
        model = torch_engine.identify(torch_engine.read(checkpoint, "meta"))
        if model not in torch_engine.ARCHITECTURES:
            raise SettingsError(f"{checkpoint} is not a checkpoint of SAM or MobileSAM")
        engine = torch_engine.TorchSam(checkpoint, model, "cpu")
    print(f"  it is {model}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as name:
        draft = Path(name)
        facts = {"model": model, "checkpoint_sha256": sha256(checkpoint)}
        _export_encoder(engine.sam, draft / "encoder.onnx", facts)
        _export_decoder(engine.sam, draft / "decoder.onnx", facts, fixed_size)
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


def _export_encoder(sam: Any, path: Path, facts: dict[str, str]) -> None:
    with step("exporting the encoder"):
        blank = torch.zeros(1, 3, MODEL_SIDE, MODEL_SIDE)
        _export(sam.image_encoder, {"image": blank}, ["image_embeddings"], {}, path)
        side = MODEL_SIDE // 16
        _finish(path, facts, {"image_embeddings": (1, sam.prompt_encoder.embed_dim, side, side)})


def _export_decoder(
    sam: Any, path: Path, facts: dict[str, str], fixed_size: tuple[int, int] | None
) -> None:
    side = MODEL_SIDE // 16
    inputs = {
        "image_embeddings": torch.zeros(1, sam.prompt_encoder.embed_dim, side, side),
        "point_coords": torch.full((1, 3, 2), 100.0),
        "point_labels": torch.tensor([[1.0, 0.0, -1.0]]),
        "mask_input": torch.zeros(1, 1, LOW_RES_SIDE, LOW_RES_SIDE),
        "has_mask_input": torch.zeros(1),
    }
    name, size = ("masks", fixed_size) if fixed_size else ("low_res_masks", (LOW_RES_SIDE,) * 2)
    outputs = {name: (1, 4, *size), "iou_predictions": (1, 4)}
    axes = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
    with step("exporting the decoder"):
        _export(FourMasks(sam, fixed_size), inputs, list(outputs), axes, path)
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


def _compare_finished(engine: torch_engine.TorchSam, folder: Path, image: Pixels) -> float:
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


def _square(image: Image.Image) -> Pixels:
    return np.asarray(ImageOps.fit(image, (min(image.size),) * 2))


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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="SAM or MobileSAM from PyTorch to ONNX.")
    parser.add_argument("checkpoint", type=Path, help="mobile_sam.pt, sam_vit_b_01ec64.pth, ...")
    parser.add_argument("--output", type=Path, help="folder (default: the checkpoint's name)")
    parser.add_argument(
        "--fixed-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="masks at the size of the image, for programs that cannot scale masks up",
    )
    parser.add_argument("--image", type=Path, help="compare on this image, not a synthetic one")
    parser.add_argument("--force", action="store_true", help="replace an existing pair")
    given = parser.parse_args(arguments)
    picture = given.image and _square(Image.open(given.image).convert("RGB"))
    folder = given.output or given.checkpoint.with_suffix("")
    if (folder / "encoder.onnx").exists() and not given.force:
        parser.error(f"{folder} holds a pair already: --force replaces it")
    try:
        convert(
            given.checkpoint,
            folder,
            fixed_size=tuple(given.fixed_size) if given.fixed_size else None,
            picture=picture,
        )
    except (SettingsError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
