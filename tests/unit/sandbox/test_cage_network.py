"""Which addresses functions with internet access get, and which packets are refused."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network

import pytest

from lambent.sandbox.privileged import firewall, layout, network

BLOCK = IPv4Network("100.64.64.0/18")


@pytest.mark.parametrize(
    ("used", "share"),
    [
        ([], "100.64.64.0/18"),
        (["192.168.1.0/24", "10.0.0.0/8"], "100.64.64.0/18"),
        (["100.100.100.100/32"], "198.18.2.0/23"),  # an overlay network, whose firewall means the whole range
        (["100.64.0.0/10", "198.18.0.1/32"], "172.16.16.0/20"),
        (["100.64.0.0/24", "198.18.0.0/24", "172.17.0.0/16", "10.0.0.0/16"], "100.64.64.0/18"),  # none is unused
        (["100.64.0.0/10", "198.18.0.0/15", "172.16.0.0/12", "10.0.0.0/16"], "10.1.0.0/16"),
    ],
)
def test_a_range_that_the_host_does_not_use_is_taken(used: list[str], share: str) -> None:
    assert network.choose_block(1, [IPv4Network(text) for text in used]) == IPv4Network(share)


def test_no_two_launchers_share_addresses() -> None:
    shares = [network.choose_block(number, []) for number in range(layout.HOST_ID_BLOCKS)]
    assert not any(one.overlaps(following) for one, following in itertools.pairwise(shares))
    assert all(share.subnet_of(IPv4Network("100.64.0.0/10")) for share in shares)


def test_a_host_that_uses_every_range_is_told() -> None:
    with pytest.raises(OSError, match="use every range"):
        network.choose_block(0, [IPv4Network("96.0.0.0/3"), IPv4Network("128.0.0.0/1"), IPv4Network("10.0.0.0/8")])


def test_servers_of_the_host_itself_are_not_asked_for_names() -> None:
    for address in network.resolvers([]):
        assert address not in network.resolvers([address])
        assert not address.is_loopback
        assert not address.is_link_local


@pytest.mark.parametrize("private", [False, True])
def test_link_local_addresses_and_the_block_itself_are_always_refused(private: bool) -> None:
    text = firewall.rules(3, BLOCK, [IPv4Address("9.9.9.9")], private=private)
    refused = next(line for line in text.splitlines() if "ip daddr {" in line and "drop" in line)
    networks = [IPv4Network(part.strip()) for part in refused.partition("{")[2].partition("}")[0].split(",")]
    for address, is_refused in (
        ("169.254.169.254", True), ("127.0.0.1", True), ("255.255.255.255", True), ("100.64.64.9", True),
        ("10.0.0.1", not private), ("172.31.0.1", not private), ("192.168.0.1", not private), ("9.9.9.9", False),
    ):  # fmt: skip
        assert any(IPv4Address(address) in network_ for network_ in networks) is is_refused, address
