"""Where images may be fetched from: what a hostile task, redirect or name server cannot reach."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_backend.errors import Refusal
from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import resolve
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from tests.loopback import Site, always, certificate, site

SettingsOf = Callable[..., Settings]


@pytest.fixture
def bucket() -> Iterator[Site]:
    with site() as served:
        served.routes["/data/upload/1/a.jpg"] = always(200, b"cat")
        yield served


def fetch(settings: Settings, url: str, label_studio: StudioConnection | None = None) -> bytes:
    access = LabelStudioAccess(settings)
    return Fetcher(settings, access).fetch(resolve(url, "1", label_studio, None)).content


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "[::ffff:127.0.0.1]",
    ],
)
def test_loopback_is_refused_however_it_is_written(
    host: str, bucket: Site, settings: SettingsOf
) -> None:
    port = bucket.url.rsplit(":", 1)[1]
    with pytest.raises(Refusal, match=r"private address .*ALLOWED_IMAGE_HOSTS"):
        fetch(settings(), f"http://{host}:{port}/a.jpg")
    assert bucket.requests == []


def test_a_number_is_refused_before_a_request_is_made(
    settings: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch may name one in thousands of tasks, and a request takes a millisecond to prepare."""

    def prepared(*_: object, **__: object) -> None:
        raise AssertionError("a request was prepared")

    monkeypatch.setattr("requests.Session.get", prepared)
    for host in ("10.0.0.1", "127.0.0.1:80", "[::1]", "169.254.169.254"):
        with pytest.raises(Refusal, match="is on a private address"):
            fetch(settings(), f"http://{host}/a.jpg")


def test_an_allowed_address_is_fetched(bucket: Site, settings: SettingsOf) -> None:
    assert (
        fetch(settings(ALLOWED_IMAGE_HOSTS="127.0.0.0/8"), bucket.url + "/data/upload/1/a.jpg")
        == b"cat"
    )
    by_name = bucket.url.replace("127.0.0.1", "localhost") + "/data/upload/1/a.jpg"
    assert fetch(settings(ALLOWED_IMAGE_HOSTS="localhost"), by_name) == b"cat"


def test_label_studio_itself_needs_no_permission(bucket: Site, settings: SettingsOf) -> None:
    own = StudioConnection(bucket.url, None)
    assert fetch(settings(LABEL_STUDIO_URL=bucket.url), "/data/upload/1/a.jpg", own) == b"cat"


def test_redirects_are_checked_at_each_hop(bucket: Site, settings: SettingsOf) -> None:
    """Also those of Label Studio: its cloud storage may be in the same network, or pretend so."""
    allowed = settings(ALLOWED_IMAGE_HOSTS="127.0.0.1")
    studio = settings(LABEL_STUDIO_URL=bucket.url)
    for target in ("http://169.254.169.254/latest/", "http://[::1]:1/", "http://10.0.0.5/x"):
        bucket.routes["/data/upload/1/r"] = always(302, Location=target)
        with pytest.raises(Refusal, match="private address"):
            fetch(allowed, bucket.url + "/data/upload/1/r")
        with pytest.raises(Refusal, match="private address"):
            fetch(studio, "/data/upload/1/r", StudioConnection(bucket.url, "f00d"))


def test_a_bucket_beside_label_studio_is_named_as_it_must_be_allowed(
    bucket: Site, settings: SettingsOf
) -> None:
    with site() as studio:
        link = "/tasks/1/resolve/?fileuri=czM6Ly9iL2EuanBn"
        studio.routes[link] = always(
            303, Location=bucket.url + "/data/upload/1/a.jpg?X-Amz-Signature=s3cret"
        )
        bucket.routes["/data/upload/1/a.jpg?X-Amz-Signature=s3cret"] = always(200, b"cat")
        own = StudioConnection(studio.url, "f00d")
        with pytest.raises(Refusal, match=r"\(127\.0\.0\.1\): add 127\.0\.0\.1 to ALLOWED_IMAGE"):
            fetch(settings(LABEL_STUDIO_URL=studio.url), "s3://b/a.jpg", own)
        allowed = settings(LABEL_STUDIO_URL=studio.url, ALLOWED_IMAGE_HOSTS="127.0.0.1")
        assert fetch(allowed, "s3://b/a.jpg", own) == b"cat"
        assert bucket.requests[0][2] is None  # the token stays at Label Studio


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/", "http://[x", ""]
)
def test_redirects_lead_to_the_web_alone(target: str, bucket: Site, settings: SettingsOf) -> None:
    bucket.routes["/data/upload/1/r"] = always(302, Location=target)
    with pytest.raises(Refusal, match=r"invalid web address|over 5 times"):
        fetch(settings(ALLOWED_IMAGE_HOSTS="127.0.0.1"), bucket.url + "/data/upload/1/r")


def test_redirects_end(bucket: Site, settings: SettingsOf) -> None:
    bucket.routes["/data/upload/1/r"] = always(302, Location="/data/upload/1/r")
    with pytest.raises(Refusal, match="redirects over 5 times"):
        fetch(settings(ALLOWED_IMAGE_HOSTS="127.0.0.1"), bucket.url + "/data/upload/1/r")
    assert len(bucket.requests) == 6


def test_label_studio_moved_to_https(bucket: Site, settings: SettingsOf) -> None:
    bucket.routes["/data/upload/1/a.jpg"] = always(
        301, Location=bucket.url.replace("http:", "https:") + "/data/upload/1/a.jpg"
    )
    with pytest.raises(Refusal, match="redirects to https: set LABEL_STUDIO_URL"):
        fetch(
            settings(LABEL_STUDIO_URL=bucket.url),
            "/data/upload/1/a.jpg",
            StudioConnection(bucket.url, "f00d"),
        )


def names(monkeypatch: pytest.MonkeyPatch, answers: Callable[[], list[str]]) -> None:
    """A name server that knows `pictures.example`; everything else is as before."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if host != "pictures.example":
            return real(host, port, *args, **kwargs)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers()
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_name_that_resolves_to_another_address_each_time(
    bucket: Site, settings: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is connected to is what was checked: nobody asks the name server again in between."""
    asked: list[None] = []

    def answers() -> list[str]:
        asked.append(None)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    names(monkeypatch, answers)
    url = bucket.url.replace("127.0.0.1", "pictures.example") + "/data/upload/1/a.jpg"
    with pytest.raises(Refusal, match="cannot be fetched"):  # nobody listens on 127.0.0.2
        fetch(settings(ALLOWED_IMAGE_HOSTS="127.0.0.2"), url)
    assert len(asked) == 1
    with pytest.raises(Refusal, match=r"\(pictures\.example, 127\.0\.0\.1\)"):
        fetch(settings(ALLOWED_IMAGE_HOSTS="127.0.0.2"), url)
    assert bucket.requests == []


def test_a_connection_that_is_still_open_is_judged_again(
    bucket: Site, settings: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = ["127.0.0.1"]
    names(monkeypatch, lambda: now)
    ours = settings(ALLOWED_IMAGE_HOSTS="127.0.0.1")
    fetcher = Fetcher(ours, LabelStudioAccess(ours))
    url = bucket.url.replace("127.0.0.1", "pictures.example") + "/data/upload/1/a.jpg"
    assert fetcher.fetch(resolve(url, "1", None, None)).content == b"cat"
    now[:] = ["10.0.0.5"]
    with pytest.raises(Refusal, match="private address"):
        fetcher.fetch(resolve(url, "1", None, None))
    assert len(bucket.requests) == 1


def test_the_host_is_asked_by_its_name(
    bucket: Site, settings: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, lambda: ["127.0.0.1"])
    url = bucket.url.replace("127.0.0.1", "Pictures.example") + "/data/upload/1/a.jpg"
    assert fetch(settings(ALLOWED_IMAGE_HOSTS="127.0.0.1"), url) == b"cat"
    assert bucket.headers[0]["host"] == url.split("/")[2].lower()


def test_of_several_addresses_only_those_that_are_allowed(
    bucket: Site, settings: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, lambda: ["10.255.255.1", "127.0.0.2", "127.0.0.1"])
    url = bucket.url.replace("127.0.0.1", "pictures.example") + "/data/upload/1/a.jpg"
    assert fetch(settings(ALLOWED_IMAGE_HOSTS="127.0.0.0/8"), url) == b"cat"


def test_a_name_that_nobody_knows(settings: SettingsOf) -> None:
    for host in ("no-such-host.invalid", "a" * 64 + ".example", "a..b", "." * 3):
        with pytest.raises(Refusal):
            fetch(settings(), f"http://{host}/a.jpg")


def test_a_proxy_connects_where_names_are_its_own(
    bucket: Site, settings: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.routes["http://pictures.invalid/a.jpg"] = always(200, b"cat")
    bucket.routes["http://10.0.0.5/a.jpg"] = always(200, b"secret")
    monkeypatch.setenv("HTTP_PROXY", bucket.url)
    monkeypatch.setenv("http_proxy", bucket.url)
    assert fetch(settings(), "http://pictures.invalid/a.jpg") == b"cat"
    with pytest.raises(Refusal, match="private address"):
        fetch(settings(), "http://10.0.0.5/a.jpg")


def test_a_certificate_that_nobody_here_knows(
    settings: SettingsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    cert, context = certificate(tmp_path, "localhost")
    with site(context) as studio:
        studio.routes["/data/upload/1/a.jpg"] = always(200, b"cat")
        url = studio.url.replace("127.0.0.1", "localhost")
        ours, own = settings(LABEL_STUDIO_URL=url), StudioConnection(url, "f00d")
        with pytest.raises(Refusal, match=r"certificate is not trusted here.*REQUESTS_CA_BUNDLE"):
            fetch(ours, "/data/upload/1/a.jpg", own)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
        assert fetch(ours, "/data/upload/1/a.jpg", own) == b"cat"
        by_number = settings(LABEL_STUDIO_URL=studio.url)
        with pytest.raises(Refusal, match="certificate"):  # it is for the name alone
            fetch(by_number, "/data/upload/1/a.jpg", StudioConnection(studio.url, "f00d"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
        with pytest.raises(Refusal, match=r"gone\.pem"):
            fetch(ours, "/data/upload/1/a.jpg", own)


@pytest.mark.parametrize(
    "value",
    [
        "http://",
        "http:///a.jpg",
        "http://[",
        "http://[::1",
        "http://host:port/a.jpg",
        "http://host:99999/a.jpg",
        "http://ho st/a.jpg",
        "http://\u0000/a.jpg",
        "http://\ud800/a.jpg",
        "http://xn--/a.jpg",
        "//[",
        "gopher://127.0.0.1/a",
        "file:///etc/passwd",
        "dict://127.0.0.1:11211/stats",
        "\\\\server\\share\\a.jpg",
    ],
)
def test_strange_addresses_are_refused(value: str, settings: SettingsOf) -> None:
    with pytest.raises(Refusal) as refused:
        fetch(settings(), value)
    assert "\n" not in str(refused.value)


def test_messages_hold_no_password(settings: SettingsOf) -> None:
    with pytest.raises(Refusal) as refused:
        fetch(settings(), "http://ann:s3cret@127.0.0.1:1/a.jpg?sig=s3cret")
    assert "s3cret" not in str(refused.value)
    assert "127.0.0.1:1/a.jpg" in str(refused.value)


def test_a_password_in_the_address_goes_to_that_host_alone(
    bucket: Site, settings: SettingsOf
) -> None:
    with site() as other:
        other.routes["/data/upload/1/b.jpg"] = always(200, b"dog")
        bucket.routes["/data/upload/1/r"] = always(302, Location=other.url + "/data/upload/1/b.jpg")
        allowed = settings(ALLOWED_IMAGE_HOSTS="127.0.0.1")
        url = bucket.url.replace("//", "//ann:sesame@")
        assert fetch(allowed, url + "/data/upload/1/a.jpg") == b"cat"
        assert fetch(allowed, url + "/data/upload/1/r") == b"dog"
        assert [auth for _, _, auth in bucket.requests] == ["Basic YW5uOnNlc2FtZQ=="] * 2
        assert [auth for _, _, auth in other.requests] == [None]
