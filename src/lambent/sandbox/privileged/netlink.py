"""Network links, addresses and routes, by the kernel's own messages (rtnetlink(7)): no program is started for them."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE, _GETROUTE = 16, 17, 20, 24, 26
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, _EXCL, _CREATE = 1, 4, 0x300, 0x200, 0x400
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _UNICAST = 254, 3, 0, 1
ROUTE_LOCAL = 2  # the kind of route that leads to an address of this host
_UP = 1
_HEADER = struct.Struct("IHHII")  # length, kind, flags, sequence, port
_LINK = struct.Struct("BxHiII")  # family, type, index, flags, mask of flags
_ADDRESS = struct.Struct("BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("8BI")  # family, lengths, type of service, table, protocol, scope, kind, flags
_ATTRIBUTE = struct.Struct("HH")  # length, kind
_ANSWER_BYTES = 64 * 1024


class Route:
    """One entry of any of the kernel's tables."""

    def __init__(self, network: IPv4Network, kind: int, interface: int) -> None:
        self.network = network
        self.kind = kind
        self.interface = interface  # its index; 0 where the route names none


class Netlink:
    """A socket in the network namespace in which it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def add_pair(self, name: str, peer: str, namespace_fd: int) -> None:
        """A veth pair: one end here and up, the other in another namespace and down. Raises OSError (EEXIST)."""
        far = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(_IFLA_IFNAME, peer)
        far += _attribute(_IFLA_NET_NS_FD, struct.pack("I", namespace_fd))
        pair = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_INFO_PEER, far))
        near = _LINK.pack(socket.AF_UNSPEC, 0, 0, _UP, _UP)
        self._ask(_NEWLINK, _CREATE | _EXCL, near + _text(_IFLA_IFNAME, name) + _attribute(_IFLA_LINKINFO, pair))

    def set_up(self, index: int) -> None:
        self._ask(_NEWLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, index, _UP, _UP))

    def remove_link(self, index: int) -> None:
        self._ask(_DELLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0))

    def add_address(self, index: int, own: IPv4Address, other: IPv4Address) -> None:
        """Of a link with one neighbour, to whom this adds a route."""
        body = _ADDRESS.pack(socket.AF_INET, 32, 0, _SCOPE_UNIVERSE, index)
        body += _attribute(_IFA_LOCAL, own.packed) + _attribute(_IFA_ADDRESS, other.packed)
        self._ask(_NEWADDR, _CREATE | _EXCL, body)

    def add_default_route(self, index: int, gateway: IPv4Address) -> None:
        body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _UNICAST, 0)
        body += _attribute(_RTA_GATEWAY, gateway.packed) + _attribute(_RTA_OIF, struct.pack("I", index))
        self._ask(_NEWROUTE, _CREATE | _EXCL, body)

    def routes(self) -> list[Route]:
        """Every IPv4 route of every table, those to the host's own addresses among them."""
        body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        self._send(_GETROUTE, _DUMP, body)
        found: list[Route] = []
        while True:
            for kind, payload in _messages(self._socket.recv(_ANSWER_BYTES)):
                if kind == _DONE:
                    return found
                _raise_error(kind, payload)
                found.append(_route(payload))

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        self._send(kind, flags | _ACK, body)
        for answered, payload in _messages(self._socket.recv(_ANSWER_BYTES)):
            _raise_error(answered, payload)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, 0, 0) + body)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, what follows the header) of each message in a packet."""
    while data:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[length + -length % 4 :]


def _raise_error(kind: int, payload: bytes) -> None:
    if kind == _ERROR:
        (code,) = struct.unpack_from("i", payload)
        if code != 0:
            raise OSError(-code, f"rtnetlink: {os.strerror(-code)}")


def _route(payload: bytes) -> Route:
    fields = _ROUTE.unpack_from(payload)
    attributes = dict(_attributes(payload[_ROUTE.size :]))
    destination = IPv4Address(attributes.get(_RTA_DST, bytes(4)))
    (interface,) = struct.unpack("I", attributes.get(_RTA_OIF, bytes(4)))
    return Route(IPv4Network((destination, fields[1])), fields[7], interface)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            raise OSError(errno.EBADMSG, "rtnetlink: an attribute without a length")
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]
