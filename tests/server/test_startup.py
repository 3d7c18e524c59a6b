"""Starting the real thing, in each of its three ways, and not starting it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sam_backend.__main__ import main
from sam_backend.engines import choice
from sam_backend.errors import SettingsError
from sam_backend.server import listening, startup
from tests.held import LIMIT_S, get, wait_until_up
from tests.needs import REPOSITORY, WEIGHTS, need_weights

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def environment(**settings: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return {**kept, "PATH": f"{BIN}:{kept.get('PATH', '')}", **settings}


@contextmanager
def running(
    *command: str, cwd: str = str(REPOSITORY), **settings: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server that answers on its port; its output is in `process.stdout`."""
    url = f"http://127.0.0.1:{settings['PORT']}"
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until_up(url, process)
        yield url, process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)


@pytest.fixture(scope="module", autouse=True)
def _weights() -> None:
    need_weights()


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "_wsgi.py"],
        [str(BIN / "gunicorn"), "_wsgi:app"],
        [str(BIN / "label-studio-ml"), "start", "."],
    ],
    ids=["python", "gunicorn", "label-studio-ml"],
)
def test_the_three_ways_to_start(command: list[str], tmp_path: Path) -> None:
    port = str(free_port())
    (tmp_path / "models").mkdir()
    checkpoint = {"MOBILESAM_CHECKPOINT": str(WEIGHTS), "MODEL_DIR": str(tmp_path / "models")}
    with running(*command, PORT=port, **checkpoint) as (url, _):
        assert get(f"{url}/health").json()["status"] == "UP"
        assert get(url).json()["model"] == "MobileSAM"


def test_it_ends_by_saying_what_to_do_in_label_studio(tmp_path: Path) -> None:
    port = str(free_port())
    settings = {"PORT": port, "MOBILESAM_CHECKPOINT": str(WEIGHTS), "MODEL_DIR": str(tmp_path)}
    with running(sys.executable, "_wsgi.py", **settings) as (url, process):
        assert process.stdout is not None
        text = ""
        while "make studio" not in text:
            text += process.stdout.readline()
        assert f"http://localhost:{port}" in text
        assert "ML_BLOCK_LOCAL_IP=false USE_DEFAULT_BANNED_SUBNETS=false" in text
        assert "label_configs/brush.xml" in text
        assert get(f"{url}/health").ok


def test_options_of_label_studio_ml_are_settings(tmp_path: Path) -> None:
    port = str(free_port())
    command = [sys.executable, "_wsgi.py", "--port", port, "--basic-auth-user", "u"]
    command += ["--basic-auth-pass", "p", "--model-dir", str(tmp_path), "--host", "127.0.0.1"]
    with running(*command, PORT=port, MOBILESAM_CHECKPOINT=str(WEIGHTS)) as (url, _):
        assert get(url).status_code == 401
        assert requests.get(url, timeout=LIMIT_S, auth=("u", "p")).ok


def test_several_workers_count_together(tmp_path: Path) -> None:
    port = str(free_port())
    settings = {"PORT": port, "MOBILESAM_CHECKPOINT": str(WEIGHTS), "MODEL_DIR": str(tmp_path)}
    with running(sys.executable, "_wsgi.py", WORKERS="2", **settings) as (url, _):
        for _ in range(20):
            get(f"{url}/versions")
        text = get(f"{url}/metrics").text
        assert 'sam_request_seconds_count{route="/versions"} 20.0' in text


def refused(**settings: str) -> str:
    """What a start says that does not come to pass; the port must stay closed."""
    port = str(free_port())
    process = subprocess.run(
        [sys.executable, "_wsgi.py"],
        check=False,
        cwd=REPOSITORY,
        env=environment(**{"PORT": port, **settings}),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert process.returncode == 2
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("key", "value"), [("PORT", "high"), ("SAM_CHOICE", "SAM9"), ("WORKERS", "0")]
)
def test_a_bad_setting_stops_the_start_with_one_line(key: str, value: str) -> None:
    assert f"{key}={value!r}" in refused(**{key: value})


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    line = refused(MODEL_DIR=str(tmp_path))
    assert f"{tmp_path}/mobile_sam/encoder.onnx does not exist" in line
    assert "download_models.sh" in line


@pytest.mark.parametrize("damaged", ["encoder.onnx", "decoder.onnx"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_model_file_is_named(tmp_path: Path, damaged: str, damage: str) -> None:
    shutil.copytree(WEIGHTS, tmp_path / "mobile_sam")
    file = tmp_path / "mobile_sam" / damaged
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    assert str(file) in refused(MODEL_DIR=str(tmp_path))


def test_encoder_and_decoder_swapped(tmp_path: Path) -> None:
    (tmp_path / "mobile_sam").mkdir()
    shutil.copy(WEIGHTS / "encoder.onnx", tmp_path / "mobile_sam" / "decoder.onnx")
    shutil.copy(WEIGHTS / "decoder.onnx", tmp_path / "mobile_sam" / "encoder.onnx")
    assert "encoder.onnx is not an image encoder" in refused(MODEL_DIR=str(tmp_path))


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused(HOST="127.0.0.1", PORT=str(port))
    assert f"PORT={port} is in use by another program" in line


def test_a_socket_of_systemd_is_no_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as of_systemd:
        port = of_systemd.getsockname()[1]
        monkeypatch.setattr(listening, "PATIENCE_S", 0)
        with pytest.raises(SettingsError, match="is in use by another program"):
            listening.check("127.0.0.1", port)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        listening.check("127.0.0.1", port)


def test_a_port_that_becomes_free_is_waited_for() -> None:
    """The workers of a server that was killed keep it for some seconds."""
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    later = threading.Timer(0.5, other.close)
    later.start()
    listening.check("127.0.0.1", port)
    assert other.fileno() == -1
    later.join()


def test_a_host_of_another_machine_is_named() -> None:
    assert "HOST='192.0.2.1' is not an address of this machine" in refused(HOST="192.0.2.1")


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "0.0.0.0:9090"), ("::1", "[::1]:9090"), ("[::]", "[::]:9090")],
)
def test_an_ipv6_address_is_written_as_gunicorn_takes_it(host: str, address: str) -> None:
    assert listening.address(host, 9090) == address


def test_a_model_file_that_the_user_may_not_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(_settings: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "models/encoder.onnx")

    monkeypatch.setattr(choice, "plan", forbidden)
    with pytest.raises(SystemExit):
        startup.checked_settings()
    assert main(["segment_everything", "--tasks", "x.json"]) == 2
    server, command = capsys.readouterr().err.splitlines()
    for line in (server, command):
        assert (
            "models/encoder.onnx cannot be read or written by this user: give the user the right"
            in line
        )
