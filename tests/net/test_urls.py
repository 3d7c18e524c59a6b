"""What an address says is what is connected to, however oddly it is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from sam_backend.errors import Refusal
from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import resolve
from sam_backend.label_studio.access import LabelStudioAccess, TokenAuth
from sam_backend.net import guarded_http, urls
from sam_backend.net.addresses import IPAddress
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from tests.loopback import Site, always, site

SettingsOf = Callable[..., Settings]
IMAGE = "/data/upload/1/a.jpg"
TOKEN = "Token f00d"


@dataclass
class Two:
    """Label Studio, and a site of somebody else on another loopback address."""

    studio: Site
    other: Site

    def write(self, pattern: str) -> str:
        """An address from a pattern: `S` is Label Studio's host and port, `O` the other's."""
        studio, other = (it.url.removeprefix("http://") for it in (self.studio, self.other))
        return "".join({"S": studio, "O": other}.get(sign, sign) for sign in pattern)

    def forget(self) -> None:
        self.studio.requests.clear()
        self.other.requests.clear()


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with site() as studio, site(host="127.0.0.2") as other:
        studio.routes[IMAGE] = other.routes[IMAGE] = always(200, b"cat")
        yield Two(studio, other)


# Where parsers of addresses are known to differ.
ODD = [
    "\\", "/", "//", "@", ":", "#", "?", "%", "%40", "%2f", "%5c", "%23", "%00", "%09", "%0d%0a",
    "\t", "\n", "\r", "\0", " ", "\u00a0", "\u3000", "\u2028", ";", "&", "=", "[", "]", "[::1]",
    "[::ffff:127.0.0.2]", "[fe80::1%25lo]", "[::1%lo]", "::1", ".", "..", "%2e", "%2E%2e", "user",
    "user:pass", "127.0.0.1", "127.0.0.2", "127.1", "2130706433", "0x7f000002", "0177.0.0.2",
    "\uff11\uff12\uff17.0.0.2", "\u2488", "\uff0f", "\uff20", "\uff1a", "\uff03", "\uff1f",
    "\u3002", "localhost", "LOCALHOST", "b\u00fccher", "xn--", "\u00df", "\u200d", ":0", ":99999",
    ":080", ":", "http:", "HTTP://", "https://", "a", "\ud800", "|", "^", "`", "{", "}", "<", '"',
]  # fmt: skip
_PIECE = st.one_of(st.sampled_from(ODD), st.sampled_from("SO"))
PATTERN = st.builds(
    "{}{}{}".format,
    st.sampled_from(["http://", "http:", "HTTP://", "http:/", "//", "/", "http:\\\\", "\thttp://"]),
    st.lists(_PIECE, min_size=1, max_size=6).map("".join),
    st.sampled_from(["", IMAGE, "?" + IMAGE, "#" + IMAGE, "\\" + IMAGE]),
)
many = examples(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
_ENDS_AT_BACKSLASH = f"http://O\\@S{IMAGE}"


def fetch(two: Two, settings: Settings, value: str) -> None:
    access = LabelStudioAccess(settings)
    own = StudioConnection(two.studio.url, "f00d")
    with contextlib.suppress(Refusal):
        Fetcher(settings, access).fetch(resolve(value, "1", own, None))


@many
@given(PATTERN)
@example(_ENDS_AT_BACKSLASH)
def test_nothing_but_label_studio_is_reached_and_gets_the_token(
    two: Two, settings: SettingsOf, pattern: str
) -> None:
    two.forget()
    fetch(two, settings(LABEL_STUDIO_URL=two.studio.url), two.write(pattern))
    assert two.other.requests == []


@many
@given(PATTERN)
@example(_ENDS_AT_BACKSLASH)
def test_a_host_that_is_allowed_gets_no_token(two: Two, settings: SettingsOf, pattern: str) -> None:
    two.forget()
    allowed = settings(LABEL_STUDIO_URL=two.studio.url, ALLOWED_IMAGE_HOSTS="127.0.0.0/8")
    fetch(two, allowed, two.write(pattern))
    assert TOKEN not in {auth for _, _, auth in two.other.requests}


@many
@given(PATTERN)
@example(_ENDS_AT_BACKSLASH)
def test_a_redirect_leads_no_further_than_an_address(
    two: Two, settings: SettingsOf, pattern: str
) -> None:
    two.forget()
    location = two.write(pattern).encode(errors="surrogatepass").decode("latin-1")
    location = location.translate(dict.fromkeys(map(ord, "\r\n\0")))
    two.studio.routes["/data/upload/r"] = always(302, Location=location)
    fetch(two, settings(LABEL_STUDIO_URL=two.studio.url), "/data/upload/r")
    assert two.other.requests == []


@many
@given(PATTERN)
@example(_ENDS_AT_BACKSLASH)
def test_connections_go_to_the_host_in_the_address(two: Two, pattern: str) -> None:
    """The rule is asked about the host that `parse` found, and nothing else is connected to."""
    two.forget()
    url, judged = urls.parse(two.write(pattern)), []

    def rule(host: str, address: IPAddress) -> bool:
        judged.append(host.strip("[]").lower())
        return str(address) in ("127.0.0.1", "127.0.0.2")

    if url is None:
        return
    with contextlib.suppress(OSError, guarded_http.AddressRefused):
        guarded_http.session(rule).get(url.text, timeout=5, headers={"Connection": "close"})
    scheme, host, port = url.origin
    assert set(judged) <= {host}
    if two.studio.requests:
        assert (scheme, port) == ("http", int(two.studio.url.rsplit(":")[-1]))
    if two.other.requests:
        assert (scheme, port) == ("http", int(two.other.url.rsplit(":")[-1]))


@given(PATTERN)
def test_an_address_is_read_the_same_way_twice(pattern: str) -> None:
    url = urls.parse(pattern.replace("S", "studio.example:8080").replace("O", "o.example"))
    if url is not None:
        assert url.text.isascii()
        assert urls.parse(url.text) == url


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://Studio.Example/a.jpg", ("http", "studio.example", 80)),
        ("HTTPS://studio.example", ("https", "studio.example", 443)),
        ("https://studio.example:/a b.jpg", ("https", "studio.example", 443)),
        ("http://label_studio:08080/a\u00fc.jpg?d=a\\b#c", ("http", "label_studio", 8080)),
        ("http://b\u00fccher.example/", ("http", "xn--bcher-kva.example", 80)),
        ("http://[::1]:8080/", ("http", "::1", 8080)),
        ("http://ann:se%40same@studio.example/", ("http", "studio.example", 80)),
        ("http://studio.example/a@b:c", ("http", "studio.example", 80)),
        ("http://studio.example?u=http://x@y", ("http", "studio.example", 80)),
    ],
)
def test_addresses_as_people_write_them(text: str, origin: tuple[str, str, int]) -> None:
    assert urls.origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "http://a\\@b/", "http://a/b\\c", "http://a\t/", "http://a/\n", "\x00http://a/",
        " http://a/", "http://a b/", "http://a%2eb/", "http://a%00/", "http://[::1%25lo]/",
        "http://a:65536/", "http://a@b@c/", "http://a\u00a0/", "http://a\uff0fb/",
        "http:a/", "http:///a", "httpx://a/", "http://a/\ud800", "http://a/%2e%2e/b",
    ],
)  # fmt: skip
def test_an_ambiguous_address_is_refused(text: str) -> None:
    assert urls.parse(text) is None


def test_the_token_is_not_set_where_a_request_goes_elsewhere(two: Two) -> None:
    auth = TokenAuth(TOKEN, two.studio.url)
    for url in (two.other.url, two.studio.url.replace("http:", "https:"), "http://127.0.0.1:1"):
        with pytest.raises(requests.exceptions.InvalidURL, match="token"):
            requests.Request("GET", url, auth=auth).prepare()


def test_an_address_of_a_megabyte_is_refused_at_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("files")
    for head in (
        "/data/local-files/?d=",
        "/data/upload/",
        "http://studio.example/",
        "http://",
        "s3://b/",
        "http://a@",
    ):
        for piece in ("a/", "../", "%2e%2e/", "@", "\\", "%25", "&d=a", "\u00fc", "[", ":"):
            value = head + piece * (1_000_000 // len(piece))
            started = time.process_time()
            with pytest.raises(Refusal) as refused:
                resolve(value, "1", StudioConnection("http://studio.example", None), root)
            assert time.process_time() - started < 2  # it takes a hundredth of a second
            assert len(str(refused.value)) < 400
