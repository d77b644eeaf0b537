"""Addresses that nothing may be sent to on somebody else's word."""

from __future__ import annotations

import ipaddress
from typing import Final

METADATA_IPV6: Final = ipaddress.ip_address("fd00:ec2::254")  # of EC2's instances; in IPv4 it is link-local


def is_metadata(text: str) -> bool:
    """Whether a cloud's own metadata service may be there: link-local addresses, and the one that EC2 has in IPv6.

    Raises ValueError for what is no address.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_link_local or address == METADATA_IPV6
