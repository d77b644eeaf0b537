"""A way to the internet for cells: a link each, addresses that the host does not use, and the rules of `firewall`.

    cell  eth0 100.64.0.7 ──── lmb0-5 on the host (gateway 100.64.0.1) ──▶ rules ──▶ masquerade ──▶ the host's route

Every end's address has the other one as its only neighbour, so environments share no segment. The kernel removes a link
together with its cell's namespace; a name that is still taken is passed over, so no address comes back too early.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from . import firewall, layout, netlink, syscalls

# Shared address space (RFC 6598), benchmarks (RFC 2544), private (RFC 1918); each launcher has its share of one of them.
_POOLS = tuple(map(IPv4Network, ("100.64.0.0/10", "198.18.0.0/15", "172.16.0.0/12", "10.0.0.0/8")))
_SHARE_BITS = 8
_NAMES_TRIED = 256  # links whose namespaces are still being taken apart
_RESOLVER_FILES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")  # the latter, if the former is a local stub
_PUBLIC_RESOLVERS = (IPv4Address("1.1.1.1"), IPv4Address("8.8.8.8"))
_RESOLVERS_MAX = 3  # MAXNS of resolv.conf(5)
_NAMESERVER = re.compile(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$", re.MULTILINE)
_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_NO_IPV6 = "/proc/sys/net/ipv6/conf/{}/disable_ipv6"
_CELL_LINK = "eth0"
_LINKS_GONE_S, _LINKS_POLL_S = 3.0, 0.01


class Network:
    """Of launcher `number`, whose lock this process holds. Raises OSError when this machine cannot do it."""

    def __init__(self, number: int, *, private: bool) -> None:
        self.warnings: list[str] = []
        self._number = number
        self._links = firewall.links_of(number)
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._netlink = netlink.Netlink()
        self._turned_forwarding_on = False
        _sweep(number, self._netlink)
        routes = self._netlink.routes()
        self._block = choose_block(number, _foreign(routes))
        self._gateway = self._block[1]
        self._next = 0
        self.resolvers = resolvers([route.network[0] for route in routes if route.kind == netlink.ROUTE_LOCAL])
        self._try_links()
        firewall.put(firewall.rules(number, self._block, self.resolvers, private=private))
        try:
            self._forward()
        except OSError:
            firewall.remove(number)
            raise

    def connect(self, namespace_fd: int) -> int:
        """Gives a new cell its link, address and route, before any function is in it. The link's index; raises OSError."""
        name, address = self._add_link(namespace_fd)
        index = socket.if_nametoindex(name)
        _without_ipv6(name)
        self._netlink.add_address(index, self._gateway, address)
        syscalls.setns(namespace_fd, syscalls.CLONE_NEWNET)
        try:
            self._settle_in(address)
        finally:
            syscalls.setns(self._own, syscalls.CLONE_NEWNET)
        return index

    def disconnect(self, link: int) -> None:
        """Takes a cell's link away again. Takes some 20 ms. Raises OSError."""
        self._netlink.remove_link(link)

    def close(self) -> None:
        """After the last cell has ended. Raises nothing: what cannot be removed, the next launcher sweeps."""
        deadline = time.monotonic() + _LINKS_GONE_S
        while _named(self._links) and time.monotonic() < deadline:
            time.sleep(_LINKS_POLL_S)  # the kernel takes namespaces apart in the background
        with contextlib.suppress(OSError):
            _remove_links(self._links, self._netlink)
            firewall.remove(self._number)
            if self._turned_forwarding_on and not firewall.tables() and not firewall.others_that_forward():
                _write(_FORWARDING, "0")
        self._netlink.close()
        os.close(self._own)

    def _add_link(self, namespace_fd: int) -> tuple[str, IPv4Address]:
        places = self._block.num_addresses - 3  # all but the network's, the gateway's and the broadcast address
        for _ in range(_NAMES_TRIED):
            place, self._next = self._next, (self._next + 1) % places
            try:
                self._netlink.add_pair(f"{self._links}{place}", _CELL_LINK, namespace_fd)
            except FileExistsError:
                continue
            return f"{self._links}{place}", self._block[place + 2]
        raise OSError(errno.EADDRNOTAVAIL, "the network links of ended environments are still there")

    def _settle_in(self, address: IPv4Address) -> None:
        """In the cell's namespace."""
        inside = netlink.Netlink()
        try:
            index = socket.if_nametoindex(_CELL_LINK)
            _without_ipv6(_CELL_LINK)
            inside.set_up(index)
            inside.add_address(index, address, self._gateway)
            inside.add_default_route(index, self._gateway)
        finally:
            inside.close()

    def _try_links(self) -> None:
        name = f"{self._links}try"
        try:
            self._netlink.add_pair(name, f"{name}-2", self._own)
        except OSError as error:
            reason = f"internet access for functions needs veth links, which the kernel refuses: {error.strerror}"
            raise OSError(error.errno, f"{reason} (modprobe veth)") from error
        _remove_links(name, self._netlink)

    def _forward(self) -> None:
        with open(_FORWARDING, encoding="ascii") as file:
            on = file.read().strip() == "1"
        if not on:
            _write(_FORWARDING, "1")
            self._turned_forwarding_on = True
            self.warnings.append("net.ipv4.ip_forward was off and is on now: functions' way to the internet needs it")
        for table, drops in firewall.others_that_forward().items():
            if drops:
                self.warnings.append(
                    f"the host's firewall (table {table}) drops what it does not know; let it forward what comes in and "
                    f"goes out by interfaces {firewall.LINK_PREFIX}*, or functions will not reach the internet"
                )


def choose_block(number: int, used: list[IPv4Network]) -> IPv4Network:
    """Launcher `number`'s share of a pool that the host does not use at all, else of which it does not use this share.

    Raises OSError.
    """
    shares = [IPv4Network((int(pool[0]) + (number << (32 - pool.prefixlen - _SHARE_BITS)), pool.prefixlen + _SHARE_BITS))
              for pool in _POOLS]  # fmt: skip
    for taken, share in [*zip(_POOLS, shares), *zip(shares, shares)]:
        if not any(network.overlaps(taken) for network in used):
            return share
    raise OSError(errno.EADDRNOTAVAIL, f"the host's routes use every range meant for functions ({shares})")


def resolvers(own: Iterable[IPv4Address]) -> list[IPv4Address]:
    """The host's name servers that environments may ask: none on the host itself, or only on its link; else public ones."""
    not_to_be_asked = set(own)
    for path in _RESOLVER_FILES:
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            named = [IPv4Address(text) for text in _NAMESERVER.findall(file.read())]
            usable = [a for a in named if not (a.is_loopback or a.is_link_local or a in not_to_be_asked)]
            if usable:
                return usable[:_RESOLVERS_MAX]
    return list(_PUBLIC_RESOLVERS)


def _foreign(routes: list[netlink.Route]) -> list[IPv4Network]:
    """What the host uses for others than launchers, but for the default route."""
    indices = {index for index, name in socket.if_nameindex() if name.startswith(firewall.LINK_PREFIX)}
    return [route.network for route in routes if route.network.prefixlen and route.interface not in indices]


def _sweep(number: int, link: netlink.Netlink) -> None:
    """Removes what launchers that are dead have left."""
    for other in firewall.tables():
        if other == number or _is_abandoned(other):
            firewall.remove(other)
            _remove_links(firewall.links_of(other), link)
    _remove_links(firewall.links_of(number), link)


def _is_abandoned(number: int) -> bool:
    try:
        lock = os.open(layout.HOST_ID_LOCK.format(number), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # it may be another container's with the same network
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Whoever has that number now may be in another network; then what is in this one was somebody else's.
        network = os.pread(lock, 32, 0).decode("ascii", "replace")
        return network not in ("", str(os.stat("/proc/self/ns/net").st_ino))
    finally:
        os.close(lock)
    return True


def _named(prefix: str) -> list[int]:
    return [index for index, name in socket.if_nameindex() if name.startswith(prefix)]


def _remove_links(prefix: str, link: netlink.Netlink) -> None:
    for index in _named(prefix):
        with contextlib.suppress(OSError):  # ENODEV: it has gone by itself, or with its other end
            link.remove_link(index)


def _without_ipv6(link: str) -> None:
    """The rules refuse IPv6 in any case; this saves functions from trying it, where /proc can be written."""
    with contextlib.suppress(OSError):
        _write(_NO_IPV6.format(link), "1")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
