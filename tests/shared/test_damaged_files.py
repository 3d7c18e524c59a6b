"""What processes share, when its files are damaged, of another version, or cut off by a kill."""

from __future__ import annotations

import logging
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sam_backend.embeddings.content_index import ContentIndex
from sam_backend.shared.state import State
from tests.needs import REPOSITORY
from tests.shared.states import STUDIO, fill


def works(state: State) -> None:
    state.remember_setup("new", STUDIO, {"a": 1})
    assert state.project("new").from_setup == STUDIO
    assert state.project("new").extra_params == {"a": 1}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "no database": lambda _: b"this is not a database, but something else" * 200,
    "head": lambda content: b"\0" * 50 + content[50:],
    "pages": lambda content: content[:4096] + random.Random(0).randbytes(len(content) - 4096),
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
            from tests.shared.states import fill
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
