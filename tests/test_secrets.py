"""Tokens and signatures: to whom they go, and that no log has them, however much it is to say."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fakes import BRUSH_LABELS, keypoint, picture, request_body
from tests.held import LIMIT_S, get, wait_until_up
from tests.loopback import Site, always, site, who_am_i
from tests.needs import REPOSITORY, WEIGHTS, needs_weights

LEGACY = "1e9ac7" * 7
SIGNATURE = "51gna7ure"
PASSWORD = "0pen5e5ame"

pytestmark = needs_weights


def refresh_token() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'token_type': 'refresh'})}.r3fre5h"


@contextmanager
def back_end(folder: Path, **settings: str) -> Iterator[tuple[str, Path]]:
    """A server that says all that it can in its log; its address, and the log."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    environ |= {"MODEL_DIR": str(folder), "MOBILESAM_CHECKPOINT": str(WEIGHTS)}
    environ |= {"HOST": "127.0.0.1", "PORT": str(port), "LOG_LEVEL": "DEBUG"}
    environ |= {"ALLOWED_IMAGE_HOSTS": "127.0.0.1", **settings}
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "_wsgi.py"], env=environ, stdout=output, stderr=output
        )
    try:
        wait_until_up(url, process)
        yield url, log
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def ask(url: str, image: str, *, is_click: bool = True) -> Any:
    context = [keypoint("p", 50, 50)] if is_click else None
    body = request_body(context, image=image)
    return requests.post(f"{url}/predict", json=body, timeout=LIMIT_S).json()["results"][0]


@pytest.fixture
def bucket() -> Iterator[Site]:
    with site() as served:
        served.routes[f"/signed.png?X-Amz-Signature={SIGNATURE}"] = always(200, picture())
        yield served


@pytest.fixture
def studio(bucket: Site) -> Iterator[Site]:
    with site() as served:
        served.routes["/api/current-user/whoami"] = who_am_i(LEGACY)
        served.routes["/api/token/refresh/"] = always(200, b'{"access": "acce55"}')
        served.routes["/data/upload/1/a.png"] = lambda auth, _body: (
            (200, {}, picture()) if auth in (f"Token {LEGACY}", "Bearer acce55") else (401, {}, b"")
        )
        link = "/tasks/1/resolve/?fileuri=czM6Ly9iL2EucG5n"
        target = f"{bucket.url}/signed.png?X-Amz-Signature={SIGNATURE}"
        served.routes[link] = always(303, Location=target)
        yield served


@pytest.mark.parametrize("kind", ["told", "personal"])
def test_no_secret_is_in_the_log_or_on_the_page(
    tmp_path: Path, studio: Site, bucket: Site, kind: str
) -> None:
    personal = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": refresh_token()}
    settings = personal if kind == "personal" else {}
    with back_end(tmp_path, **settings) as (url, log):
        setup = {"project": "1.1795243155", "schema": BRUSH_LABELS, "hostname": studio.url}
        requests.post(f"{url}/setup", json={**setup, "access_token": LEGACY}, timeout=LIMIT_S)
        with_password = bucket.url.replace("//", f"//ann:{PASSWORD}@")
        for is_click in (False, True):
            for image in (
                "/data/upload/1/a.png",
                "s3://b/a.png",
                f"{bucket.url}/signed.png?X-Amz-Signature={SIGNATURE}",
                f"{bucket.url}/gone.png?X-Amz-Signature={SIGNATURE}",
                f"{with_password}/gone.png",
                f"http://10.0.0.5/a.png?token={SIGNATURE}",
            ):
                answer = ask(url, image, is_click=is_click)
                if is_click and "gone" not in image and "10.0.0.5" not in image:
                    assert answer["result"], log.read_text()
        page = get(f"{url}/").text
        metrics = get(f"{url}/metrics").text
    written = log.read_text()
    assert "gone.png" in written  # it does say a lot
    assert "DEBUG" in written
    for secret in (LEGACY, refresh_token(), "r3fre5h", "acce55", SIGNATURE, PASSWORD):
        assert secret not in written
        assert secret not in page
        assert secret not in metrics
    assert all(auth is None or auth.startswith("Basic") for _, _, auth in bucket.requests)
