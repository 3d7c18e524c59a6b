"""How gunicorn serves the back end. Settings and model files are checked here, before it binds."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

if os.environ.get("WORKERS", "").strip() not in ("", "1"):
    # Each worker counts for itself, in files that /metrics adds up. Said before the first import
    # of prometheus_client, which looks for it only then.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="sam-backend-metrics-")

from sam_backend.startup import checked_settings, welcome

_settings = checked_settings()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
threads = _settings.threads
worker_class = "gthread"
loglevel = _settings.log_level.lower()
timeout = 120  # above Label Studio's own 100 s
graceful_timeout = 10
control_socket_disable = True


def when_ready(_server: object) -> None:
    print(welcome(_settings), flush=True)


def on_exit(_server: object) -> None:
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)
