"""HTTP to hosts that are not trusted: only to permitted addresses, with limits on time and size.

Each request resolves the name of its host once, asks the rule about the addresses, and connects to
one of them by number. No second look-up can give another address. A redirect is a new request.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from sam_backend.net import urls
from sam_backend.net.addresses import IPAddress

# Whether the host of this name may be connected to at this address.
Rule = Callable[[str, IPAddress], bool]

_CHUNK = 1 << 16
_MOST_ADDRESSES = 4  # to try for one name: each one without an answer costs the connect timeout


class AddressRefused(Exception):
    """The rule permits none of a host's addresses."""

    def __init__(self, host: str, address: IPAddress) -> None:
        super().__init__(f"{host} ({address})")
        self.host = host
        self.address = address


class TooLarge(Exception):
    """A body has more bytes than its limit."""


class Overdue(OSError):
    """A block took longer than its deadline."""


def body(response: requests.Response, most: int) -> bytes:
    """The decompressed body of an answer. TooLarge as soon as it exceeds `most` bytes."""
    read = io.BytesIO()  # it gives its bytes away, where joining pieces would hold them twice
    for chunk in chunks(response, most):
        read.write(chunk)
    return read.getvalue()


def chunks(response: requests.Response, most: int) -> Iterator[bytes]:
    """The body piece by piece. A megabyte may decompress to a thousand times its size."""
    left = most
    for chunk in response.iter_content(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise TooLarge
        yield chunk


def reason(error: Exception) -> str:
    """Why there is no answer, in words if they are known."""
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy makes no connection"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error.__cause__, socket.gaierror):
        return "its name has no address"
    return "nothing listens there" if "Connection refused" in str(error) else type(error).__name__


class Deadline:
    """Ends the requests of this thread when the time of the block is over, and raises Overdue.

    A socket's own timeout counts from byte to byte, so a host that sends a byte now and then
    never reaches it.

    A body without a length seems complete when its connection is ended. So when the time is over,
    the block raises Overdue, whatever answer or error it has by then.
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
        """Keeps its own descriptor, because the connection may close its socket at any time."""
        with self._lock:
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
        if self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):  # it is already disconnected
                    sock.shutdown(socket.SHUT_RDWR)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def judge_number(url: urls.Url, rule: Rule) -> None:
    """AddressRefused if the host is written as an address that the rule does not permit.

    A session refuses it as well, but preparing a request takes ten times as long.
    """
    with contextlib.suppress(ValueError):  # a name
        address = ip_address(url.origin[1])
        if not rule(url.origin[1], address):
            raise AddressRefused(url.origin[1], address)


def session(rule: Rule) -> requests.Session:
    """A session that connects only to addresses that the rule permits, and keeps no cookies.

    If the environment names a proxy, the proxy connects, and the operator controls what it can
    reach. The rule still judges names that this machine can resolve.
    """
    made = _Session()
    made.headers["Accept-Encoding"] = "identity"  # an answer that is compressed anyway has a limit
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter(rule))
    return made


class _Session(requests.Session):
    def get_redirect_target(self, _response: requests.Response) -> None:
        """Callers follow redirects: requests would read the whole body of each one."""


class _Connection(HTTPConnection):
    """A connection that the deadline of the current thread can end."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        deadline = _current.get()
        if deadline is not None:
            deadline.watch(self.sock)
        super().request(*args, **kwargs)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
# The address that the current request connects to. None: a proxy connects.
_address: ContextVar[IPAddress | None] = ContextVar("address", default=None)


class _Adapter(HTTPAdapter):
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        super().__init__(pool_maxsize=32)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if type(manager) is ProxyManager:  # a SOCKS proxy has connections of its own kind
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Sends a request to the first permitted address that accepts a connection."""
        url = urls.parse(request.url or "")
        if url is None or url.text != request.url:
            raise requests.exceptions.InvalidURL("this could be read as more than one address")
        send = partial(super().send, request, stream, timeout, verify, cert, proxies)
        if select_proxy(url.text, proxies):
            with contextlib.suppress(socket.gaierror):  # only the proxy knows this name
                _permitted(url, self._rule)
            return send()
        try:
            addresses = _permitted(url, self._rule)
        except socket.gaierror as error:
            raise requests.ConnectionError(f"{url.origin[1]} has no address: {error}") from error
        request.headers["Host"] = url.host_header
        for address in addresses[:-1]:
            try:
                return _sent_to(address, send)
            except requests.ConnectionError as error:
                if not _is_unreachable(error):
                    raise
        return _sent_to(addresses[-1], send)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[Any, Any]:
        """What selects the connection: the address by number, and for TLS the name to verify."""
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        origin, address = urls.origin(request.url or ""), _address.get()
        if origin is None or address is None:
            return host, tls
        scheme, name, port = origin
        names = {"server_hostname": name} if scheme == "https" else {}
        return {"scheme": scheme, "host": str(address), "port": port}, {**tls, **names}


def _sent_to(address: IPAddress, send: Callable[[], requests.Response]) -> requests.Response:
    token = _address.set(address)
    try:
        return send()
    finally:
        _address.reset(token)


def _is_unreachable(error: requests.ConnectionError) -> bool:
    """Whether the address accepted no connection. Nothing was sent there."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _permitted(url: urls.Url, rule: Rule) -> list[IPAddress]:
    """The addresses of a host that the rule permits; AddressRefused if it permits none."""
    _scheme, name, port = url.origin
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of the name is empty or too long
        raise socket.gaierror(str(error)) from None
    addresses = list(dict.fromkeys(ip_address(info[4][0]) for info in found))
    permitted = [address for address in addresses if rule(name, address)]
    if not permitted:
        raise AddressRefused(name, addresses[0])
    return permitted[:_MOST_ADDRESSES]
