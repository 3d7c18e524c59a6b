"""The configuration of gunicorn. It checks settings and model files before gunicorn binds."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).resolve().parent)


def _import_nothing_from_working_folder() -> None:
    """By default, a file named click.py in the working folder would hide a package."""
    outside = {"", _HERE, str(Path.cwd())}
    sys.path[:] = [_HERE, *(path for path in sys.path if path not in outside)]


_import_nothing_from_working_folder()

if os.environ.get("WORKERS", "").strip() not in ("", "1"):
    # Each worker counts in its own files, and /metrics adds them up. This must be set before the
    # first import of prometheus_client.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="sam-backend-metrics-")

from prometheus_client.multiprocess import mark_process_dead  # noqa: E402 (the path comes first)

from sam_backend import lines, memory  # noqa: E402
from sam_backend.server import listening, misspelt  # noqa: E402
from sam_backend.server.admission import threads_for  # noqa: E402
from sam_backend.server.startup import checked_settings, welcome  # noqa: E402
from sam_backend.server.worker import MOST_WAITING, Worker  # noqa: E402

_settings = checked_settings()
memory.give_back()  # the check reads the models
for _line in misspelt.lines(os.environ):
    print(f"sam-backend: {_line}", file=sys.stderr)

bind = listening.address(_settings.host, _settings.port)
workers = _settings.workers
threads = threads_for(_settings.threads)
worker_class = "sam_backend.server.worker.Worker"
worker_connections = threads + 2 * MOST_WAITING
forwarder_headers = ""  # no client may say which part of its path is a prefix
keepalive = 0  # a connection carries one request
loglevel = _settings.log_level.lower()
timeout = 120  # above Label Studio's own 100 s
Worker.drain_s = _settings.drain_seconds
# Then running requests are cut off. Docker kills after 10 s.
graceful_timeout = _settings.drain_seconds + 8
control_socket_disable = True


def on_starting(server: Any) -> None:
    for log in (server.log.error_log, server.log.access_log):
        for handler in log.handlers:
            handler.addFilter(lines.readable)


def when_ready(_server: object) -> None:
    print(welcome(_settings), flush=True)


def post_fork(_server: object, _worker: object) -> None:
    _import_nothing_from_working_folder()
    memory.share_one_arena()


def child_exit(_server: object, worker: Any) -> None:
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # removes its gauges
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: object) -> None:
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)
