"""What processes share, when the disk is full, or may only be read. The clock may change, too."""

from __future__ import annotations

import logging
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_backend.clicks import label_config
from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.prompts import Prompt
from sam_backend.embeddings.content_index import ContentIndex
from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.protocol import Embedding
from sam_backend.formats.pictures import Pixels
from sam_backend.images.tasks import Picture
from sam_backend.services import Services
from sam_backend.shared.projects import Project
from sam_backend.shared.state import State
from tests.fakes import DiscEngine, inline, picture
from tests.held import wait_until
from tests.shades import change_memory
from tests.shared.states import TARGET, fill

SERVICES = Callable[..., Services]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def embed(services: Services, number: int) -> Embedding:
    """The embedding of one of many images."""
    target = replace(TARGET, width=40 + number, height=30)
    task = {"id": number, "data": {"image": inline(picture(40 + number, 30))}}
    config = """<View><Image name="image" value="$image"/></View>"""
    picture_of_task = Picture(Project("p"), task, label_config.parse(config).image("image"))
    return services.masks.pictures.embedding(picture_of_task, target.size)


def test_a_full_disk_costs_one_warning(
    small_disk: Path, services: SERVICES, caplog: pytest.LogCaptureFixture
) -> None:
    made = services(LargeEngine(), MODEL_DIR=str(small_disk), CACHE_DIR=str(small_disk / "cache"))
    (small_disk / "rest").write_bytes(b"")
    with (small_disk / "rest").open("ab", buffering=0) as rest:
        for size in (4096, 1):
            while True:
                try:
                    rest.write(bytes(size))
                except OSError:
                    break
    with caplog.at_level(logging.WARNING):
        for number in range(6):
            assert embed(made, number) is embed(made, number)  # from memory
            fill(made.state, number)
    of_embeddings = [r for r in caplog.records if "embeddings cannot be kept" in r.getMessage()]
    assert len(of_embeddings) == 1
    assert len(caplog.records) <= 2  # one for each kind of file
    (small_disk / "rest").unlink()
    embed(made, 7)
    kept = small_disk / "cache" / "embeddings"
    wait_until(lambda: list(kept.glob("*.embedding")))  # it goes on by itself


class LargeEngine(DiscEngine):
    """Embeddings as large as MobileSAM's."""

    name = fingerprint = "large"

    def encode(self, image: Pixels) -> Embedding:
        features = np.ones((1, 256, 64, 64), np.float32)
        return Embedding(features, image.shape[0], image.shape[1])


def test_files_may_not_grow(tmp_path: Path) -> None:
    """As on a full disk, without the right to mount one: every write over 100 kB fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = EmbeddingStore(tmp_path, 1 << 30)
    index = ContentIndex(tmp_path / "sources.sqlite3")
    embedding = LargeEngine().encode(np.zeros((30, 40, 3), np.uint8))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        for number in range(200):
            store.put(f"e{number}", embedding)
            index.put(f"u{number}", f"c{number}" * 200, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.glob("*.tmp")) == []
    assert list(tmp_path.glob("*.embedding")) == []
    known = index.get("u199")
    assert known is not None


def test_a_folder_that_may_only_be_read(
    tmp_path: Path, services: SERVICES, caplog: pytest.LogCaptureFixture
) -> None:
    """Root may write anywhere, so a file stands where the folder should be."""
    (tmp_path / "cache").write_text("")
    with caplog.at_level(logging.WARNING):
        made = services(LargeEngine(), CACHE_DIR=str(tmp_path / "cache"))
        for number in range(4):
            assert embed(made, number) is embed(made, number)
    assert len(caplog.records) == 1
    assert "embeddings cannot be kept" in caplog.text


def test_a_clock_that_was_put_forward_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    state = State(tmp_path / "state.sqlite3")
    prompt = Prompt("a", 1.0, 1.0)

    def remember(now: float) -> Callable[[EarlierClick], EarlierClick]:
        return lambda memory: EarlierClick(
            (*memory.prompts, prompt), memory.draft_version, now, memory.trust
        )

    monkeypatch.setattr(time, "time", lambda: real() + 10 * 86400)
    change_memory(state, "p", "1", TARGET, remember(time.time()))
    monkeypatch.setattr(time, "time", real)
    change_memory(state, "p", "2", TARGET, remember(time.time()))
    seen: list[EarlierClick] = []

    def look(memory: EarlierClick) -> EarlierClick:
        seen.append(memory)
        return memory

    state.change_earlier_clicks("1", look)
    assert seen == []  # what was seen in the future is not remembered for ten days
    state.change_earlier_clicks("2", look)
    assert len(seen) == 1
