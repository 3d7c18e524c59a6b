"""A network of machines on this one: network namespaces on a bridge. Needs root and iproute2."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BRIDGE = "sam-bridge"
_NETWORK = "10.77.0"
HOST = f"{_NETWORK}.1"  # this machine, for the others


@dataclass(frozen=True)
class Machine:
    """A namespace with an address of its own, and one cable."""

    name: str
    address: str

    def start(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a program there, in a group of processes of its own."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            env={**os.environ, **(environ or {})},
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("BENCH_LOGS") else subprocess.DEVNULL,
            start_new_session=True,
        )

    def cut(self) -> None:
        """Pulls its cable. Connections stay open, and nothing arrives."""
        _ip("link", "set", self._cable, "down")

    def join(self) -> None:
        """Plugs its cable in again."""
        _ip("link", "set", self._cable, "up")

    @property
    def _cable(self) -> str:
        return f"v-{self.name}"


@contextmanager
def network(*names: str) -> Iterator[dict[str, Machine]]:
    """Machines by name. They know each other by name too."""
    machines = {name: Machine(name, f"{_NETWORK}.{n}") for n, name in enumerate(names, 10)}
    hosts = "127.0.0.1 localhost\n" + "".join(f"{m.address} {m.name}\n" for m in machines.values())
    with contextlib.ExitStack() as stack:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "del", _BRIDGE)
        _ip("addr", "add", f"{HOST}/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for name, machine in machines.items():
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _knows(name, hosts, stack)
            cable = f"v-{name}"
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", cable, "master", _BRIDGE, "up")
            inside = ["netns", "exec", name, "ip"]
            _ip(*inside, "addr", "add", f"{machine.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip(*inside, "link", "set", device, "up")
        yield machines


def _knows(name: str, hosts: str, stack: contextlib.ExitStack) -> None:
    """`ip netns exec` shows this file as /etc/hosts."""
    folder = Path("/etc/netns") / name
    folder.mkdir(parents=True)
    stack.callback(folder.rmdir)
    (folder / "hosts").write_text(hosts)
    stack.callback((folder / "hosts").unlink)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
