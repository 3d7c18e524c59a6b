"""One list of tests for every engine, and PyTorch against ONNX Runtime on the same weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_BF16, OPENVINO_F32
from sam_backend.engines.choice import EnginePlan, open_engine
from sam_backend.engines.frame import Floats, Frame
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import iou
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.pictures import Pixels
from tests.needs import CHECKPOINT, PAIR, SHARED, need, need_files

IMAGES = ("corgi.jpg", "horses.jpg", "street.jpg")

Prompt = tuple[list[tuple[float, float]], list[int], tuple[float, ...] | None, bool]
# Points, labels and a box in fractions of the image; whether an earlier mask goes in.
PROMPTS: dict[str, Prompt] = {
    "a point": ([(0.5, 0.5)], [1], None, False),
    "points of both signs": ([(0.5, 0.5), (0.3, 0.6), (0.05, 0.05)], [1, 1, 0], None, False),
    "a rectangle": ([], [], (0.25, 0.25, 0.75, 0.75), False),
    "a rectangle and points": ([(0.5, 0.5), (0.9, 0.9)], [1, 0], (0.2, 0.2, 0.8, 0.8), False),
    "a point and a mask": ([(0.5, 0.5)], [1], None, True),
    "a mask": ([], [], None, True),
    "twenty points": ([(0.3 + i / 50, 0.5) for i in range(20)], [1] * 20, None, False),
}


@lru_cache
def engine_of(runtime: str) -> Engine:
    files = (CHECKPOINT,) if runtime == "torch" else PAIR
    among = (OPENVINO_F32, OPENVINO_BF16) if runtime == "openvino" else (ONNX_F32,)
    return open_engine(EnginePlan("MobileSAM", runtime, files, "cpu", among=among))


def usable(runtime: str) -> Engine:
    if runtime == "torch":
        need("torch", "mobile_sam")
        need_files(CHECKPOINT)
    else:
        if runtime == "openvino":
            need("openvino")
        need_files(*PAIR)
    return engine_of(runtime)


@pytest.fixture(params=["onnx", "openvino", "torch"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return usable(request.param)


def picture(name: str) -> Pixels:
    """A square of it: without padding, every way to encode it must come to the same."""
    need_files(SHARED / "images" / name)
    image = Image.open(SHARED / "images" / name).convert("RGB")
    return np.asarray(ImageOps.fit(image, (min(image.size),) * 2))


def disc(height: int, width: int) -> tuple[Pixels, Floats]:
    """A red disc in the middle of a grey image, and where it is."""
    radius = min(height, width) / 3
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot(rows - height / 2, columns - width / 2) < radius
    image = np.full((height, width, 3), 120, np.uint8)
    image[inside] = (200, 30, 30)
    return image, inside.astype(np.float32)


def ask(engine: Engine, embedding: Embedding, prompt: Prompt) -> tuple[Floats, Floats]:
    points, labels, box, has_mask = prompt
    size = np.array([embedding.width, embedding.height], np.float32)
    mask = None
    if has_mask:
        mask = np.full((256, 256), -8, np.float32)
        cv2.circle(mask, (100, 80), 40, 8, -1)
    return engine.decode(
        embedding,
        np.array(points, np.float32).reshape(-1, 2) * size,
        np.array(labels, np.float32),
        None if box is None else np.array(box, np.float32) * np.tile(size, 2),
        mask,
    )


_discs: dict[int, Embedding] = {}


def disc_embedding(engine: Engine) -> Embedding:
    if id(engine) not in _discs:
        _discs[id(engine)] = engine.encode(disc(600, 900)[0])
    return _discs[id(engine)]


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_answers_every_kind_of_prompt(engine: Engine, prompt: Prompt) -> None:
    logits, scores = ask(engine, disc_embedding(engine), prompt)
    assert logits.shape == (4, 256, 256)
    assert scores.shape == (4,)
    assert logits.dtype == scores.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.isfinite(scores).all()


def test_the_mask_is_what_was_clicked_at(engine: Engine) -> None:
    embedding = disc_embedding(engine)
    wanted = disc(600, 900)[1]
    for prompt in ("a point", "a rectangle", "a rectangle and points"):
        logits, scores = ask(engine, embedding, PROMPTS[prompt])
        assert iou(Frame(600, 900).upsample(logits[scores.argmax()]), wanted - 0.5) > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (1200, 7)])
def test_takes_images_of_any_shape(engine: Engine, shape: tuple[int, int]) -> None:
    embedding = engine.encode(disc(*shape)[0])
    assert (embedding.height, embedding.width) == shape
    assert embedding.nbytes >= embedding.features.nbytes > 0
    logits, _ = ask(engine, embedding, PROMPTS["a point"])
    assert Frame(*shape).upsample(logits[0]).shape == shape


def test_eight_threads_get_their_own_images_masks(engine: Engine) -> None:
    first, _ = disc(400, 600)
    embeddings = [engine.encode(first), disc_embedding(engine)]
    jobs = [(e, PROMPTS[kind]) for e in embeddings for kind in ("a point", "a rectangle")]
    alone = [ask(engine, *job) for job in jobs]

    def work(number: int) -> float:
        if number == 3:  # somebody opens another image meanwhile
            engine.encode(disc(300, 300)[0])
        logits, _ = ask(engine, *jobs[number % len(jobs)])
        return float(np.abs(logits - alone[number % len(jobs)][0]).max())

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(16))) < 1e-2


@lru_cache
def encoded(runtime: str, name: str) -> Embedding:
    return engine_of(runtime).encode(picture(name))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_pytorch_and_onnx_agree(name: str, prompt: Prompt) -> None:
    runtimes = ("torch", "onnx")
    engines = [usable(runtime) for runtime in runtimes]
    picture(name)
    answers = [
        ask(engine, encoded(runtime, name), prompt)
        for engine, runtime in zip(engines, runtimes, strict=True)
    ]
    (masks, scores), (other_masks, other_scores) = answers
    assert min(iou(a, b) for a, b in zip(masks, other_masks, strict=True)) >= 0.99
    assert np.abs(scores - other_scores).max() < 0.01


def test_openvino_gives_masks_as_good_as_alike() -> None:
    """Where the CPU multiplies bf16 faster, it rounds to that: what is doubtful may turn over."""
    runtimes = ("onnx", "openvino")
    alike = [
        iou(mask, other)
        for name in IMAGES
        for kind in ("a point", "a rectangle", "a rectangle and points")
        for mask, other in zip(
            *(ask(usable(r), encoded(r, name), PROMPTS[kind])[0] for r in runtimes), strict=True
        )
    ]
    assert np.median(alike) > 0.98
    assert np.mean(np.array(alike) > 0.9) > 0.9


def test_an_encoder_works_on_after_it_gave_its_memory_back() -> None:
    need("openvino")
    need_files(*PAIR)
    from sam_backend.engines.openvino_session import OpenVinoSession  # noqa: PLC0415 (optional)

    session = OpenVinoSession(PAIR[0])
    pixels = np.random.default_rng(0).normal(0, 1, (1, 3, 1024, 1024)).astype(np.float32)
    inputs = {session.get_inputs()[0].name: pixels}
    before = session.run(None, inputs)[0]
    session.release_memory()
    assert np.array_equal(session.run(None, inputs)[0], before)


def test_embeddings_of_another_arithmetic_are_kept_apart() -> None:
    need("openvino")
    need_files(*PAIR)
    engines = [
        OnnxSam(*PAIR, "MobileSAM", encode_in=encode_in, decode_in=decode_in)
        for encode_in, decode_in in (
            (OPENVINO_F32, OPENVINO_F32),
            (OPENVINO_F32, ONNX_F32),
            (ONNX_F32, OPENVINO_F32),
        )
    ]
    both, encoder_only, decoder_only = (engine.fingerprint for engine in engines)
    assert both == encoder_only != decoder_only
