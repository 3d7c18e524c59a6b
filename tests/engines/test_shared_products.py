"""What the decoder's first layer computes from a picture alone is computed once for the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_backend.embeddings.cache import Embeddings
from sam_backend.embeddings.content_index import ContentIndex
from sam_backend.embeddings.packed import packed, rounded, unpacked
from sam_backend.engines.arithmetic import OPENVINO_BF16, OPENVINO_F32
from sam_backend.engines.frame import Floats
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.protocol import Embedding
from sam_backend.net.downloaded import Download
from tests.needs import PAIR, needs_weights

pytestmark = needs_weights


def engine() -> OnnxSam:
    return OnnxSam(*PAIR, "MobileSAM", "cpu")


def encoded(sam: OnnxSam) -> Embedding:
    image = np.full((300, 450, 3), 120, np.uint8)
    image[100:200, 150:260] = (200, 30, 30)
    return rounded(sam.encode(image))


def clicked(sam: OnnxSam, embedding: Embedding, mask: Floats | None = None) -> Floats:
    points = np.array([[200, 150]], np.float32)
    return sam.decode(embedding, points, np.ones(1, np.float32), mask_input=mask)[0]


def test_an_image_that_was_just_encoded_has_them() -> None:
    sam = engine()
    embedding = encoded(sam)
    made = dict(embedding.derived)
    assert made
    clicked(sam, embedding)
    assert all(embedding.derived[name] is array for name, array in made.items())


def test_an_embedding_from_disk_gives_the_same_logits_to_the_bit() -> None:
    sam = engine()
    embedding = encoded(sam)
    content = packed(embedding)
    assert content is not None
    back = unpacked(content)
    assert back is not None
    assert not back.derived  # they are not on disk
    earlier = np.full((256, 256), -8, np.float32)
    earlier[60:110, 90:150] = 8
    for mask in (None, earlier):
        np.testing.assert_array_equal(clicked(sam, back, mask), clicked(sam, embedding, mask))


def test_each_runtime_computes_the_same() -> None:
    pytest.importorskip("openvino")
    sam = engine()
    embedding = encoded(sam)
    in_openvino = OnnxSam(*PAIR, "MobileSAM", "cpu", decode_in=OPENVINO_F32)
    own = replace(embedding, derived={})
    np.testing.assert_allclose(
        clicked(in_openvino, own), clicked(sam, embedding), rtol=0, atol=1e-2
    )
    assert own.derived.keys() == embedding.derived.keys()


def test_the_memory_that_they_take_counts(tmp_path: Path) -> None:
    """A decode adds them to an embedding that came from disk."""
    sam = engine()
    bare = replace(encoded(sam), derived={})
    embeddings = Embeddings(1 << 26, None, ContentIndex(tmp_path / "index"))

    def get() -> Embedding:
        return embeddings.get("here", "m", lambda: Download(b"content"), lambda _content: bare)

    held = get()
    before = embeddings.nbytes
    clicked(sam, held)
    assert get() is held
    assert embeddings.nbytes == held.nbytes > before


def test_products_of_16_bits_are_not_kept() -> None:
    """They would be less exact, and they would save less."""
    pytest.importorskip("openvino")
    try:
        sam = OnnxSam(*PAIR, "MobileSAM", "cpu", decode_in=OPENVINO_BF16)
    except RuntimeError:
        pytest.skip("this CPU does not compute in bf16")
    embedding = encoded(sam)
    clicked(sam, embedding)
    assert not embedding.derived
