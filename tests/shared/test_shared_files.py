"""What processes share, when the files are damaged, of another version, cut off or not writable."""

from __future__ import annotations

import logging
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_backend.clicks import label_config
from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.embeddings.content_index import ContentIndex
from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import SAM, Embedding
from sam_backend.formats.pictures import Pixels
from sam_backend.images.tasks import Picture
from sam_backend.services import Services
from sam_backend.shared.projects import Project, StudioConnection
from sam_backend.shared.refusal_records import RefusalRecord
from sam_backend.shared.state import State
from tests.fakes import inline, picture
from tests.held import wait_until
from tests.shades import change_memory

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = Target("image", None, ("Car",), 40, 30, 0.0)
STUDIO = StudioConnection("http://studio.example", "f00d")
SERVICES = Callable[..., Services]


def fill(state: State, number: int = 0) -> None:
    """All that a state can hold, and all that can be asked of it."""
    state.remember_setup(f"p{number}", STUDIO, {"candidates": 3})
    change_memory(state, "p", str(number), TARGET, lambda memory: replace(memory, time=time.time()))
    state.change_earlier_clicks(str(number), lambda memory: memory)
    state.add_refusals([RefusalRecord(time.time(), f"task {number}", "image", "gone")])
    state.believe(STUDIO.url)
    state.believed()
    state.project(f"p{number}")
    state.refusals()


def works(state: State) -> None:
    state.remember_setup("new", STUDIO, {"a": 1})
    assert state.project("new").from_setup == STUDIO
    assert state.project("new").extra_params == {"a": 1}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "no database": lambda _: b"this is not a database, but something else" * 200,
    "head": lambda content: b"\0" * 50 + content[50:],
    "pages": lambda content: content[:4096] + os.urandom(len(content) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_replaced_at_start(tmp_path: Path, damage: str) -> None:
    fill(State(tmp_path / "state.sqlite3"))
    path = tmp_path / "state.sqlite3"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    state = State.in_folder(tmp_path)
    assert state.path == path
    works(state)
    works(State.in_folder(tmp_path))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_state_that_is_damaged_while_it_is_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests go on without it, after one warning. A restart replaces it."""
    path = tmp_path / "state.sqlite3"
    state = State(path)
    fill(state)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            fill(state)
    assert len(caplog.records) == 1
    assert "a restart replaces it" in caplog.text
    works(State.in_folder(tmp_path))
    works(state)  # so do the workers that are still there


def test_flipped_bits_harm_no_request(tmp_path: Path) -> None:
    dice = random.Random(0)
    path = tmp_path / "whole" / "state.sqlite3"
    path.parent.mkdir()
    state = State(path)
    for number in range(5):
        fill(state, number)
    whole = path.read_bytes()
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = bytearray(whole)
        for _ in range(40):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        (folder / "state.sqlite3").write_bytes(damaged)
        state = State.in_folder(folder)
        for task in range(5):
            fill(state, task)
        shutil.rmtree(folder)


def test_a_file_of_another_version_is_replaced_at_start(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "state.sqlite3")
    db.executescript("create table setups (project text, something text)")
    db.close()
    state = State.in_folder(tmp_path)
    assert state.path == tmp_path / "state.sqlite3"
    works(state)


def test_a_file_with_a_wal_of_an_earlier_version_is_kept(tmp_path: Path) -> None:
    first = State(tmp_path / "state.sqlite3")
    works(first)
    db = sqlite3.connect(first.path)
    db.execute("pragma journal_mode = wal")
    db.execute("delete from refusals")
    db.close()
    state = State(tmp_path / "state.sqlite3")
    assert state.project("new").from_setup == STUDIO
    fill(state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.sqlite3"]


def test_several_workers_find_the_damage_at_once(tmp_path: Path) -> None:
    fill(State(tmp_path / "state.sqlite3"))
    (tmp_path / "state.sqlite3").write_bytes(b"damaged" * 1000)

    def start(number: int) -> None:
        state = State.in_folder(tmp_path)
        assert state.path.parent == tmp_path
        for _ in range(5):
            fill(state, number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(start, range(8)))
    works(State.in_folder(tmp_path))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_forgets(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "sources.sqlite3"
    index = ContentIndex(path)
    for number in range(50):
        index.put(f"u{number}", "content", None)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    for made in (index, ContentIndex(path)):
        for number in range(50):
            made.get(f"u{number}")
        made.put("new", "other", '"etag"')
    found = ContentIndex(path).get("new")
    assert found is not None
    assert (found.content, found.validator) == ("other", '"etag"')


def killed_while(code: str, tmp_path: Path) -> None:
    """Runs a program that says `go` and goes on for ever, and kills it a moment later."""
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n" + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_killed_while_writing_what_is_shared(tmp_path: Path) -> None:
    for _ in range(4):
        killed_while(
            """
            from pathlib import Path
            from tests.shared.test_shared_files import fill
            from sam_backend.shared.projects import Project
            from sam_backend.shared.state import State
            from sam_backend.embeddings.content_index import ContentIndex
            state = State.in_folder(Path(sys.argv[1]))
            index = ContentIndex(Path(sys.argv[1]) / "sources.sqlite3")
            number = 0
            fill(state)
            index.put("first", "content", None)
            print("go", flush=True)
            while True:
                number += 1
                fill(state, number)
                index.put(f"u{number}", f"c{number}", None)
            """,
            tmp_path,
        )
        state = State.in_folder(tmp_path)
        assert state.project("p0").from_setup == STUDIO
        assert state.believed() == STUDIO.url
        index = ContentIndex(tmp_path / "sources.sqlite3")
        known = index.get("first")
        assert known is not None
        assert known.content == "content"
        for number in range(1, 50):
            known = index.get(f"u{number}")
            assert known is None or known.content == f"c{number}"


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


class LargeEngine:
    """Embeddings as large as MobileSAM's."""

    name = fingerprint = "large"
    facts = SAM

    def encode(self, image: Pixels) -> Embedding:
        features = np.ones((1, 256, 64, 64), np.float32)
        return Embedding(features, image.shape[0], image.shape[1])

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        raise NotImplementedError


def test_files_may_not_grow(tmp_path: Path) -> None:
    """As on a full disk, for who may not mount one: every write over 100 kB fails."""
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
