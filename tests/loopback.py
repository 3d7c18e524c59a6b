"""A small web server on loopback, to be Label Studio, a bucket, or somebody hostile."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

Reply = tuple[int, dict[str, str], bytes]
# Given the Authorization header and the body, what to answer.
Route = Callable[[str | None, bytes], Reply]


@dataclass
class Site:
    """Routes by path (with query), and a record of (method, path, Authorization)."""

    url: str
    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]


def always(status: int, body: bytes = b"", **headers: str) -> Route:
    return lambda _auth, _body: (status, headers, body)


def who_am_i(*tokens: str) -> Route:
    """Label Studio's answer to the question whose token this is."""
    user = json.dumps({"id": 1, "email": "ann@example.com", "username": "ann"}).encode()
    known = {f"Token {token}" for token in tokens} | {f"Bearer {token}" for token in tokens}
    refused: Reply = (401, {"Content_Type": "application/json"}, b'{"detail": "Invalid token."}')
    return lambda auth, _body: (200, {}, user) if auth in known else refused


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate that its server signed itself, for one name."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


@contextmanager
def dripping(before: bytes, drop: bytes, every_s: float = 0.2) -> Iterator[str]:
    """The address of a server that sends the first bytes at once, then a drop now and then."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(before)
            while not over.wait(every_s):
                connection.sendall(drop)

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=drip, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept, args=(listener,))]
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@contextmanager
def site(
    tls: ssl.SSLContext | None = None, port: int = 0, host: str = "127.0.0.1"
) -> Iterator[Site]:
    """A server that runs as long as the block does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            auth = self.headers.get("Authorization")
            served.requests.append((self.command, self.path, auth))
            served.headers.append({name.lower(): value for name, value in self.headers.items()})
            route = served.routes.get(self.path, always(404, b"no such page"))
            status, headers, content = route(auth, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # not everybody reads to the end
                self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    served = Site(f"{scheme}://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
