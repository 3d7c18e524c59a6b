"""The disk tier: whole files or none, bounded, locked across processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_backend.embeddings.packed import rounded
from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.protocol import Embedding, halved

MB = 1 << 20


def embedding(seed: int, channels: int = 8) -> Embedding:
    features = np.random.default_rng(seed).normal(0, 1, (1, channels, 64, 64))
    return rounded(Embedding(features.astype(np.float32), 480, 640))


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, MB)
    store.put("a", embedding(1))
    back = store.get("a")
    assert back is not None
    assert (back.height, back.width) == (480, 640)
    np.testing.assert_array_equal(back.features, embedding(1).features)
    assert back.features.strides == embedding(1).features.strides  # channels last in both tiers
    assert store.get("b") is None


def test_details_come_back_in_half_precision(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    details = tuple(
        halved(random.normal(0, 1, shape).astype(np.float32))
        for shape in ((1, 4, 8, 8), (1, 2, 16, 16))
    )
    detailed = replace(embedding(1), details=details)
    store = EmbeddingStore(tmp_path, MB)
    store.put("a", rounded(detailed))
    back = store.get("a")
    assert back is not None
    assert [detail.dtype for detail in back.details] == [np.float16] * 2
    for detail, wanted in zip(back.details, details, strict=True):
        np.testing.assert_array_equal(detail, wanted)
    assert back.nbytes == detailed.nbytes == embedding(1).nbytes + sum(d.nbytes for d in details)
    assert back.digest == rounded(detailed).digest != embedding(1).digest


def test_it_is_rounded_as_on_disk_before_it_is_used() -> None:
    features = np.random.default_rng(3).normal(0, 1, (1, 8, 64, 32)).astype(np.float32)
    found = rounded(Embedding(features, 480, 640)).features
    np.testing.assert_array_equal(found, features.astype(np.float16).astype(np.float32))
    assert found.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("outliers", [(1e6,), (1e6, -1e6), (np.nan,)], ids=str)
def test_what_half_precision_cannot_hold_is_not_rounded(outliers: tuple[float, ...]) -> None:
    features = np.zeros((1, 8, 64, 64), np.float32)
    features[0, 0, 0, : len(outliers)] = outliers
    large = Embedding(features, 480, 640)
    assert rounded(large) is large


@pytest.mark.parametrize("damage", ["cut", "changed", "head", "empty", "other"])
def test_damaged_file_is_a_miss(tmp_path: Path, damage: str) -> None:
    store = EmbeddingStore(tmp_path, MB)
    store.put("a", embedding(1))
    (path,) = tmp_path.glob("a.*")
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-1]
    elif damage == "changed":
        content[-100] ^= 1
    elif damage == "head":
        content[9] ^= 1
    elif damage == "empty":
        content.clear()
    else:
        content[:8] = b"SAMEMB99"
    path.write_bytes(content)
    assert store.get("a") is None
    assert not path.exists()


def test_stays_below_its_limit_and_forgets_the_least_used(tmp_path: Path) -> None:
    one = len(embedding(0).features.tobytes()) // 2
    store = EmbeddingStore(tmp_path, 5 * one + 1000)
    for n in range(4):
        store.put(f"e{n}", embedding(n))
        os.utime(next(tmp_path.glob(f"e{n}.*")), (n + 1, n + 1))
    assert store.get("e0") is not None  # used just now
    for n in range(4, 6):
        store.put(f"e{n}", embedding(n))
        assert store.usage()[1] <= 5 * one + 1000
    assert store.get("e0") is not None
    assert store.get("e1") is None
    assert store.get("e5") is not None


def test_one_warning_when_nothing_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        store = EmbeddingStore(tmp_path / "file" / "below", MB)
        for n in range(3):
            store.put("a", embedding(n))
            assert store.get("a") is None
        with store.lock("a"):
            pass
    assert len(caplog.records) == 1
    assert "cannot be kept" in caplog.text


def test_killed_while_writing(tmp_path: Path) -> None:
    """Whatever is there after kill -9 is whole, and the next process goes on."""
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from tests.embeddings.test_store import embedding\n"
        "from sam_backend.embeddings.store import EmbeddingStore\n"
        "store = EmbeddingStore(Path(sys.argv[1]), 1 << 30)\n"
        "values = [embedding(n, 256) for n in range(4)]\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    for n in range(4):\n"
        "        with store.lock(f'e{n}'):\n"
        "            store.put(f'e{n}', values[n])\n"
    )
    root = str(Path(__file__).parents[2])
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), root], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store = EmbeddingStore(tmp_path, 1 << 30)
    for n in range(4):
        with store.lock(f"e{n}"):  # no lock outlives its process
            back = store.get(f"e{n}")
        if back is not None:
            np.testing.assert_array_equal(back.features, embedding(n, 256).features)
    for left in tmp_path.glob("*.tmp"):
        os.utime(left, (1, 1))
    store.put("e9", embedding(9))
    assert not list(tmp_path.glob("*.tmp"))


def _hold(folder: Path, name: str, log: Path) -> None:
    store = EmbeddingStore(folder, MB)
    for _ in range(20):
        with store.lock(name):
            with log.open("a") as file:
                file.write("in\n")
            time.sleep(0.001)
            with log.open("a") as file:
                file.write("out\n")


def test_lock_holds_across_processes(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    others = [spawn.Process(target=_hold, args=(tmp_path, "aa", log)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert log.read_text() == "in\nout\n" * 40
