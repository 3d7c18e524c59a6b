"""How gunicorn serves the back end. Settings and model files are checked here, before it binds."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sam_backend.errors import SettingsError
from sam_backend.settings import Settings

try:
    _several = Settings.from_environment().workers > 1
except SettingsError:  # said below
    _several = False
if _several:
    # Each worker counts for itself; this is where they add up. Known before anything counts.
    _metrics_folder = tempfile.mkdtemp(prefix="sam-backend-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder

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


if _several:

    def on_exit(_server: object) -> None:
        shutil.rmtree(_metrics_folder, ignore_errors=True)


def worker_exit(_server: object, _worker: object) -> None:
    """The last thing a worker does, after its requests are answered.

    ONNX Runtime was loaded before the fork, for the check above; what it does in a forked process
    when that cleans up ends in an abort.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
