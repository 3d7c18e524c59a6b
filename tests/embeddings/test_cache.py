"""One encode an image, whoever asks, and never another image's embedding."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sam_backend.embeddings.cache import Embeddings
from sam_backend.embeddings.content_index import ContentIndex
from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.protocol import Embedding
from sam_backend.errors import Refusal
from sam_backend.net.downloaded import Download
from tests.held import wait_until

MB = 1 << 20


class World:
    """Images by address, and how often they were read and encoded."""

    def __init__(self) -> None:
        self.content = {f"u{n}": f"image {n}".encode() for n in range(50)}
        self.reads: list[str] = []
        self.encodes: list[bytes] = []

    def get(self, embeddings: Embeddings, address: str, model: str | None = "m") -> Embedding:
        def read() -> Download:
            self.reads.append(address)
            return Download(self.content[address])

        return embeddings.get(address, model, read, self.encode)

    def encode(self, content: bytes) -> Embedding:
        self.encodes.append(content)
        value = int.from_bytes(content[-2:], "big") / 64
        return Embedding(np.full((1, 256, 64, 64), value, np.float32), 4, 4)


def cache(folder: Path, memory: int = 64 * MB, disk: int = 64 * MB) -> Embeddings:
    return Embeddings(memory, EmbeddingStore(folder, disk), ContentIndex(folder / "index"))


def test_a_restart_reads_and_encodes_nothing(tmp_path: Path) -> None:
    world = World()
    first = world.get(cache(tmp_path), "u1")
    wait_until(lambda: list(tmp_path.glob("*.embedding")))  # written behind the answer
    again = world.get(cache(tmp_path), "u1")
    np.testing.assert_array_equal(first.features, again.features)
    assert world.reads == ["u1"]
    assert len(world.encodes) == 1


def test_another_model_never_gets_it(tmp_path: Path) -> None:
    world = World()
    world.get(cache(tmp_path), "u1", "one")
    world.get(cache(tmp_path), "u1", "other")
    world.get(cache(tmp_path), "u1", None)  # one without a name keeps nothing on disk
    world.get(cache(tmp_path), "u1", None)
    assert len(world.encodes) == 4


def test_the_same_image_at_two_addresses(tmp_path: Path) -> None:
    world, embeddings = World(), cache(tmp_path)
    world.content["u2"] = world.content["u1"]
    assert world.get(embeddings, "u1") is world.get(embeddings, "u2")
    assert len(world.encodes) == 1


def test_an_image_that_changed_at_its_address(tmp_path: Path) -> None:
    world, embeddings = World(), cache(tmp_path)
    before = world.get(embeddings, "u1")
    after = embeddings.refresh("u1", "m", lambda: Download(b"new"), world.encode)
    assert after is not before
    assert world.get(embeddings, "u1") is after


def test_many_at_once_cost_one_encode(tmp_path: Path) -> None:
    world, embeddings = World(), cache(tmp_path)
    start = threading.Barrier(16)

    def ask(n: int) -> Embedding:
        start.wait()
        return world.get(embeddings, f"u{n % 2}")

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(16)))
    assert len({id(e) for e in found}) == 2
    assert len(world.encodes) == 2


def test_a_failure_is_told_to_all_and_not_kept(tmp_path: Path) -> None:
    embeddings = cache(tmp_path)

    def refuse() -> Download:
        raise Refusal("image", "gone")

    for _ in range(2):
        with pytest.raises(Refusal, match="gone"):
            embeddings.get("u1", "m", refuse, World().encode)
    assert World().get(embeddings, "u1") is not None


def test_both_tiers_are_bounded(tmp_path: Path) -> None:
    world = World()
    embeddings = cache(tmp_path, memory=10 * MB, disk=9 * MB)
    store = embeddings.store
    assert store is not None
    for n in range(20):
        world.get(embeddings, f"u{n}")
        assert embeddings.nbytes <= 10 * MB
        assert store.usage()[1] <= 12 * MB  # one that was just written, and makes room behind
    assert len(embeddings) == 2
    wait_until(lambda: store.usage()[1] <= 9 * MB)


@pytest.mark.parametrize("ahead", [False, True], ids=["by a click", "ahead of a click"])
def test_what_decodes_add_to_embeddings_from_disk_is_bounded(tmp_path: Path, ahead: bool) -> None:
    """Also if each of them gets one click only, and is never asked for again."""
    world, another = World(), cache(tmp_path, memory=32 * MB)
    for n in range(12):
        world.get(another, f"u{n}")
    wait_until(lambda: len(list(tmp_path.glob("*.embedding"))) == 12)
    embeddings, decoded = cache(tmp_path, memory=32 * MB), []
    for n in range(12):
        if ahead:
            world.get(embeddings, f"u{n}")
        clicked = world.get(embeddings, f"u{n}")
        clicked.derived["products"] = np.zeros(6 * MB // 4, np.float32)
        decoded.append(clicked)
    assert len(world.encodes) == 12
    assert len(embeddings) == 3  # of 10 MB each
    assert embeddings.nbytes >= sum(each.nbytes for each in decoded[-3:-1])


def test_the_size_of_an_embedding_may_be_asked_for_while_a_decode_adds_to_it() -> None:
    embedding = World().encode(b"image")

    class AddsMore(np.ndarray[tuple[int], np.dtype[np.float32]]):
        @property
        def nbytes(self) -> int:
            embedding.derived["values"] = np.zeros(1, np.float32)
            return 4

    embedding.derived["keys"] = np.zeros(1, np.float32).view(AddsMore)
    assert embedding.nbytes == embedding.features.nbytes + 4


def test_one_that_is_larger_than_the_cache_is_still_answered(tmp_path: Path) -> None:
    world = World()
    assert world.get(cache(tmp_path, memory=MB, disk=MB), "u1").features.shape == (1, 256, 64, 64)


def test_without_a_folder_memory_is_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    world, embeddings = World(), cache(tmp_path / "file" / "below")
    world.get(embeddings, "u1")
    world.get(embeddings, "u1")
    assert len(world.encodes) == 1
