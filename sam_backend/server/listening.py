"""The address that the server listens on, tried before gunicorn tries it again and again."""

from __future__ import annotations

import errno
import os
import socket
import time

from sam_backend.errors import SettingsError

# A worker notices within some three seconds that its server was killed. Then it frees the port.
PATIENCE_S = 5.0


def address(host: str, port: int) -> str:
    """Host and port as gunicorn takes them."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def check(host: str, port: int) -> None:
    """SettingsError if no program can listen there now, or soon.

    With socket activation, systemd listens there already, and gunicorn takes over its socket.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return
    patient_until = time.monotonic() + PATIENCE_S
    while error := _error(host.strip("[]"), port):
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        if not in_use or time.monotonic() > patient_until:
            raise SettingsError(_reason(host, port, error))
        time.sleep(0.2)


def _error(host: str, port: int) -> OSError | UnicodeError | None:
    """Why no program can listen there."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except (OSError, UnicodeError) as error:
        return error
    return None


def _reason(host: str, port: int, error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"PORT={port} is in use by another program: end that program, or set another PORT"
    if isinstance(error, PermissionError):
        return f"PORT={port} is not for this user ({os.strerror(errno.EACCES)}): set another PORT"
    return f"HOST={host!r} is not an address of this machine"
