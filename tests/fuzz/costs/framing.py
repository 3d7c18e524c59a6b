"""HTTP itself: request lines, headers, chunks; by who has no password as well."""

from __future__ import annotations

import base64

from tests.fuzz.costs.family import PASSWORD, Draw, Made, family, request

_GET = ("/", "/health", "/metrics", "/openapi.json", "/versions", "/nowhere")
_POST = ("/webhook", "/predict", "/setup", "/health", "/nowhere")


def _password(draw: Draw) -> str | None:
    password: str | None = draw.one_of(None, PASSWORD)
    return password


@family("HTTP: headers in number", cut_off=True)
def _headers(draw: Draw) -> Made:
    names = draw.one_of(
        lambda n: f"X-{n}", lambda _n: "X", lambda _n: "Cookie", lambda _n: "Accept"
    )
    value = draw.one_of("", "x", "a=b; c=d", "*/*;q=0.5,text/html")
    count = min(draw.size // 12, draw.one_of(50, 90, 10**6))
    lines = "".join(f"{names(n)}: {value}\r\n" for n in range(count))
    return f"GET {draw.one_of(*_GET)} HTTP/1.1\r\nHost: sam\r\n{lines}\r\n".encode()


@family("HTTP: long headers", cut_off=True)
def _long_headers(draw: Draw) -> Made:
    name = draw.one_of(
        "Accept",
        "Cookie",
        "Authorization",
        "Content-Type",
        "Host",
        "X-Forwarded-For",
        "Range",
        "If-None-Match",
        "Content-Length",
        "Transfer-Encoding",
        "Accept-Language",
        "Forwarded",
    )
    piece = draw.one_of(
        "x", "a/b,", "a=b;", ";", ",", '"', "\\", "text/html;q=0.1,", "1", "chunked,"
    )
    long = piece * (min(draw.size, draw.one_of(4000, 8100, 10**6)) // len(piece))
    method = draw.one_of("GET", "POST")
    headers = [(name, long)]
    return request(
        draw.one_of(*_GET, *_POST), method=method, headers=headers, password=_password(draw)
    )


@family("HTTP: long request lines", cut_off=True)
def _lines(draw: Draw) -> Made:
    piece = draw.one_of("x", "/", "%41", "../", "?", "a=b&", "é", "%", "//", ";")
    long = piece * (min(draw.size, draw.one_of(1000, 3900, 10**6)) // len(piece))
    route = draw.one_of("/", "/predict/", "/health?", "http://x/") + long
    return request(
        route.encode("utf-8").decode("latin-1"), method=draw.one_of("GET", "POST", long[:50])
    )


@family("HTTP: passwords of every form", cut_off=True)
def _authorization(draw: Draw) -> Made:
    word = draw.one_of("a", ":", "é", "\x00") * min(draw.size, 5000)
    value = draw.one_of(
        "Basic " + base64.b64encode(word.encode()).decode()[:8000],
        "Basic " + "=" * 8000,
        "Digest " + 'a="b",' * 1200,
        "Bearer " + "x" * 8000,
        "Basic",
        "",
    )
    return request(draw.one_of(*_GET, *_POST), headers=[("Authorization", value)], password=None)


def _chunked(draw: Draw, content: bytes) -> Made:
    headers = [("Transfer-Encoding", "chunked"), ("Content-Length", "")]
    return request(draw.one_of(*_POST), headers=headers, password=_password(draw)) + content


@family("HTTP: small chunks", cut_off=True)
def _chunks(draw: Draw) -> Made:
    one = draw.one_of(b"1\r\n[\r\n", b"1\r\n \r\n", b"0001\r\n{\r\n", b"2\r\n1,\r\n")
    return _chunked(draw, one * draw.many(one) + draw.one_of(b"0\r\n\r\n", b""))


@family("HTTP: chunks with extensions and trailers", cut_off=True)
def _extensions(draw: Draw) -> Made:
    content = draw.one_of(
        b"1;" + b"x" * draw.size + b"\r\n1\r\n0\r\n\r\n",
        b"1;a=b;c=d\r\n1\r\n" * (draw.size // 14) + b"0\r\n\r\n",
        b"1\r\n1\r\n0\r\n" + b"X: y\r\n" * (draw.size // 6) + b"\r\n",
        b"1\r\n1\r\n0\r\nX: " + b"y" * draw.size + b"\r\n\r\n",
        b"0" * draw.size + b"1\r\n1\r\n0\r\n\r\n",
    )
    return _chunked(draw, content)


@family("HTTP: malformed chunks", cut_off=True)
def _malformed(draw: Draw) -> Made:
    start = draw.one_of(
        b"zz\r\n",
        b"-1\r\n",
        b"ffffffffffffffffff\r\n",
        b"\r\n",
        b"1\r\nxx",
        b"1_0\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1\n1\n",
        b"+1\r\n1\r\n",
        b"",
    )
    return _chunked(draw, start + b"x" * (draw.size // 2) + draw.one_of(b"", b"\r\n0\r\n\r\n"))


@family("HTTP: lengths of every form", cut_off=True)
def _lengths(draw: Draw) -> Made:
    length = draw.one_of(
        "-1", "1e9", "99999999999999", "0", "9" * 4000, " 5", "5,5", "+5", "x", "10000000"
    )
    more = draw.one_of(
        [], [("Transfer-Encoding", "chunked")], [("Transfer-Encoding", "gzip, chunked")]
    )
    headers = [("Content-Length", length), *more]
    route = draw.one_of(*_POST)
    return request(route, headers=headers, password=_password(draw)) + b"[" * (draw.size // 2)


@family("HTTP: a body that is cut off", cut_off=True)
def _cut_off(draw: Draw) -> Made:
    whole = request(draw.one_of(*_POST), b"[" * draw.size, password=_password(draw))
    return whole[: draw.dice.randrange(1, len(whole))]


@family("HTTP: methods and versions", cut_off=True)
def _methods(draw: Draw) -> Made:
    method = draw.one_of(
        "HEAD", "PUT", "OPTIONS", "DELETE", "TRACE", "CONNECT", "PRI", "get", "X" * 30
    )
    version = draw.one_of("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "", "HTTP/1.1 x")
    more = draw.one_of("Expect: 100-continue", "Upgrade: h2c", "Connection: keep-alive", "X: y")
    body = b"x" * draw.size
    lines = [f"{method} {draw.one_of(*_GET)} {version}", "Host: sam", more]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@family("HTTP: requests behind each other", cut_off=True)
def _pipelined(draw: Draw) -> Made:
    route = draw.one_of(b"/health", b"/nowhere", b"/metrics")
    one = b"GET %b HTTP/1.1\r\nHost: sam\r\n\r\n" % route
    return one * min(draw.many(one), 200)


@family("HTTP: what is no HTTP", cut_off=True)
def _junk(draw: Draw) -> Made:
    junk: bytes = draw.one_of(
        draw.dice.randbytes(draw.size),
        b"\r\n" * (draw.size // 2),
        b"\x16\x03\x01" + bytes(draw.size),
        b"GET " * (draw.size // 4),
        b"GET / HTTP/1.1\n" * (draw.size // 15),
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    )
    return junk


@family("HTTP: many languages and types wanted", cut_off=True)
def _accept(draw: Draw) -> Made:
    count = min(draw.size // 12, 500)
    kinds = draw.one_of(
        lambda n: f"a{n}/b;q=0.{n}",
        lambda _n: "text/html",
        lambda n: f"*/*;a={n}",
        lambda _n: ";q=1",
    )
    accept = ",".join(kinds(n) for n in range(count))[:8000]
    return request("/", method="GET", headers=[("Accept", accept)])
