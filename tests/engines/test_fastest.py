"""What is chosen by which times, and that it stays chosen."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sam_backend.engines import fastest
from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_BF16, OPENVINO_F32, Arithmetic
from sam_backend.engines.fastest import Choice, choose, decided
from tests.needs import PAIR, need, need_files

ALL = (OPENVINO_F32, OPENVINO_BF16, ONNX_F32)

Times = dict[str, dict[str, list[float]]]


def times(f32: list[float], bf16: list[float], onnx: list[float] | None = None) -> Times:
    """The same for both parts."""
    part = {"openvino f32": f32, "openvino bf16": bf16, "onnx f32": onnx or f32}
    return {"encode": part, "decode": part}


def both(arithmetic: Arithmetic) -> Choice:
    return Choice(arithmetic, arithmetic)


class Measurements:
    """Answers with made-up times, and counts how often it was asked."""

    def __init__(self, answer: Times | None) -> None:
        self.answer = answer
        self.count = 0

    def __call__(self, *_arguments: object) -> Times | None:
        self.count += 1
        return self.answer


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Times | None], Measurements]:
    def answer(found: Times | None) -> Measurements:
        made = Measurements(found)
        monkeypatch.setattr(fastest, "_measured", made)
        return made

    return answer


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a measurement on a busy machine."""
    monkeypatch.setattr(fastest, "_LONGEST_S", 1800.0)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    pair = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    for path in pair:
        path.write_bytes(path.name.encode())
    return pair


@pytest.mark.parametrize(
    ("f32", "bf16", "onnx", "chosen"),
    [
        ([0.42, 0.42, 0.42], [0.23, 0.23, 0.23], [0.48, 0.48, 0.48], OPENVINO_BF16),
        ([0.34, 0.34, 0.34], [0.40, 0.40, 0.40], [0.37, 0.37, 0.37], OPENVINO_F32),
        ([0.40, 0.40, 0.40], [0.38, 0.38, 0.38], [0.41, 0.41, 0.41], OPENVINO_F32),
        ([0.40, 0.40, 0.40], [0.50, 0.50, 0.50], [0.30, 0.30, 0.30], ONNX_F32),
        # Busy in the second and third round, and for longer in the third.
        ([0.42, 0.90, 3.00], [0.23, 0.50, 1.70], [0.48, 1.00, 3.30], OPENVINO_BF16),
        # Interrupted once.
        ([0.34, 9.00, 0.34], [0.40, 0.40, 0.40], [0.37, 0.37, 0.37], OPENVINO_F32),
    ],
)
def test_what_is_clearly_faster_is_chosen(
    f32: list[float], bf16: list[float], onnx: list[float], chosen: Arithmetic
) -> None:
    assert decided(times(f32, bf16, onnx), ALL) == both(chosen)


def test_the_parts_of_a_model_are_chosen_apart() -> None:
    slow, fast = times([1.0], [2.0])["encode"], times([2.0], [1.0])["decode"]
    found = decided({"encode": slow, "decode": fast}, ALL)
    assert found == Choice(OPENVINO_F32, OPENVINO_BF16)


def test_an_encoder_that_is_not_timed_follows_the_decoder() -> None:
    found = decided({"encode": {}, "decode": times([2.0], [1.0])["decode"]}, ALL)
    assert found == both(OPENVINO_BF16)


def test_a_decoder_that_is_not_timed_is_exact() -> None:
    found = decided({"encode": times([2.0], [1.0])["encode"], "decode": {}}, ALL)
    assert found == Choice(OPENVINO_BF16, OPENVINO_F32)


def test_an_arithmetic_that_the_cpu_does_not_have_is_not_chosen() -> None:
    part = {"openvino f32": [1.0], "onnx f32": [1.0]}
    assert decided({"encode": part, "decode": part}, ALL) == both(OPENVINO_F32)


def test_a_restart_does_not_measure_again(
    tmp_path: Path,
    files: tuple[Path, Path],
    measured: Callable[[Times | None], Measurements],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = measured(times([2.0], [1.0]))
    with caplog.at_level(logging.INFO):
        assert choose(files, ALL, tmp_path / "cache") == both(OPENVINO_BF16)
    assert first.count == 1
    (record,) = caplog.records
    assert "encode in openvino bf16 (openvino f32 2000 ms" in record.getMessage()

    later = measured(times([1.0], [2.0]))
    assert choose(files, ALL, tmp_path / "cache") == both(OPENVINO_BF16)
    assert later.count == 0


def test_other_weights_another_engine_and_another_cpu_are_measured(
    tmp_path: Path,
    files: tuple[Path, Path],
    measured: Callable[[Times | None], Measurements],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = measured(times([2.0], [1.0]))
    choose(files, ALL, tmp_path)
    files[0].write_bytes(b"other weights")
    choose(files, ALL, tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "9.9")
    choose(files, ALL, tmp_path)
    monkeypatch.setattr(fastest, "_cpu", lambda: ["another"])
    choose(files, ALL, tmp_path)
    assert asked.count == 4
    choose(files, ALL, tmp_path)
    assert asked.count == 4


def test_of_workers_that_start_together_one_measures(
    tmp_path: Path, files: tuple[Path, Path], measured: Callable[[Times | None], Measurements]
) -> None:
    asked = measured(times([2.0], [1.0]))
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: choose(files, ALL, tmp_path / "cache"), range(8)))
    assert found == {both(OPENVINO_BF16)}
    assert asked.count == 1


def test_records_are_for_their_owner(
    tmp_path: Path, files: tuple[Path, Path], measured: Callable[[Times | None], Measurements]
) -> None:
    measured(times([2.0], [1.0]))
    before = os.umask(0)
    try:
        choose(files, ALL, tmp_path)
    finally:
        os.umask(before)
    kept = [path for path in tmp_path.iterdir() if path.name.startswith(fastest.RECORDS)]
    assert len(kept) == 2
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"x": 1}', b"\xff"])
def test_a_damaged_file_is_measured_again(
    tmp_path: Path,
    files: tuple[Path, Path],
    measured: Callable[[Times | None], Measurements],
    content: bytes,
) -> None:
    (tmp_path / fastest.RECORDS).write_bytes(content)
    asked = measured(times([2.0], [1.0]))
    for _ in range(2):
        assert choose(files, ALL, tmp_path) == both(OPENVINO_BF16)
    assert asked.count == 1


def test_a_folder_that_cannot_be_written_is_said_in_one_line(
    tmp_path: Path,
    files: tuple[Path, Path],
    measured: Callable[[Times | None], Measurements],
    caplog: pytest.LogCaptureFixture,
) -> None:
    measured(times([2.0], [1.0]))
    (tmp_path / "a file").write_bytes(b"")
    assert choose(files, ALL, tmp_path / "a file") == both(OPENVINO_BF16)
    assert "each start measures again" in caplog.text


def test_what_is_asked_for_is_not_measured(
    files: tuple[Path, Path], measured: Callable[[Times | None], Measurements]
) -> None:
    asked = measured(None)
    assert choose(files, (OPENVINO_BF16,), None) == both(OPENVINO_BF16)
    assert asked.count == 0


def test_a_measurement_that_fails_changes_nothing(
    tmp_path: Path, files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert choose(files, ALL, tmp_path) == both(OPENVINO_F32)  # those files hold no model
    assert "openvino f32 is used" in caplog.text
    assert not (tmp_path / fastest.RECORDS).exists()


@pytest.mark.usefixtures("patient")
def test_the_choice_is_one_of_those_that_were_measured(tmp_path: Path) -> None:
    need("openvino")
    need_files(*PAIR)
    found = choose(PAIR, ALL, tmp_path)
    assert found.encode in ALL
    assert found.decode in ALL
    assert choose(PAIR, ALL, tmp_path) == found


@pytest.mark.usefixtures("patient")
def test_a_cpu_without_bf16_is_measured_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need("openvino")
    need_files(*PAIR)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # OpenVINO then compiles no bf16
    found = choose(PAIR, ALL, tmp_path)
    assert OPENVINO_BF16 not in (found.encode, found.decode)
    (record,) = json.loads((tmp_path / fastest.RECORDS).read_bytes()).values()
    for part in ("encode", "decode"):
        assert set(record["milliseconds"][part]) == {"openvino f32", "onnx f32"}
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]
