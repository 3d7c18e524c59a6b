"""Which addresses are public, which an operator allows, and which nothing reaches."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from sam_backend.errors import SettingsError
from sam_backend.net.addresses import AllowedHosts, is_public, may_be_label_studio
from sam_backend.settings import Settings

SettingsOf = Callable[..., Settings]


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.251",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::10.0.0.1",  # compatible
        "::ffff:127.0.0.1",  # mapped
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    ("entry", "host", "address", "expected"),
    [
        ("minio", "minio", "172.18.0.3", True),
        ("MinIO.", "minio", "172.18.0.3", True),
        ("minio", "minio.example", "172.18.0.3", False),
        ("*.corp.example", "s3.corp.example", "10.0.0.5", True),
        ("*.corp.example", "a.b.corp.example", "10.0.0.5", True),
        ("*.corp.example", "corp.example", "10.0.0.5", False),
        ("*.corp.example", "evilcorp.example", "10.0.0.5", False),
        ("10.0.0.5", "anything", "10.0.0.5", True),
        ("10.0.0.5", "anything", "10.0.0.6", False),
        ("10.0.0.0/8", "anything", "10.255.0.1", True),
        ("10.0.0.0/8", "anything", "::ffff:10.255.0.1", True),
        ("fd00::/8", "anything", "fd12::1", True),
        ("[::1]", "[::1]", "::1", True),
        ("minio, 10.0.0.0/8", "other", "10.1.1.1", True),
        ("bücher.example", "xn--bcher-kva.example", "10.1.1.1", True),
        ("", "minio", "172.18.0.3", False),
        ("minio", "elsewhere", "8.8.8.8", True),  # what is public needs no permission
    ],
)
def test_hosts_that_the_operator_allows(
    entry: str, host: str, address: str, expected: bool
) -> None:
    assert AllowedHosts.parse(entry).permits(host, ip_address(address)) is expected


METADATA = [
    "169.254.169.254",
    "169.254.0.23",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "::ffff:169.254.169.254",  # mapped
    "::169.254.169.254",  # compatible
    "::ffff:0:169.254.169.254",  # translated
    "64:ff9b::a9fe:a9fe",  # NAT64
    "64:ff9b::6464:64c8",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",  # 6to4
    "2001:0:a9fe:a9fe:8000:63bf:3fff:fdd2",  # Teredo, the server
    "2001:0:4136:e378:8000:63bf:5601:5601",  # Teredo, the client
    "fd00::5efe:a9fe:a9fe",  # ISATAP
    "2600::200:5efe:a9fe:a9fe",
]


@pytest.mark.parametrize("address", METADATA)
def test_a_clouds_metadata_is_reached_by_no_name_and_no_wide_network(address: str) -> None:
    """Whoever owns an allowed name may let it resolve to anything."""
    wide = "minio, *.corp.example, 0.0.0.0/0, 100.64.0.0/10, ::/0, fd00::/8, 2002::/16, 2001::/23"
    for host in ("minio", "s3.corp.example", "anything"):
        assert not AllowedHosts.parse(wide).permits(host, ip_address(address))
    assert not is_public(ip_address(address))
    assert not may_be_label_studio("anything", ip_address(address))


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("169.254.169.254", "169.254.169.254"),
        ("169.254.0.0/16", "::ffff:169.254.169.254"),
        ("100.100.100.200", "100.100.100.200"),
        ("fd00:ec2::254", "fd00:ec2::254"),
    ],
)
def test_metadata_that_the_operator_names_is_reached(entry: str, address: str) -> None:
    assert AllowedHosts.parse(entry).permits("anything", ip_address(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "8.8.8.8"])
def test_a_label_studio_may_be_anywhere_inside(address: str) -> None:
    assert may_be_label_studio("anything", ip_address(address))


@pytest.mark.parametrize(
    "entry", ["*", "http://minio", "minio:9000", "10.0.0.0/33", "10.0.0.5/8", "300.1.1.1", "a b"]
)
def test_a_bad_entry_is_named(entry: str, settings: SettingsOf) -> None:
    with pytest.raises(SettingsError, match=r"ALLOWED_IMAGE_HOSTS=.* is not a host name"):
        settings(ALLOWED_IMAGE_HOSTS=f"fine.example, {entry}")
