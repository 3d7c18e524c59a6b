"""How gunicorn serves the back end. Settings and model files are checked here, before it binds."""

import logging
import os
import shutil
import socket
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).resolve().parent)


def _import_nothing_from_working_folder() -> None:
    """Gunicorn looks there first, so a file called click.py would hide a package."""
    outside = {"", _HERE, str(Path.cwd())}
    sys.path[:] = [_HERE, *(path for path in sys.path if path not in outside)]


_import_nothing_from_working_folder()

if os.environ.get("WORKERS", "").strip() not in ("", "1"):
    # Each worker counts for itself, in files that /metrics adds up. Said before the first import
    # of prometheus_client, which looks for it only then.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="sam-backend-metrics-")

from sam_backend import lines  # noqa: E402 (the path comes first)
from sam_backend.overload import threads_for  # noqa: E402
from sam_backend.startup import checked_settings, welcome  # noqa: E402

_settings = checked_settings()
# A client that connects and says nothing takes no thread; one that stops in the middle of a
# request, or does not read the answer, gives its thread back after this time.
_SILENCE_S = 10

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
threads = threads_for(_settings.threads)
worker_class = "gthread"
worker_connections = threads + 1000
loglevel = _settings.log_level.lower()
timeout = 120  # above Label Studio's own 100 s
graceful_timeout = 8  # then whoever still runs is cut off: all is over when Docker kills, at 10 s
control_socket_disable = True


def on_starting(server: Any) -> None:
    for log in (server.log.error_log, server.log.access_log):
        for handler in log.handlers:
            handler.addFilter(lines.readable)


def when_ready(server: Any) -> None:
    for listener in server.LISTENERS:  # connections inherit this
        silence = struct.pack("ll", _SILENCE_S, 0)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, silence)
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # Linux
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENCE_S)
    print(welcome(_settings), flush=True)


def post_fork(_server: Any, _worker: Any) -> None:
    _import_nothing_from_working_folder()


def post_worker_init(worker: Any) -> None:
    worker.log.error_log.addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Gunicorn logs a traceback for each client that falls silent."""
    return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))


def on_exit(_server: object) -> None:
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)
