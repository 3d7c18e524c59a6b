"""Which arithmetic is the fastest on this CPU: measured once, then remembered.

The instructions of a CPU say little: bf16 without matrix units is slower than f32 on one CPU, and
twice as fast on another. A record belongs to one CPU, its engines and the weights. A restart
therefore never changes the masks, and all workers compute in the same way.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_backend import private_files
from sam_backend.engines.arithmetic import Arithmetic
from sam_backend.engines.weights import sha256
from sam_backend.installation import IMPORTS

logger = logging.getLogger("sam_backend")

# What is faster by less than this may be slower another time.
LEAST_GAIN = 1.1
RECORDS = "arithmetic.json"  # in the cache's folder
MOST_RECORDS = 64
# The version of the graphs that this package makes. Increase it when one takes another time.
_GRAPHS = "2"
_LONGEST_S = 180.0  # a measurement: some seconds, on a busy machine more
_CPU_INFO = Path("/proc/cpuinfo")

Times = Mapping[str, Sequence[float]]  # seconds of each round, by arithmetic


@dataclass(frozen=True)
class Choice:
    """What to open the two parts of a model with."""

    encode: Arithmetic
    decode: Arithmetic


def choose(files: tuple[Path, Path], among: Sequence[Arithmetic], folder: Path | None) -> Choice:
    """The fastest of some arithmetics for an encoder and a decoder.

    The first one is the surest: the others have to be clearly faster. `folder` keeps records.
    """
    surest = Choice(among[0], among[0])
    if len(among) == 1:
        return surest
    key = _key(files, among)
    path = None if folder is None else folder / RECORDS
    found = _recorded(path, key, among)
    if found is None:
        with _lock(folder):
            found = _recorded(path, key, among)  # another worker may have measured it a moment ago
            if found is None:
                times = _measured(files, among)
                if times is None:
                    return surest
                found = decided(times, among)
                logger.info("measured on this CPU: %s", _report(times, found, among[0]))
                _record(path, key, found, times)
    return found


def decided(times: Mapping[str, Times], among: Sequence[Arithmetic]) -> Choice:
    """The choice by times of `encode` and `decode`; an encoder without times follows the decoder.

    Encoders consist of larger products, which gain at least as much.
    """
    decode = _fastest(times.get("decode", {}), among)
    encode = _fastest(times["encode"], among) if times.get("encode") else decode
    return Choice(encode, decode)


def _fastest(times: Times, among: Sequence[Arithmetic]) -> Arithmetic:
    """By the median of ratios within rounds: a machine that slows down slows a whole round."""
    surest, *others = among
    base = times.get(str(surest))
    if not base:
        return surest
    gains = {
        other: statistics.median(b / t for b, t in zip(base, times[str(other)], strict=True))
        for other in others
        if times.get(str(other))
    }
    best = max(gains, key=gains.__getitem__, default=surest)
    return best if gains.get(best, 0.0) >= LEAST_GAIN else surest


def _measured(
    files: tuple[Path, Path], among: Sequence[Arithmetic]
) -> dict[str, dict[str, list[float]]] | None:
    """Times from a process of its own. If that fails: None, and a warning."""
    command = [sys.executable, "-m", "sam_backend.engines.timing"]
    command += [*(str(path.resolve()) for path in files), *map(str, among)]
    # It does not count in the metrics of the server's workers.
    environ = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    try:
        done = subprocess.run(  # noqa: S603 (this interpreter, and paths from the settings)
            command,
            cwd=IMPORTS,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_S,
            check=True,
        )
        found: dict[str, dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()
        reason = said[-1] if said else type(error).__name__
        logger.warning(
            "%s is used, because nothing could be measured on this CPU: %s", among[0], reason
        )
        return None
    return found


def _report(times: Mapping[str, Times], chosen: Choice, surest: Arithmetic) -> str:
    """What was chosen for each part, and how it compares."""
    parts = []
    for part, choice in (("encode", chosen.encode), ("decode", chosen.decode)):
        known = {name: 1000 * statistics.median(t) for name, t in times.get(part, {}).items()}
        listed = ", ".join(f"{name} {ms:.0f} ms" for name, ms in known.items())
        parts.append(f"{part} in {choice} ({listed or f'not timed, {surest} is the surest'})")
    return "; ".join(parts)


def _key(files: Sequence[Path], among: Sequence[Arithmetic]) -> str:
    versions = []
    for package in ("onnxruntime", "openvino"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    facts = [_GRAPHS, *_cpu(), limit, *versions, *map(sha256, files), *map(str, among)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _cpu() -> list[str]:
    """What tells one kind of CPU from another. Virtual machines give many the same name."""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features")
    try:
        first = _CPU_INFO.read_text().split("\n\n", 1)[0]
    except OSError:  # not on Linux
        return [platform.machine(), platform.processor()]
    lines = (line.partition(":") for line in first.splitlines())
    return [value.strip() for name, _, value in lines if name.strip() in wanted]


def _recorded(path: Path | None, key: str, among: Sequence[Arithmetic]) -> Choice | None:
    try:
        record = _records(path)[key]
        found = Choice(Arithmetic.parse(record["encode"]), Arithmetic.parse(record["decode"]))
    except (LookupError, TypeError, ValueError):
        return None
    return found if found.encode in among and found.decode in among else None


def _records(path: Path | None) -> dict[str, Any]:
    """The content of the file. Empty if it is missing or cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_bytes()) if path else {}
        return found if isinstance(found, dict) else {}
    return {}


def _record(path: Path | None, key: str, chosen: Choice, times: Mapping[str, Times]) -> None:
    """Adds a record. The file is there as a whole, old or new, whenever another process reads."""
    if path is None:
        return
    facts = {
        "encode": str(chosen.encode),
        "decode": str(chosen.decode),
        "milliseconds": {
            part: {name: round(1000 * statistics.median(t), 2) for name, t in by.items()}
            for part, by in times.items()
        },
    }
    newest = [*((k, v) for k, v in _records(path).items() if k != key), (key, facts)]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        private_files.write(temporary, json.dumps(dict(newest[-MOST_RECORDS:]), indent=1).encode())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        logger.warning("%s cannot be written (%s): each start measures again", path, error.strerror)


@contextmanager
def _lock(folder: Path | None) -> Iterator[None]:
    """One worker at a time holds it. The others find what that one measured."""
    file = -1
    if folder is not None:
        with contextlib.suppress(OSError):  # read-only: then each worker measures
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
            file = os.open(folder / f"{RECORDS}.lock", flags, 0o600)
    try:
        if file >= 0:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        if file >= 0:
            os.close(file)
