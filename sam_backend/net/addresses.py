"""The addresses that images may be fetched from: public ones, and what the operator allows. Pure.

Annotators choose the addresses of images. Without a check, the back end would fetch what only
machines inside the network can reach, such as other services or a cloud's metadata.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# Listed here, because `is_global` differs between versions of Python.
_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's metadata
            "169.254.0.0/16",  # link-local: metadata of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation, like 198.51.100.0/24 and 203.0.113.0/24
            "192.88.99.0/24",  # relays to 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Teredo and other protocols
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)
# Metadata services of clouds, which hand out keys. They hold no image and no Label Studio.
_METADATA: tuple[IPNetwork, ...] = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle
            "fe80::/10",
            "fd00:ec2::/32",  # Amazon
            "fd20:ce::254/128",  # Google
            "fd00:c1::a9fe:a9fe/128",  # Oracle
            "fd00:42::42/128",  # Scaleway
        ),
    )
)
# IPv6 forms of IPv4 addresses. In networks without IPv4, DNS64 gives public names the second form.
_HOLDS_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
# All networks with an IPv4 address in the last 32 bits: also compatible, translated, local NAT64.
_ENDS_IN_V4 = (
    *_HOLDS_IPV4,
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("64:ff9b:1::/48"),
)
_ISATAP = (0x5EFE, 0x2005EFE)

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def as_ipv4(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address stands for, if any."""
    if isinstance(address, IPv6Address) and any(address in network for network in _HOLDS_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def translations(address: IPAddress) -> set[IPAddress]:
    """An address, and all addresses that a gateway may translate it to."""
    if isinstance(address, IPv4Address):
        return {address}
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    found: set[IPAddress] = {address, *(address.teredo or ())}
    if address.sixtofour:
        found.add(address.sixtofour)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP or any(address in net for net in _ENDS_IN_V4):
        found.add(last)
    return found


def is_public(address: IPAddress) -> bool:
    """Whether this is an address on the internet, and cannot be translated to a private one."""
    bare = as_ipv4(address)
    if isinstance(bare, IPv4Address):
        return not any(bare in network for network in _NOT_PUBLIC)
    return (
        bare in _PUBLIC_V6
        and not any(bare in network for network in _NOT_PUBLIC_V6)
        and all(is_public(each) for each in translations(bare) - {bare})
    )


def is_metadata(address: IPAddress) -> bool:
    """Whether this may be a cloud's metadata service."""
    return any(each in network for each in translations(address) for network in _METADATA)


def may_be_label_studio(_host: str, address: IPAddress) -> bool:
    """The rule for a Label Studio that the operator did not name: private addresses are fine.

    Metadata services are not.
    """
    bare = as_ipv4(address)
    return not (is_metadata(address) or bare.is_multicast or bare.is_unspecified)


def anything(_host: str, _address: IPAddress) -> bool:
    """The rule for an address that the operator gave."""
    return True


@dataclass(frozen=True)
class AllowedHosts:
    """Names, addresses and networks that the operator allows in addition to public addresses."""

    names: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()  # `*.example.com`, without the star
    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowedHosts:
        """Reads a list with commas. ValueError names the wrong entry and the reason."""
        names, domains = set(), set()
        networks: list[IPNetwork] = []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ip_network(entry.strip("[]")))
                continue
            except ValueError:
                name = _punycode(entry.rstrip("."))
            if not _NAME.fullmatch(name) or name.rsplit(".", 1)[-1].isdecimal():
                raise ValueError(
                    f"{entry!r} is not a host name, *.domain, address or network like 10.0.0.0/8 "
                    "(without a scheme or port)"
                )
            if name.startswith("*"):
                domains.add(name[1:])
            else:
                names.add(name)
        return cls(frozenset(names), frozenset(domains), tuple(networks))

    def permits(self, host: str, address: IPAddress) -> bool:
        """Whether an image may be fetched from this address of a host with this name.

        A metadata service must be allowed by its own address or network. The owner of an allowed
        name could let it resolve to such a service, and a wide network contains it by accident.
        """
        name, bare = host.lower().rstrip("."), as_ipv4(address)
        if is_metadata(address):
            return any(bare in network for network in self.networks if _is_of_metadata(network))
        return (
            is_public(address)
            or name in self.names
            or any(name.endswith(domain) for domain in self.domains)
            or any(bare in network for network in self.networks)
        )


def _is_of_metadata(network: IPNetwork) -> bool:
    first, last = network.network_address, network.broadcast_address
    return any(first in service and last in service for service in _METADATA)


def _punycode(name: str) -> str:
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name
