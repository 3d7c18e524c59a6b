"""How long the PyTorch engines take on each device, with real MobileSAM weights and random others.

    python -m tools.bench.gpu [--devices cuda cpu] [--models MobileSAM SAM-H SAM2] [--rounds 10]

Weights do not change how long a product takes, so random ones time SAM-H and SAM 2 as well as real
ones. It needs PyTorch, and what requirements-torch.txt and requirements-transformers.txt add to it:
a model whose package is missing is left out. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sam_backend.engines.parity import scene
from sam_backend.engines.protocol import Engine
from sam_backend.formats.pictures import Pixels
from tools.folders import SHARED

NEEDS = {
    "MobileSAM": ("torch", "torchvision", "mobile_sam"),
    "SAM-B": ("torch", "torchvision", "segment_anything"),
    "SAM-H": ("torch", "torchvision", "segment_anything"),
    "SAM2": ("torch", "transformers"),
}
BATCHES = (1, 4, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"])
    parser.add_argument("--models", nargs="+", default=["MobileSAM", "SAM-H", "SAM2"])
    parser.add_argument("--checkpoint", type=Path, default=SHARED / "models/mobile_sam.pt")
    parser.add_argument("--image", type=Path, help="for everything mode; else a drawn scene")
    parser.add_argument("--grid", type=int, default=16, help="points a side, of everything mode")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cpu-rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    options = parser.parse_args()
    import torch  # noqa: PLC0415 (so that --help needs no PyTorch)

    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
    image = scene(1500, 2241)
    photo = image if options.image is None else np.asarray(Image.open(options.image).convert("RGB"))
    print("\nmilliseconds, median (least to most)\n")
    print("| model | device | encode | encode, bf16 | decode | with a mask | memory |")
    print("|---|---|---|---|---|---|---|", flush=True)
    after: list[str] = []
    for model in options.models:
        missing = [name for name in NEEDS[model] if not importlib.util.find_spec(name)]
        if missing:
            print(f"| {model} | not timed: no {', '.join(missing)} | | | | | |")
            continue
        with _checkpoint(model, options.checkpoint) as checkpoint:
            for device in options.devices:
                if device.startswith("cuda") and not torch.cuda.is_available():
                    print(f"| {model} | {device}: not there | | | | | |")
                    continue
                engine = _opened(model, checkpoint, device)
                rounds = options.cpu_rounds if device == "cpu" else options.rounds
                print(f"| {model} | {device} | {_row(engine, image, device, rounds)} |", flush=True)
                after += _batches(model, engine, device, options.batches)
                if model == "MobileSAM":
                    after.append(_everything(engine, photo, device, options.grid))
                del engine
                gc.collect()
                if device.startswith("cuda"):
                    torch.cuda.empty_cache()
    print("", *after, sep="\n")


def _row(engine: Engine, image: Pixels, device: str, rounds: int) -> str:
    import torch  # noqa: PLC0415

    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    embedding = engine.encode(image)
    point = np.array([[1100, 700]], np.float32), np.ones(1, np.float32)
    logits, _ = engine.decode(embedding, *point)
    half = torch.autocast(device.partition(":")[0], torch.bfloat16)
    cells = [
        _times(lambda: engine.encode(image), rounds, device),
        _times(lambda: engine.encode(image), rounds, device, half),
        _times(lambda: engine.decode(embedding, *point), 3 * rounds, device),
        _times(lambda: engine.decode(embedding, *point, None, logits[0]), 3 * rounds, device),
        f"{torch.cuda.max_memory_allocated() >> 20} MB" if on_gpu else "",
    ]
    return " | ".join(cells)


def _times(
    run: Callable[[], object],
    rounds: int,
    device: str,
    around: AbstractContextManager[object] | None = None,
) -> str:
    """Median and range; The first run is not counted."""
    seconds = []
    with around or contextlib.nullcontext():
        for _ in range(rounds + 1):
            started = time.perf_counter()
            run()
            _finish(device)
            seconds.append(time.perf_counter() - started)
    low, middle, high = (1000 * f(seconds[1:]) for f in (min, statistics.median, max))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _batches(model: str, engine: Any, device: str, sizes: tuple[int, ...]) -> Iterator[str]:
    """Images a second that the encoder alone takes, at several batch sizes."""
    import torch  # noqa: PLC0415

    if not hasattr(engine, "sam") or device == "cpu":
        return
    for size in sizes:
        pixels = torch.randn(size, 3, 1024, 1024, device=engine.device)
        try:
            with torch.inference_mode():
                engine.sam.image_encoder(pixels)
                _finish(device)
                started = time.perf_counter()
                for _ in range(3):
                    engine.sam.image_encoder(pixels)
                _finish(device)
        except torch.OutOfMemoryError:
            yield f"{model}, {device}: {size} images at once do not fit into its memory"
            return
        rate = 3 * size / (time.perf_counter() - started)
        yield f"{model}, {device}: {rate:.1f} images/s by its encoder, {size} at once"


def _everything(engine: Engine, image: Pixels, device: str, grid: int) -> str:
    from sam_backend.clicks import everything  # noqa: PLC0415

    started = time.perf_counter()
    count = len(list(everything.proposals(engine, engine.encode(image), grid=grid)))
    seconds = time.perf_counter() - started
    return f"MobileSAM, {device}: {count} proposals of a grid of {grid} take {seconds:.1f} s"


@contextlib.contextmanager
def _checkpoint(model: str, mobile_sam: Path) -> Iterator[Path]:
    """The weights of a model: MobileSAM's own, random ones for others."""
    if model == "MobileSAM":
        yield mobile_sam
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("sam2" if model == "SAM2" else "sam.pth")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _save_random(model, path)
        yield path


def _save_random(model: str, path: Path) -> None:
    import torch  # noqa: PLC0415

    from sam_backend.engines.torch_engine import import_torchvision  # noqa: PLC0415

    import_torchvision()
    torch.manual_seed(0)
    if model == "SAM2":
        import transformers  # noqa: PLC0415

        # By default it has the sizes of the tiny SAM 2.
        transformers.Sam2Model(transformers.Sam2Config()).save_pretrained(path)
        return
    from segment_anything import sam_model_registry  # noqa: PLC0415

    with torch.device("meta"):
        sam = sam_model_registry[f"vit_{model[-1].lower()}"]()
    weights = {name: 0.02 * torch.randn(value.shape) for name, value in sam.state_dict().items()}
    torch.save(weights, path)


def _opened(model: str, checkpoint: Path, device: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if model == "SAM2":
            from sam_backend.engines.transformers_engine import (  # noqa: PLC0415
                open_transformers,
            )

            return open_transformers(str(checkpoint), device)
        from sam_backend.engines.torch_engine import TorchSam  # noqa: PLC0415

        return TorchSam(checkpoint, model, device)


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        import torch  # noqa: PLC0415

        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
