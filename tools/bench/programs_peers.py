"""`Segmenter` beside other ways to embed and segment a picture from Python on a CPU.

    taskset --cpu-list 0 python -m tools.bench.programs_peers [--rounds 3] [--picture photo.jpg]

The others are MobileSAM's own predictor, and SlimSAM as the examples of Hugging Face's transformers
use it. All of them run in turn in one process. `taskset` gives them one core, because on a busy
machine the threads of PyTorch wait for each other. SlimSAM has the sizes of the published models
and random weights, which take the same time. Nothing is downloaded. It needs PyTorch, and what
requirements-torch.txt and requirements-transformers.txt add to it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sam_backend import Segmenter
from sam_backend.engines.parity import scene
from sam_backend.engines.torch_engine import import_torchvision
from tools.bench.pictures import SIZE
from tools.folders import SHARED

MASKS = 5  # of each picture
# The widths of SlimSAM's encoders, and of the layers between.
SLIM_SAM = {"SlimSAM-uniform-50": (384, 1536), "SlimSAM-uniform-77": (168, 696)}

Took = tuple[float, float]  # milliseconds of the clock, and of the processor


@dataclass
class Way:
    """How a program embeds a picture, and gets the mask at a point from the result."""

    name: str
    embed: Callable[[Image.Image], Any]
    segment: Callable[[Any, int, int], Any]
    embeds: list[Took] = field(default_factory=list)
    masks: list[Took] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="pictures; a picture has 5 masks")
    parser.add_argument("--picture", type=Path, default=SHARED / "images/street.jpg")
    parser.add_argument("--checkpoint", type=Path, default=SHARED / "models/mobile_sam.pt")
    options = parser.parse_args()
    is_there = options.picture.exists()
    image = Image.open(options.picture) if is_there else Image.fromarray(scene(*SIZE[::-1]))
    image = image.convert("RGB").resize(SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns about its own old names
        import_torchvision()
        ways = [_here()]
        if options.checkpoint.exists():
            ways.append(_mobile_sam(options.checkpoint))
        else:
            print(f"without MobileSAM in PyTorch: {options.checkpoint} is missing")
        ways += [_slim_sam(name, *widths) for name, widths in SLIM_SAM.items()]
    with torch.inference_mode():
        _run(ways, image, 1)
        for way in ways:  # the first ones are not counted
            way.embeds.clear()
            way.masks.clear()
        _run(ways, image, options.rounds)
    picture = f"{options.picture.name if is_there else 'a drawn picture'}, {SIZE[0]} x {SIZE[1]}"
    print(f"PyTorch {torch.__version__}, threads: {torch.get_num_threads()}; {picture}\n")
    print("| | embed | as long as here | mask | as long as here |")
    print("|---|---|---|---|---|")
    for way in ways:
        embed, mask = _cells(way.embeds, ways[0].embeds), _cells(way.masks, ways[0].masks)
        print(f"| {way.name} | {embed} | {mask} |")
    print("\nmilliseconds of processor time, median; ratios of processor time (of the clock)")


def _run(ways: Sequence[Way], image: Image.Image, rounds: int) -> None:
    width, height = image.size
    for _ in range(rounds):
        embedded = [_timed(way.embeds, lambda: way.embed(image)) for way in ways]  # noqa: B023
        for n in range(MASKS):
            x, y = int(width * (0.3 + 0.1 * n)), int(height * 0.6)
            for way, each in zip(ways, embedded, strict=True):
                _timed(way.masks, lambda: way.segment(each, x, y))  # noqa: B023


def _timed(times: list[Took], work: Callable[[], Any]) -> Any:
    started, busy = time.perf_counter(), time.process_time()
    found = work()
    busy, clock = time.process_time() - busy, time.perf_counter() - started
    times.append((1000 * clock, 1000 * busy))
    return found


def _cells(times: Sequence[Took], here: Sequence[Took]) -> str:
    clock, busy = np.median(np.array(times) / np.array(here), axis=0)
    return f"{np.median(times, axis=0)[1]:.0f} | {busy:.1f} ({clock:.1f})"


def _here() -> Way:
    segmenter = Segmenter()
    return Way(
        "`Segmenter`, MobileSAM",
        segmenter.embed,
        lambda embedded, x, y: embedded.segment(points=[(x, y)]).array,
    )


def _mobile_sam(checkpoint: Path) -> Way:
    from mobile_sam import SamPredictor, sam_model_registry  # noqa: PLC0415 (after torchvision)

    predictor = SamPredictor(sam_model_registry["vit_t"](checkpoint=str(checkpoint)).eval())

    def segment(_in_the_predictor: None, x: int, y: int) -> Any:
        masks, scores, _ = predictor.predict(np.array([[x, y]]), np.array([1]))
        return masks[scores.argmax()]

    return Way(
        "MobileSAM's predictor, PyTorch",
        lambda image: predictor.set_image(np.array(image)),
        segment,
    )


def _slim_sam(name: str, width: int, between: int) -> Way:
    from transformers import (  # noqa: PLC0415 (after torchvision)
        SamConfig,
        SamImageProcessor,
        SamModel,
        SamProcessor,
        SamVisionConfig,
    )

    torch.manual_seed(0)
    encoder = SamVisionConfig(hidden_size=width, mlp_dim=between)
    model = SamModel(SamConfig(vision_config=encoder)).eval()
    processor = SamProcessor(SamImageProcessor())

    def embed(image: Image.Image) -> tuple[Image.Image, Any]:
        inputs = processor(image, return_tensors="pt")
        return image, model.get_image_embeddings(inputs["pixel_values"])

    def segment(embedded: tuple[Image.Image, Any], x: int, y: int) -> Any:
        # The processor gets the picture for each prompt, and scales it each time.
        inputs = processor(embedded[0], input_points=[[[x, y]]], return_tensors="pt")
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        del inputs["pixel_values"]
        outputs = model(**inputs, image_embeddings=embedded[1])
        masks = processor.post_process_masks(outputs.pred_masks, *sizes)
        return masks[0][0, outputs.iou_scores[0, 0].argmax()].numpy()

    return Way(f"{name}, transformers", embed, segment)


if __name__ == "__main__":
    main()
