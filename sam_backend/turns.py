"""Which request asked last with a prompt: a small table that all workers of a machine share."""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sam_backend import private

_SLOTS = 1 << 14
_SLOT = struct.Struct("<QQ")  # when it was asked, and the key, masked with that
_LATEST = (1 << 64) - 1


@dataclass(frozen=True)
class Turn:
    """A request's: since when, and the keys of what it asks about."""

    since: int
    keys: tuple[int, ...]


class Turns:
    """The last requests, by place (task and target) and prompt.

    Two annotators may click in one task with one label. Only an annotator's own editor sends the
    prompts of the older request again, so without a common prompt none overtakes the other.

    A slot may be lost to another prompt, or to a request that comes within the same microsecond:
    then nothing is known, and nothing is overtaken.
    """

    def __init__(self, path: Path) -> None:
        """A file in a folder that workers share; one of this process where it cannot be had."""
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o600)
            private.close(path)
        except OSError:
            self._file, name = tempfile.mkstemp()
            Path(name).unlink()
        weakref.finalize(self, os.close, self._file)

    def begin(self, place: object, prompt_ids: Iterable[str]) -> Turn:
        """Registers a request; it overtakes the older ones with any of its prompts."""
        keys = tuple(_key(place, prompt_id) for prompt_id in prompt_ids)
        # The clock of a machine that was started anew begins at 0, and the file has later times.
        known = [self._asked(key) + 1 for key in keys]
        turn = Turn(min(max([time.monotonic_ns(), *known]), _LATEST), keys)
        for key in keys:
            self._put(key, turn.since)
        return turn

    def is_overtaken(self, turn: Turn) -> bool:
        return any(self._asked(key) > turn.since for key in turn.keys)

    def _asked(self, key: int) -> int:
        """When this was last asked about; 0 if that is not known."""
        try:
            slot = os.pread(self._file, _SLOT.size, key % _SLOTS * _SLOT.size)
        except OSError:
            return 0
        if len(slot) < _SLOT.size:
            return 0
        since, masked = _SLOT.unpack(slot)
        return since if masked == key ^ since else 0

    def _put(self, key: int, since: int) -> None:
        try:
            os.pwrite(self._file, _SLOT.pack(since, key ^ since), key % _SLOTS * _SLOT.size)
        except OSError:  # a full disk, say: then an older request is answered too
            return


def _key(place: object, prompt_id: str) -> int:
    """The same in all processes."""
    digest = hashlib.blake2b(f"{place!r} {prompt_id}".encode(errors="replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
