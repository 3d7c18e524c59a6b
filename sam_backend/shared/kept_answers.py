"""The last answers of all workers, in one file of fixed size: they save decodes after a restart.

An answer has the slot that its key chooses, and overwrites what was there. So the file needs no
lock and never grows: a slot that two workers wrote at once fails its checksum and is a miss.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Hashable, Iterable
from pathlib import Path

import numpy as np

from sam_backend import private_files
from sam_backend.clicks.segmenter import DecodeState, ObjectPrompt, restored
from sam_backend.engines.frame import LOW_RES_SIDE, Floats

logger = logging.getLogger("sam_backend")

FILE = "answers.bin"  # in the folder of the embeddings
_VERSION = 2  # of the rules that lead to an answer: raise it with a change of them
SLOTS = 256
MOST_POINTS = 64  # of an answer that is kept
_HEAD = struct.Struct("<I32s")  # the checksum of the rest, and the digest of the key
# How many points, 1 if there is a box and 2 if it began with a mask, the score, the box; the points
# and labels; the logits.
_LOGITS = 7 + 3 * MOST_POINTS
_FLOATS = _LOGITS + LOW_RES_SIDE**2
_SLOT = _HEAD.size + 4 * _FLOATS
MOST_BYTES = SLOTS * _SLOT


class KeptAnswers:
    """Reads and writes the file. If that fails, each worker has its own answers only."""

    def __init__(self, folder: Path) -> None:
        self._file: int | None = None
        path = folder / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o600)
            private_files.close(path)
        except OSError as error:
            logger.debug("%s cannot be used: %s", path, error)

    def get(self, key: Iterable[Hashable]) -> DecodeState | None:
        """The last answer with this key, without its candidates."""
        digest = _digest(key)
        try:
            content = b"" if self._file is None else os.pread(self._file, _SLOT, _place(digest))
        except OSError:
            return None
        if len(content) < _SLOT:
            return None
        checksum, found = _HEAD.unpack_from(content)
        if found != digest or checksum != zlib.crc32(memoryview(content)[4:]):
            return None
        return _parsed(np.frombuffer(content, np.float32, offset=_HEAD.size))

    def put(self, key: Iterable[Hashable], state: DecodeState) -> None:
        """Keeps an answer, in place of the last one in its slot."""
        if self._file is None or len(state.prompt.points) > MOST_POINTS:
            return
        digest = _digest(key)
        rest = digest + _flat(state).tobytes()
        try:
            os.pwrite(self._file, struct.pack("<I", zlib.crc32(rest)) + rest, _place(digest))
        except OSError as error:  # a full disk must not cost a mask
            logger.debug("an answer is not kept: %s", error)


def _digest(key: Iterable[Hashable]) -> bytes:
    """A hash of the key, the same in every process."""
    made = hashlib.sha256(b"%d" % _VERSION)
    for part in key:
        content = part if isinstance(part, bytes) else repr(part).encode()
        made.update(b"%d " % len(content) + content)
    return made.digest()


def _place(digest: bytes) -> int:
    return int.from_bytes(digest[:4], "little") % SLOTS * _SLOT


def _flat(state: DecodeState) -> Floats:
    prompt, count = state.prompt, len(state.prompt.points)
    flat = np.zeros(_FLOATS, np.float32)
    flat[:3] = count, (prompt.box is not None) + 2 * state.resumed, state.score
    if prompt.box is not None:
        flat[3:7] = prompt.box
    flat[7 : 7 + 2 * count] = prompt.points.ravel()
    flat[7 + 2 * count : 7 + 3 * count] = prompt.labels
    flat[_LOGITS:] = state.logits.ravel()
    return flat


def _parsed(flat: Floats) -> DecodeState | None:
    if not 0 <= flat[0] <= MOST_POINTS or not np.isfinite(flat).all():  # another program wrote it
        return None
    count, has_box, resumed = int(flat[0]), bool(flat[1] % 2), bool(flat[1] >= 2)
    points = flat[7 : 7 + 2 * count].reshape(-1, 2)
    labels = flat[7 + 2 * count : 7 + 3 * count]
    prompt = ObjectPrompt(points, labels, flat[3:7] if has_box else None)
    logits = flat[_LOGITS:].reshape(LOW_RES_SIDE, LOW_RES_SIDE)
    return restored(prompt, logits, float(flat[2]), resumed=resumed)
