"""An embedding as bytes, for files and for other machines.

A header, then the features and the details in half precision. Nothing in the bytes is executed.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np

from sam_backend.engines.protocol import Embedding

_MAGIC = b"SAMEMB02"
# Magic; the CRC-32 of all that follows; height and width of the image; how many arrays follow.
_HEAD = struct.Struct("<8sIIII")
_SHAPE = struct.Struct("<IIII")  # of each array, before the arrays
_MOST_ARRAYS = 8


def rounded(embedding: Embedding) -> Embedding:
    """The embedding as it would come back from disk, so that a restart changes no mask.

    In memory its channels come last, because decoding reads one image token after another.
    Details are in half precision already.
    """
    channels, rows, columns = embedding.features.shape[1:]
    # OpenCV transposes seven times as fast as NumPy copies a transposed array.
    tokens = cv2.transpose(embedding.features.reshape(channels, -1))
    with np.errstate(over="ignore", invalid="ignore"):
        tokens = tokens.astype(np.float16).astype(np.float32)
        if not np.isfinite(tokens.sum()):  # as soon as one of them is not
            return embedding
    features = tokens.reshape(1, rows, columns, channels).transpose(0, 3, 1, 2)
    return replace(embedding, features=features)


def packed(embedding: Embedding) -> bytes | None:
    """The bytes of an embedding. None if half precision cannot hold it."""
    half = embedding.features.astype(np.float16)
    if not np.isfinite(half).all():
        return None
    # Channels last, as decoding needs them.
    arrays = [half.transpose(0, 2, 3, 1), *embedding.details]
    parts = [_SHAPE.pack(*array.shape) for array in arrays]
    parts += [np.ascontiguousarray(array).tobytes() for array in arrays]
    sizes = (embedding.height, embedding.width, len(arrays))
    checksum = _checksum(sizes, b"".join(parts))
    return b"".join((_HEAD.pack(_MAGIC, checksum, *sizes), *parts))


def unpacked(content: bytes | memoryview) -> Embedding | None:
    """The embedding. None if its bytes are cut off, changed or of another format."""
    if len(content) < _HEAD.size:
        return None
    magic, checksum, height, width, count = _HEAD.unpack_from(content)
    body = memoryview(content)[_HEAD.size :]
    if magic != _MAGIC or not 1 <= count <= _MOST_ARRAYS or len(body) < count * _SHAPE.size:
        return None
    if _checksum((height, width, count), body) != checksum:
        return None
    shapes = [_SHAPE.unpack_from(body, index * _SHAPE.size) for index in range(count)]
    sizes, values = [math.prod(shape) for shape in shapes], body[count * _SHAPE.size :]
    if len(values) != 2 * sum(sizes):
        return None
    parts = np.split(np.frombuffer(values, np.float16), np.cumsum(sizes)[:-1])
    if not (height and width and all(sizes)):
        return None
    half, *details = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    features = half.astype(np.float32).transpose(0, 3, 1, 2)
    # Copies: a part of the content would keep all of it in memory.
    return Embedding(features, height, width, tuple(detail.copy() for detail in details))


def _checksum(sizes: tuple[int, ...], body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<3I", *sizes)))
