"""What a session on OpenVINO keeps in memory, and that its results do not depend on it."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sam_backend.engines.click_decoder import ClickDecoder
from sam_backend.engines.frame import Floats
from sam_backend.engines.graph import reader
from sam_backend.engines.graph.any_size_encoder import AnySizeEncoder, any_size
from sam_backend.engines.trimmed_encoder import Array, Named, TrimmedEncoder
from tests.needs import PAIR, need_files

pytest.importorskip("openvino", reason="OpenVINO is not installed")

import openvino as ov

from sam_backend.engines import openvino_session
from sam_backend.engines.openvino_session import OpenVinoSession

_WIDTH = 64


def small_model() -> onnx.ModelProto:
    """Products from both sides with one matrix, a sum with it, and a product with rows."""
    random = np.random.default_rng(0)
    weight, rows = (random.normal(0, 1, (_WIDTH, _WIDTH)).astype(np.float32) for _ in range(2))
    alone = random.normal(0, 1, (_WIDTH, 2 * _WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["right"]),
        helper.make_node("MatMul", ["weight", "right"], ["left"]),
        helper.make_node("Add", ["left", "weight"], ["sum"]),
        helper.make_node("Gemm", ["sum", "rows"], ["by_rows"], transB=1),
        helper.make_node("MatMul", ["by_rows", "alone"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [_WIDTH, _WIDTH])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [_WIDTH, 2 * _WIDTH])],
        [
            numpy_helper.from_array(array, name)
            for name, array in (("weight", weight), ("rows", rows), ("alone", alone))
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def small_input() -> dict[str, Array]:
    return {"x": np.random.default_rng(1).normal(0, 1, (_WIDTH, _WIDTH)).astype(np.float32)}


def without_a_file(monkeypatch: pytest.MonkeyPatch, model: onnx.ModelProto) -> OpenVinoSession:
    """A session as OpenVINO opens the model by itself."""
    with monkeypatch.context() as patch:
        patch.setattr(openvino_session, "mapped", lambda read: None)
        return OpenVinoSession(model)


def resident_kb(session: OpenVinoSession) -> int:
    """How much of the file with the weights is in the memory of this process."""
    if not Path("/proc/self/smaps").exists():
        pytest.skip("this system does not say what is in memory")
    assert session._weights is not None
    start = np.frombuffer(session._weights, np.uint8).ctypes.data
    text = Path("/proc/self/smaps").read_text()
    found = re.search(rf"^0*{start:x}-.*(?:\n\w+:.*)*?\nRss: +(\d+) kB", text, re.MULTILINE)
    assert found, "the weights are not in a mapping of their own"
    return int(found[1])


def test_weights_in_a_file_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = small_model(), small_input()
    (found,) = OpenVinoSession(model).run(None, inputs)
    (expected,) = without_a_file(monkeypatch, model).run(None, inputs)
    assert np.array_equal(found, expected)


def test_a_session_works_on_after_it_gave_its_memory_back() -> None:
    session, inputs = OpenVinoSession(small_model()), small_input()
    (before,) = session.run(None, inputs)
    session.release_memory()
    (after,) = session.run(None, inputs)
    assert np.array_equal(after, before)


def test_weights_leave_memory_once_they_are_prepared() -> None:
    session = OpenVinoSession(small_model())
    assert resident_kb(session) == 0
    session.run(None, small_input())
    session.release_memory()
    assert resident_kb(session) == 0


def test_without_room_for_a_file_weights_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = small_model(), small_input()
    (expected,) = OpenVinoSession(model).run(None, inputs)

    def no_room() -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", no_room)
        session = OpenVinoSession(model)
    assert np.array_equal(session.run(None, inputs)[0], expected)


def test_weights_leave_room_for_other_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in memory is small. If it is full, files of metrics that grow end a worker."""
    usage = shutil.disk_usage(tempfile.gettempdir())
    weights = sum(len(tensor.raw_data) for tensor in small_model().graph.initializer)
    for free, moves in ((3 * weights, True), (weights + weights // 2, False)):
        with monkeypatch.context() as patch:
            patch.setattr(
                shutil, "disk_usage", lambda _folder, free=free: usage._replace(free=free)
            )
            session = OpenVinoSession(small_model())
        assert (session._weights is not None) == moves


def test_openvino_takes_a_limit_for_the_operations_that_it_keeps() -> None:
    """It does not document it. A session would work without, but take ever more memory."""
    core = ov.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # before that, it takes any name
    core.set_property("CPU", openvino_session.OPERATIONS)


def test_a_session_works_if_openvino_does_not_know_this_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino_session, "OPERATIONS", {"OF_ANOTHER_VERSION": 64})
    assert OpenVinoSession(small_model()).run(None, small_input())


def test_an_encoder_is_the_same_with_weights_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    need_files(*PAIR)
    encoder = any_size(onnx.load(PAIR[0]))
    pixels = np.random.default_rng(0).normal(0, 1, (1, 3, 192, 256)).astype(np.float32)
    found, expected = (
        session.run(None, {session.get_inputs()[0].name: pixels, **encoder.inputs(192, 256)})[0]
        for session in (
            OpenVinoSession(encoder.model),
            without_a_file(monkeypatch, encoder.model),
        )
    )
    assert np.array_equal(found, expected)


def test_masks_are_the_same_with_weights_in_a_file_and_after_many_shapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_files(*PAIR)
    gives = reader.read_decoder(PAIR[1])
    ours = ClickDecoder(gives.model, OpenVinoSession, gives.kind, gives.stability)
    plain = ClickDecoder(
        gives.model, lambda model: without_a_file(monkeypatch, model), gives.kind, gives.stability
    )
    random = np.random.default_rng(0)
    embedding = ours.noise(random, (400, 600))
    mask = random.normal(0, 5, (256, 256)).astype(np.float32)

    def decode(decoder: ClickDecoder, points: int, earlier: Floats | None) -> Sequence[Floats]:
        coordinates = np.linspace(100, 900, 2 * points, dtype=np.float32).reshape(1, points, 2)
        codes = np.array([[1] * (points - 1) + [-1]], np.float32)
        return decoder.decode(embedding, coordinates, codes, earlier)

    shapes = [(points, earlier) for points in range(2, 14) for earlier in (None, mask)]
    before = [decode(ours, *shape) for shape in shapes]
    for shape, first in zip(shapes, before, strict=True):
        for again in (decode(ours, *shape), decode(plain, *shape)):
            assert all(np.array_equal(a, b) for a, b in zip(again, first, strict=True))


class _Encoder:
    """A session that says when it gave its memory back."""

    def __init__(self) -> None:
        self.runs = 0
        self.released = threading.Semaphore(0)

    def get_inputs(self) -> Sequence[Named]:
        return [Named("image")]

    def get_outputs(self) -> Sequence[Named]:
        return [Named("features")]

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Array]) -> list[Array]:
        self.runs += 1
        return [np.zeros((1, 256, 64, 64), np.float32)]

    def release_memory(self) -> None:
        assert self.runs
        self.released.release()


def test_an_encoder_gives_back_what_the_empty_image_took() -> None:
    session = _Encoder()
    TrimmedEncoder(AnySizeEncoder(onnx.ModelProto(), ()), lambda model: session)
    assert session.released.acquire(timeout=60)
