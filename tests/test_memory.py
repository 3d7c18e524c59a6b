"""Memory that is given back when nothing uses it."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from sam_backend.installation import IMPORTS
from sam_backend.memory import WhenIdle

# Prints what glibc says about its arenas, while eight threads have memory of their own.
_ALLOCATE_IN_THREADS = """
import ctypes, threading
both = threading.Barrier(9)
def allocate():
    block = bytearray(50_000)
    both.wait(60)
    both.wait(60)
for _ in range(8):
    threading.Thread(target=allocate).start()
both.wait(60)
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
both.wait(60)
"""


def test_what_is_idle_is_released_once() -> None:
    released = threading.Semaphore(0)
    rests = WhenIdle(released.release, after_s=0.01)
    rests.used()
    assert released.acquire(timeout=60)
    time.sleep(0.05)
    assert not released.acquire(blocking=False)


def test_each_use_is_followed_by_a_release() -> None:
    released = threading.Semaphore(0)
    rests = WhenIdle(released.release, after_s=0.01)
    for _ in range(2):
        rests.used()
        assert released.acquire(timeout=60)


def test_nothing_is_released_while_uses_follow_each_other() -> None:
    released = threading.Event()
    rests = WhenIdle(released.set, after_s=3600)
    for _ in range(3):
        rests.used()
    assert not released.is_set()


def test_a_timer_that_waits_keeps_nothing_alive() -> None:
    released = threading.Event()
    WhenIdle(released.set, after_s=3600).used()
    known = weakref.ref(released)
    del released
    gc.collect()
    assert known() is None


def test_uses_that_follow_each_other_start_one_thread() -> None:
    def timers() -> int:
        return sum(isinstance(thread, threading.Timer) for thread in threading.enumerate())

    before = timers()
    rests = WhenIdle(threading.Event().set, after_s=3600)
    for _ in range(20):
        rests.used()
    assert timers() <= before + 1


def test_what_was_used_while_it_waited_is_released_later() -> None:
    released = threading.Event()
    rests = WhenIdle(released.set, after_s=0.2)
    for _ in range(2):
        rests.used()
    assert released.wait(60)


def test_a_machine_without_room_for_a_thread_harms_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next use tries it again."""

    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    released = threading.Event()
    rests = WhenIdle(released.set, after_s=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        rests.used()
    rests.used()
    assert released.wait(60)


@pytest.mark.parametrize("shares", [False, True])
def test_threads_share_one_arena(shares: bool) -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("this C library is not glibc")
    begin = "from sam_backend import memory\nmemory.share_one_arena()" if shares else ""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    printed = subprocess.run(
        [sys.executable, "-c", begin + _ALLOCATE_IN_THREADS],
        cwd=IMPORTS,
        env=environ,
        capture_output=True,
        check=True,
        timeout=300,
    ).stdout
    arenas = printed.count(b"<heap nr=")
    assert arenas == 1 if shares else arenas > 1
