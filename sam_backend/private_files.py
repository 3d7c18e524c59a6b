"""Files and folders that only their owner can read, whatever the umask."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger("sam_backend")

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def folder(path: Path, is_ours: Callable[[str], bool]) -> None:
    """Makes a private folder. Makes an existing folder, and our files in it, private.

    A folder with other files in it, or with a sticky bit, belongs to others too and stays open.
    OSError if the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    shared, opened = bool(path.stat().st_mode & stat.S_ISVTX), []
    with os.scandir(path) as entries:
        for entry in entries:
            if not is_ours(entry.name):
                shared = True
            elif entry.is_file(follow_symlinks=False) and _is_open(entry.stat()):
                opened.append(Path(entry.path))
    if not shared:
        opened.append(path)
    all(map(close, opened))  # stops at the first failure, so that one warning stands for all


def close(path: Path) -> bool:
    """Removes the permissions of others from a file or folder. Warns if this is impossible."""
    try:
        mode = path.stat().st_mode
        if mode & _OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    except FileNotFoundError:  # another worker removed it
        return True
    except PermissionError:
        logger.warning(
            "%s belongs to another user and is open to others: its owner should run chmod go= %s",
            path,
            path,
        )
        return False
    return True


def write(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read."""
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)


def _is_open(found: os.stat_result) -> bool:
    return bool(found.st_mode & _OTHERS)
