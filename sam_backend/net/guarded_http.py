"""HTTP to places that are not trusted: to checked addresses alone, and never for too long.

An address is checked where the connection is made, on the very address that is connected to: what
a name resolved to earlier or resolves to later does not matter, and each redirect is checked too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from sam_backend.net import urls
from sam_backend.net.addresses import IPAddress

# Whether the host of this name may be connected to at this address.
Rule = Callable[[str, IPAddress], bool]

_CHUNK = 1 << 16
_MOST_ADDRESSES = 4  # tried for one name; each takes until its time limit where nobody answers


class AddressRefused(Exception):
    """The rule permits none of a host's addresses."""

    def __init__(self, host: str, address: IPAddress) -> None:
        super().__init__(f"{host} ({address})")
        self.host = host
        self.address = address


class TooLarge(Exception):
    """A body has more bytes than may be."""


class Overdue(OSError):
    """A deadline came before the end of its block."""


def body(response: requests.Response, most: int) -> bytes:
    """The body of an answer, unpacked; TooLarge as soon as it is over so many bytes."""
    return b"".join(chunks(response, most))


def chunks(response: requests.Response, most: int) -> Iterator[bytes]:
    """The body piece by piece. An answer of a megabyte may unpack to a thousand times as much."""
    left = most
    for chunk in response.iter_content(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise TooLarge
        yield chunk


class Deadline:
    """Ends what this thread's connections do within the block, when its time is over: Overdue.

    A body without a length seems to end where the connection was ended, so nothing that comes out
    of the block later is believed, be it an answer or an error.

    The time limits of a socket are between bytes: who sends one now and then gets around them.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._token: Token[Deadline | None] | None = None

    def __enter__(self) -> Deadline:
        self._token = _current.set(self)
        self._timer.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
        self._timer.cancel()
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()
        if self.is_over and (error is None or isinstance(error, Exception)):
            raise Overdue(f"not done within {self.seconds:g} s") from error

    def watch(self, sock: socket.socket) -> None:
        """A descriptor of our own, for the connection may wrap its socket or let go of it."""
        with self._lock:
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
        if self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):  # not connected any more
                    sock.shutdown(socket.SHUT_RDWR)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def session(rule: Rule) -> requests.Session:
    """A session that connects only where the rule permits it, and keeps no cookies.

    A proxy that the environment names is used: then it connects, and what it reaches is up to it;
    names that resolve here are checked before.
    """
    made = _Session()
    made.headers["Accept-Encoding"] = "identity"  # who packs all the same is unpacked, to a limit
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter(rule))
    return made


class _Session(requests.Session):
    def get_redirect_target(self, _response: requests.Response) -> None:
        """Whoever asks follows redirects; requests would read their whole bodies, however long."""


class _Adapter(HTTPAdapter):
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        super().__init__(pool_maxsize=32)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use(self.poolmanager, self._rule)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if type(manager) is ProxyManager:  # a SOCKS proxy has connections of its own kind
            _use(manager, None)
        return manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> Any:
        """The connections for a request: to the host that was judged, and to no other."""
        url = urls.parse(request.url or "")
        if url is None or url.text != request.url:
            raise requests.exceptions.InvalidURL("this could be read as more than one address")
        if select_proxy(url.text, kwargs.get("proxies")):
            with contextlib.suppress(socket.gaierror):  # only the proxy knows that name
                _permitted(url.origin[1], 0, self._rule)
        pool: Any = super().get_connection_with_tls_context(request, *args, **kwargs)
        if pool.proxy is None and (pool.scheme, pool.host, pool.port) != url.origin:
            raise requests.exceptions.InvalidURL("the client reads this address in another way")
        return pool


def _use(manager: PoolManager, rule: Rule | None) -> None:
    class Plain(_PlainConnection):
        permits = None if rule is None else staticmethod(rule)

    class Secure(_SecureConnection):
        permits = None if rule is None else staticmethod(rule)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


class _Checked(HTTPConnection):
    permits: Rule | None = None  # None: to a proxy

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        if self.permits is None:
            return _watched(super()._new_conn())
        try:
            addresses = _permitted(name, self.port or 0, self.permits)
        except socket.gaierror as error:
            raise NewConnectionError(self, f"{name} cannot be resolved: {error}") from error
        for address in addresses[:-1]:
            with contextlib.suppress(NewConnectionError, ConnectTimeoutError):
                return self._connected(address)
        return self._connected(addresses[-1])

    def _connected(self, address: IPAddress) -> socket.socket:
        name = self._dns_host
        # An address resolves to itself. TLS and the Host header go on with the name.
        self._dns_host = str(address)
        try:
            return _watched(super()._new_conn())
        finally:
            self._dns_host = name

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # kept open since an earlier request
            _watched(self.sock)
        super().request(*args, **kwargs)


class _PlainConnection(_Checked):
    pass


class _SecureConnection(_Checked, HTTPSConnection):
    pass


def _permitted(name: str, port: int, rule: Rule) -> list[IPAddress]:
    """The addresses of a host that may be connected to; AddressRefused if there are none."""
    try:
        found = socket.getaddrinfo(name.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of the name is empty or too long
        raise socket.gaierror(str(error)) from None
    addresses = list(dict.fromkeys(ip_address(info[4][0]) for info in found))
    permitted = [address for address in addresses if rule(name, address)]
    if not permitted:
        raise AddressRefused(name, addresses[0])
    return permitted[:_MOST_ADDRESSES]


def _watched(sock: socket.socket) -> socket.socket:
    deadline = _current.get()
    if deadline is not None:
        deadline.watch(sock)
    return sock
