"""Where a task's image is said to be, and what hosts answer."""

from __future__ import annotations

import zlib

from tests.fuzz.costs.family import (
    PICTURE,
    Draw,
    Made,
    click,
    clicked_or_opened,
    family,
    post,
    task,
)
from tests.fuzz.costs.regions import png
from tests.loopback import Reply


@family("address: long", goes_on=True)
def _long(draw: Draw) -> Made:
    start = draw.one_of(
        "http://10.0.0.1/",
        "https://10.0.0.1/?",
        "s3://b/",
        "gs://",
        "azure-blob://",
        "/data/upload/",
        "/",
        "//",
        "data:",
        "ftp://",
        "http://",
        "http://user:",
        "/tasks/1/resolve/?fileuri=",
        "",
    )
    piece = draw.one_of(
        "x", "/", "../", "%2e", "?", "#", "@", "\\", ":", "[", "é", " ", "a=b&", "."
    )
    return clicked_or_opened(draw, [task(start + piece * (draw.size // len(piece) // 2))])


@family("address: local files of many segments", goes_on=True)
def _local(draw: Draw) -> Made:
    piece = draw.one_of("a/", "../", "./", "/", "%2F", "a%2F..%2F", "&d=", "x", "%", ";", "é")
    name = piece * (draw.size // len(piece) // 2)
    return clicked_or_opened(draw, [task("/data/local-files/?d=" + name)])


@family("address: a host of many forms", goes_on=True)
def _hosts(draw: Draw) -> Made:
    piece = draw.one_of(
        "a.", "1.", "é.", "xn--", "%41", "::", "0", "-", "@", "user:pass@", "\u3002"
    )
    host = piece * draw.one_of(3, 60, 300, draw.size // len(piece) // 2)
    address = draw.one_of("http://{}10.0.0.1/", "http://[{}]/", "http://10.0.0.1:{}/", "//{}/")
    return clicked_or_opened(draw, [task(address.format(host))])


@family("address: data URLs that hold no picture", goes_on=True)
def _data(draw: Draw) -> Made:
    head = draw.one_of(
        "data:image/png;base64,", "data:,", "data:;base64,", "data:x" + ";a=b" * 5000 + ","
    )
    piece = draw.one_of("A", "=", "\n", "%41", "é", "A===", " ", "/9j/", "iVBORw0K")
    return clicked_or_opened(draw, [task(head + piece * (draw.size // len(piece) // 2))])


@family("address: no text", goes_on=True)
def _no_text(draw: Draw) -> Made:
    value: object = draw.one_of(
        ["x"] * (draw.size // 4),
        {"a": "x" * draw.size},
        10**18,
        None,
        True,
        [[]] * (draw.size // 3),
    )
    return clicked_or_opened(draw, [task(value)])


def _answered(draw: Draw, reply: Reply, name: str = "") -> Made:
    """An image on a host that answers like this."""
    path = f"/{name or draw.dice.randrange(10**12)}"
    draw.site.routes.clear()  # of cases before
    draw.site.routes[path] = lambda _auth, _body: reply
    return clicked_or_opened(draw, [task(draw.site.url + path)])


@family("host: packed answers", goes_on=True)
def _packed(draw: Draw) -> Made:
    kind = draw.one_of("gzip", "deflate", "gzip, gzip", "br")
    return _answered(draw, (200, {"Content-Encoding": kind}, _zeros(draw.size, kind)))


def _zeros(size: int, kind: str) -> bytes:
    """So many bytes, packed, of a thousand times as many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    start = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" if "gzip" in kind else b"\x78\xda"
    return start + block * (size // len(block))


@family("host: headers in number", goes_on=True)
def _headers(draw: Draw) -> Made:
    long = draw.one_of("x", "é", "a=b;", ",") * min(draw.size, 60_000)
    headers = {f"X_{n}": "x" * 100 for n in range(90)} | {"ETag": long, "Content_Type": long[:5000]}
    return _answered(draw, (200, headers, png(8, 8, 2, 8)))


@family("host: redirects", goes_on=True)
def _redirects(draw: Draw) -> Made:
    target = draw.one_of(
        "/again", "http://10.0.0.1/", "//[", "/" + "x" * 50_000, "\\\\a@b/", "data:,"
    )
    path = draw.one_of("again", "")
    return _answered(draw, (draw.one_of(301, 302, 308, 303), {"Location": target}, b""), path)


@family("host: pages and errors", goes_on=True)
def _pages(draw: Draw) -> Made:
    status, kind = (
        draw.one_of(200, 206, 304, 401, 404, 500),
        draw.one_of("text/html", "image/png", ""),
    )
    return _answered(draw, (status, {"Content_Type": kind}, b"<p>" * (draw.size // 3)))


@family("host: a Label Studio that answers much", goes_on=True)
def _studio(draw: Draw) -> Made:
    """The answer to the question whose token this is, or to a token's refresh."""
    kind = draw.one_of("gzip", "identity")
    content = draw.one_of(b"[" * draw.size, b'{"id":1,"x":"' + b"x" * draw.size, b"9" * draw.size)
    body = _zeros(draw.size, kind) if kind == "gzip" else content
    reply: Reply = (draw.one_of(200, 401, 302), {"Content_Encoding": kind, "Location": "/"}, body)
    draw.site.routes.clear()
    for path in ("/api/current-user/whoami", "/api/token/refresh/", "/api/version", "/x.png"):
        draw.site.routes[path] = lambda _auth, _body: reply
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.x"
    token = draw.one_of("0" * 40, jwt)
    setup = {
        "project": "1.1",
        "hostname": draw.site.url,
        "access_token": token,
        "schema": "<View/>",
    }
    return post("/setup", setup), click(
        [task(draw.one_of("/x.png", draw.site.url + "/x.png", PICTURE))]
    )
