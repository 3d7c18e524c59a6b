"""An embedding as bytes, for files and for other machines.

A header, then the features in half precision. Nothing in the bytes is ever executed.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from sam_backend.engines.protocol import Embedding

_MAGIC = b"SAMEMB01"
# Magic; height and width of the image; channels, rows and columns of the features; their CRC-32.
_HEAD = struct.Struct("<8sIIIIII")


def rounded(embedding: Embedding) -> Embedding:
    """The embedding as it would come back from disk, so that a restart changes no mask.

    In memory its channels come last, because decoding reads one image token after another.
    """
    half = embedding.features.astype(np.float16)
    if not np.isfinite(half).all():
        return embedding
    features = half.transpose(0, 2, 3, 1).astype(np.float32, order="C").transpose(0, 3, 1, 2)
    return Embedding(features, embedding.height, embedding.width)


def packed(embedding: Embedding) -> bytes | None:
    """The bytes of an embedding. None if half precision cannot hold it."""
    half = embedding.features.astype(np.float16)
    if not np.isfinite(half).all():
        return None
    _, channels, rows, columns = half.shape
    # Channels last, as decoding needs them.
    payload = half[0].transpose(1, 2, 0).tobytes()
    head = (embedding.height, embedding.width, channels, rows, columns)
    return b"".join((_HEAD.pack(_MAGIC, *head, _checksum(head, payload)), payload))


def unpacked(content: bytes | memoryview) -> Embedding | None:
    """The embedding; None if its bytes are cut off, changed or of another format."""
    if len(content) < _HEAD.size:
        return None
    magic, height, width, channels, rows, columns, checksum = _HEAD.unpack_from(content)
    head, payload = (height, width, channels, rows, columns), memoryview(content)[_HEAD.size :]
    if magic != _MAGIC or len(payload) != 2 * channels * rows * columns:
        return None
    if _checksum(head, payload) != checksum:
        return None
    half = np.frombuffer(payload, np.float16).reshape(1, rows, columns, channels)
    return Embedding(half.astype(np.float32).transpose(0, 3, 1, 2), height, width)


def _checksum(head: tuple[int, ...], payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<5I", *head)))
