"""The table of docs/models.md: how fast each model encodes and decodes, beside PyTorch.

    python -m tools.bench.models sam2.1_hiera_tiny light_hq

The models have their real sizes, but random weights. Their masks mean nothing, but take as long as
the masks of trained weights. Each run has one thread, and its time is that of the processor, so
other programs on the machine change little. All runs of a model take turns, and each ratio is the
median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sam_backend.engines import (
    efficient_model,
    onnx_export,
    sam2_checkpoint,
    sam_export,
    torch_engine,
)
from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_BF16, OPENVINO_F32, Arithmetic
from sam_backend.engines.hq_model import HEADS, HqDecoder, load
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import prompts, scene
from sam_backend.engines.protocol import Engine
from sam_backend.engines.torch_engine import TorchEngine
from sam_backend.engines.transformers_engine import TransformersSam
from sam_backend.engines.transformers_export import exportable

PICTURE = 800, 1200  # rows and columns
ENCODES, DECODES = 2, 7  # rounds
Made = tuple[Engine, sam_export.Exportable]


def sam2(size: str) -> Made:
    import transformers  # noqa: PLC0415

    model = transformers.Sam2Model(sam2_checkpoint.configuration(size)).eval()
    return TransformersSam(model, size, "cpu"), exportable(model)


def edgetam() -> Made:
    import transformers  # noqa: PLC0415

    model = transformers.EdgeTamModel(sam2_checkpoint.configuration_of_edgetam()).eval()
    return TransformersSam(model, "edgetam", "cpu"), exportable(model)


def plain(name: str) -> Any:
    package = torch_engine.package("MobileSAM" if name == "vit_t" else "SAM-B")
    return package.sam_model_registry[name]().eval()


def mobile_sam() -> Made:
    sam = plain("vit_t")
    return TorchEngine(sam, "plain", "cpu"), sam_export.exportable(sam)


def hq(name: str, early_width: int) -> Made:
    decoder = HqDecoder(256, early_width, 2048, HEADS, 256)
    added = {f"mask_decoder.{key}": value for key, value in decoder.state_dict().items()}
    model = load({**plain(name).state_dict(), **added})
    return TorchEngine(model, name, "cpu", "hq"), sam_export.hq_exportable(model)


def efficient(width: int) -> Made:
    model = efficient_model.empty(width).eval().requires_grad_(requires_grad=False)
    engine = TorchEngine(model, "efficient_sam", "cpu", "efficient")
    return engine, sam_export.efficient_exportable(model)


MODELS: dict[str, Callable[[], Made]] = {
    "mobile_sam": mobile_sam,
    "light_hq": partial(hq, "vit_t", 160),
    "edgetam": edgetam,
    **{f"sam2.1_hiera_{size}": partial(sam2, size) for size in ("tiny", "small", "base_plus")},
    "sam_hq_vit_b": partial(hq, "vit_b", 768),
    "efficient_sam_vitt": partial(efficient, 192),
    "efficient_sam_vits": partial(efficient, 384),
}


def engines(made: Made, folder: Path) -> dict[str, Engine]:
    original, parts = made
    onnx_export.write(parts, folder, {})
    pair = folder / "encoder.onnx", folder / "decoder.onnx"

    def opened(arithmetic: Arithmetic) -> Engine:
        return OnnxSam(*pair, "ONNX", "cpu", threads=1, encode_in=arithmetic, decode_in=arithmetic)

    as_exported = OnnxSam(*pair, "ONNX", "cpu", threads=1, as_exported=True)
    found = {"PyTorch": original, "as exported": as_exported}
    for arithmetic in (ONNX_F32, OPENVINO_F32, OPENVINO_BF16):
        try:
            found[str(arithmetic)] = opened(arithmetic)
        except (ImportError, RuntimeError) as error:  # not on this machine
            print(f"  {arithmetic} is left out: {error}")
    return found


def in_turn(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time()
            run()
            times[name].append(time.process_time() - started)
    return times


def report(part: str, times: dict[str, list[float]]) -> None:
    base = times["PyTorch"]
    for name, found in times.items():
        ratio = statistics.median(b / t for b, t in zip(base, found, strict=True))
        least = 1000 * min(found)
        print(f"  {part}, {name}: {ratio:.2f} times as fast as PyTorch ({least:.0f} ms)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", choices=MODELS)
    torch.set_num_threads(1)
    torch_engine.import_torchvision()
    image, prompt = scene(*PICTURE), prompts(*PICTURE)["a point"]
    for name in parser.parse_args().models:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            torch.inference_mode(),
        ):
            warnings.simplefilter("ignore")
            every = engines(MODELS[name](), Path(folder))
            print(name, flush=True)
            encodes = {key: partial(engine.encode, image) for key, engine in every.items()}
            report("encode", in_turn(encodes, ENCODES))
            decodes = {
                key: partial(engine.decode, engine.encode(image), *prompt)
                for key, engine in every.items()
            }
            report("decode", in_turn(decodes, DECODES))


if __name__ == "__main__":
    main()
