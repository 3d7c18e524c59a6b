"""Questions to a Redis server that answers, is slow, is full, is gone, or is none."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from sam_backend.errors import SettingsError
from sam_backend.machines import common_store, opening
from sam_backend.machines.common_store import Alone, CommonStore
from sam_backend.settings import Settings
from tests import redis_server
from tests.loopback import certificate, dripping
from tools.soak.redis_server import RedisServer

Opened = Callable[..., CommonStore]

STUDIO = {"LABEL_STUDIO_URL": "http://studio.example"}


def settings(**environ: str) -> Settings:
    return Settings.from_environment(STUDIO | environ)


def put(store: CommonStore, value: bytes) -> None:
    store.ask(lambda redis: redis.set("a", value))


def get(store: CommonStore) -> object:
    return store.ask(lambda redis: redis.get("a"))


def is_alone(store: CommonStore) -> bool:
    try:
        get(store)
    except Alone:
        return True
    return False


def fits(store: CommonStore, key: str) -> bool:
    """Whether the server takes a megabyte."""
    try:
        store.ask(lambda redis: redis.set(key, bytes(1 << 20)), 60.0)
    except Alone:
        return False
    return True


@pytest.fixture
def store(opened: Opened, server: RedisServer) -> CommonStore:
    return opened(server.url)


def test_it_keeps_values(store: CommonStore) -> None:
    put(store, b"value")
    assert get(store) == b"value"
    assert store.state.startswith("connected to 127.0.0.1:")


def test_a_hung_server_costs_little_and_is_asked_again(
    server: RedisServer,
    store: CommonStore,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    patient: float,
) -> None:
    monkeypatch.setattr(store._breaker, "_pause_s", 0.2)
    put(store, b"value")
    server.hang()
    with caplog.at_level(logging.WARNING):
        began = time.monotonic()
        with monkeypatch.context() as hurried:
            hurried.setattr(common_store, "ANSWER_S", patient)
            assert all(is_alone(store) for _ in range(1000))
        assert time.monotonic() - began < 25  # a thousand times 50 ms are 50 s
        assert "this machine goes on alone" in store.state
        server.go_on()
        time.sleep(0.3)
        assert get(store) == b"value"
    assert "goes on alone" in caplog.messages[0]
    assert "answers again" in caplog.messages[-1]
    assert len(caplog.messages) == 2
    assert store.state.startswith("connected")


def test_a_killed_and_restarted_server(
    server: RedisServer, store: CommonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._breaker, "_pause_s", 0.1)
    put(store, b"value")
    server.kill()
    assert all(is_alone(store) for _ in range(10))
    server.start()
    time.sleep(0.2)
    assert get(store) is None
    server.restart()  # faster than anybody asks
    assert get(store) is None
    assert not is_alone(store)


def test_a_full_server_still_answers(
    opened: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    with redis_server.running(tmp_path, *options) as server:
        store = opened(server.url)
        put(store, b"small")
        with caplog.at_level(logging.WARNING):
            kept = [fits(store, f"x{number}") for number in range(20)]
        assert not kept[-1]
        assert get(store) == b"small"
        assert "refused a value" in store.state
    assert len(caplog.messages) == 1


@pytest.mark.usefixtures("hurried")
def test_a_server_that_drips_its_answer(opened: Opened) -> None:
    """The time limit is for the whole answer."""
    with dripping(b"$1000\r\n", b"x", 0.01) as url:
        store = opened(url.replace("http", "redis"))
        began = time.monotonic()
        assert is_alone(store)
        assert time.monotonic() - began < 5  # a thousand times 10 ms are 10 s


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n", b"$-7\r\n", b"*3\r\n$1\r\n", b"$x\r\n", b"", b"*1\r\n" * 5000]
)
def test_a_server_that_is_none(opened: Opened, answer: bytes) -> None:
    with dripping(answer, b"\0", 0.01) as url:
        assert is_alone(opened(url.replace("http", "redis")))


@pytest.mark.usefixtures("hurried")
def test_a_name_that_takes_long_to_look_up(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    real, may_answer, answered = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(*args: object, **kwargs: object) -> object:
        may_answer.wait(20)
        answered.set()
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert is_alone(opened("redis://localhost:1"))
    assert not answered.is_set()
    may_answer.set()


def test_a_password(opened: Opened, tmp_path: Path) -> None:
    with redis_server.running(tmp_path, "--requirepass", redis_server.PASSWORD) as server:
        right = opened(f"redis://:se%2Fcret@127.0.0.1:{server.port}")
        put(right, b"value")
        assert get(right) == b"value"
        wrong = opened(f"redis://:wrong@127.0.0.1:{server.port}")
        assert all(is_alone(wrong) for _ in range(5))
        assert "wrong" not in wrong.state
        assert "secret" not in right.state


def test_tls_with_the_certificate_of_the_organisation(opened: Opened, tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path, "localhost")
    options = ["--tls-port", "0", "--tls-cert-file", str(cert)]
    options += ["--tls-key-file", str(tmp_path / "key.pem"), "--tls-auth-clients", "no"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options[1] = str(port)
    with redis_server.running(tmp_path, *options):
        trusting = opened(f"rediss://localhost:{port}", str(cert))
        trusting.ask(lambda redis: redis.set("a", b"value"), 60.0)  # the first one takes a moment
        assert get(trusting) == b"value"
        other = opened(f"rediss://localhost:{port}")
        with pytest.raises(Alone):
            other.ask(lambda redis: redis.get("a"), 60.0)


def test_keys_name_the_deployment_and_hide_what_requests_say() -> None:
    one = opening.opened(settings(CACHE_URL="redis://host"))
    other = opening.opened(settings(CACHE_URL="redis://host", LABEL_STUDIO_URL="http://b.example"))
    assert one is not None
    assert other is not None
    assert one.key("task", "a\nb") != other.key("task", "a\nb")
    assert one.key("task", "ab", "c") != one.key("task", "a", "bc")
    assert one.key("task", "secret project").startswith("sam:")
    assert "secret" not in one.key("task", "secret project")


def test_without_an_address_there_is_none() -> None:
    assert opening.opened(settings()) is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"CACHE_URL": "http://host"}, "CACHE_URL is not an address like redis://"),
        ({"CACHE_URL": "redis://"}, "CACHE_URL is not an address like redis://"),
        ({"CACHE_URL": "redis://host:x"}, "CACHE_URL is not an address like redis://"),
        ({"CACHE_URL": "redis://host?socket_timeout=9"}, "can have these options: ssl_ca_certs"),
        ({"CACHE_URL": "redis://host", "LABEL_STUDIO_URL": ""}, "without LABEL_STUDIO_URL"),
    ],
)
def test_a_bad_address_stops_the_start(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**environ)


def test_a_missing_package_stops_the_start() -> None:
    with (
        patch("importlib.util.find_spec", return_value=None),
        pytest.raises(SettingsError, match="pip install redis"),
    ):
        opening.check(settings(CACHE_URL="redis://host"))
