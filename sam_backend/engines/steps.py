"""Shows on the terminal that a long step is still running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT = 15.0  # seconds; a large encoder takes minutes


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints the name of a step, a sign of life now and then, and the time that it took."""
    print(what, flush=True)
    start, done = time.monotonic(), threading.Event()

    def still_there() -> None:
        while not done.wait(HEARTBEAT):
            print(f"  {what}: {time.monotonic() - start:.0f} s so far", flush=True)

    thread = threading.Thread(target=still_there, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    print(f"  {time.monotonic() - start:.1f} s", flush=True)
