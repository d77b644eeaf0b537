"""What a function with internet access reaches, and what it does not. Nothing leaves this machine.

The "host" of these tests is a network namespace with one uplink; at its other end is a namespace that plays all the rest
of the world, at public, private and link-local addresses. So this machine's own network is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from cagebench import Bench, open_to_all
from lambent.model.errors import SandboxError
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.launcher import LauncherHandle, start_launcher
from lambent.sandbox.privileged import layout, network, syscalls

PUBLIC, PRIVATE, METADATA = "198.51.100.2", "10.99.0.2", "169.254.169.254"  # 198.51.100.0/24 is for examples: RFC 5737
HOST, UPLINK = "192.0.2.1", "192.0.2.2"  # 192.0.2.0/24 too
HOST_ADDRESSES = (HOST, "203.0.113.9", "127.0.0.1")
PORT, PUBLISHED = 8080, 8090

REACH = """#!/usr/bin/python3 -ISE
import errno, json, os, socket, sys
def reach(address, port=8080):
    with socket.socket() as connection:
        connection.settimeout(1.5)  # a first packet may be lost, and is sent again after a second
        try:
            connection.connect((address, port))
        except OSError as error:
            return errno.errorcode.get(error.errno, 'silence')
        return 'ok'
def tell(result):
    print('RESULT' + json.dumps(result), flush=True)
own = None
for _, name in socket.if_nameindex():
    if name == 'eth0':
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(('198.51.100.2', 9))
            own = probe.getsockname()[0]
"""


@attrs.define
class World:
    """Two network namespaces, and launchers in the first of them."""

    name: str
    directory: Path
    listeners: list[socket.socket]

    @contextlib.contextmanager
    def inside(self, which: str) -> Iterator[None]:
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}-{which}", os.O_RDONLY)
        try:
            syscalls.setns(there, syscalls.CLONE_NEWNET)
            yield
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNET)
            os.close(own)
            os.close(there)

    def run(self, which: str, *command: str, given: str = "") -> str:
        with self.inside(which):
            shown = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, (command, shown.stderr)
        return shown.stdout

    def add_rules(self, table: str, chain: str) -> None:
        """Rules that the host has for reasons of its own."""
        self.run("host", "nft", "-f", "-", given=f"table ip {table} {{\nchain own {{\n{chain}\n}}\n}}\n")

    def start(self, *, internet: bool = False, private: bool = False) -> LauncherHandle:
        with self.inside("host"):
            return start_launcher(self.directory / "launcher", [], internet=internet, internet_private=private)

    def left(self) -> dict[str, Any]:
        """Links, tables, routes and forwarding of the host."""
        links = [line.split()[1] for line in self.run("host", "ip", "-o", "link").splitlines()]
        return {
            "links": [link for link in links if link.startswith("lmb")],
            "tables": self.run("host", "nft", "list", "tables"),
            # The kernel notices some time after a link was made that it is up.
            "routes": self.run("host", "ip", "route").replace(" linkdown", ""),
            "forwarding": self.run("host", "cat", "/proc/sys/net/ipv4/ip_forward").strip(),
        }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    assert os.geteuid() == 0, "the cage's own tests need root"
    made = World(f"lambent-test-{os.getpid()}", open_to_all(tmp_path), [])
    with ExitStack() as stack:
        for which in ("host", "rest"):
            subprocess.run(["ip", "netns", "add", f"{made.name}-{which}"], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "delete", f"{made.name}-{which}"], check=True)
            made.run(which, "ip", "link", "set", "lo", "up")
        _connect(made)
        for which in ("host", "rest"):
            with made.inside(which):
                made.listeners.append(stack.enter_context(socket.create_server(("0.0.0.0", PORT))))
        yield made


def _connect(world: World) -> None:
    peer = ("peer", "name", "uplink", "netns", f"{world.name}-rest")
    world.run("host", "ip", "link", "add", "uplink", "type", "veth", *peer)
    for which, address in (("host", HOST), ("rest", UPLINK)):
        world.run(which, "ip", "address", "add", f"{address}/24", "dev", "uplink")
        world.run(which, "ip", "link", "set", "uplink", "up")
    for address in (PUBLIC, PRIVATE, METADATA, *map(str, network.resolvers([]))):
        world.run("rest", "ip", "address", "add", f"{address}/32", "dev", "lo")
    world.run("host", "ip", "address", "add", f"{HOST_ADDRESSES[1]}/32", "dev", "lo")
    world.run("host", "ip", "route", "add", "default", "via", UPLINK)
    world.run("host", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")


Benches = Callable[..., Bench]


@pytest.fixture
async def bench_with(world: World) -> AsyncIterator[Benches]:
    """Starts a launcher in the world's host, with these settings."""
    benches: list[Bench] = []

    def make(**settings: bool) -> Bench:
        benches.append(Bench(LauncherSandbox(world.start(**settings)), world.directory))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()
        await bench.sandbox.close()


async def told(bench: Bench, program: str, *, internet: bool = True) -> Any:
    output = await bench.output_of(REACH + program, internet=internet)
    results = [line for line in output.splitlines() if line.startswith("RESULT")]
    assert results, output
    return json.loads(results[-1].removeprefix("RESULT"))


async def test_the_internet_is_reached_by_the_hosts_address_and_not_otherwise(
    world: World, bench_with: Benches
) -> None:
    assert await told(bench_with(internet=True), f"tell(reach('{PUBLIC}'))") == "ok"
    connection, (peer, _) = world.listeners[1].accept()
    connection.close()
    assert peer == HOST


async def test_without_it_nothing_is_reached_and_asking_for_it_is_refused(bench_with: Benches) -> None:
    bench = bench_with()
    assert await told(bench, f"tell(reach('{PUBLIC}'))", internet=False) == "ENETUNREACH"
    with pytest.raises(SandboxError, match="internet = true"):
        await bench.run("#!/bin/sh\n", internet=True)


async def test_an_environment_that_does_not_ask_for_it_has_no_link(bench_with: Benches) -> None:
    program = f"tell([own, [name for _, name in socket.if_nameindex()], reach('{PUBLIC}')])"
    assert await told(bench_with(internet=True), program, internet=False) == [None, ["lo"], "ENETUNREACH"]


async def test_nothing_of_the_host_is_reached(world: World, bench_with: Benches) -> None:
    redirected = f"tcp dport {PUBLISHED} dnat to {PUBLIC}:{PORT}"
    world.add_rules("containers", f"type nat hook prerouting priority dstnat\n{redirected}")
    with world.inside("rest"), socket.create_connection((HOST, PORT), 5):  # it is there, for others
        pass
    gateway = "open('/proc/net/route').read().splitlines()[1:]"
    result = await told(
        bench_with(internet=True, private=True),
        f"""
gateways = {{socket.inet_ntoa(int(line.split()[2], 16).to_bytes(4, 'little')) for line in {gateway}}} - {{'0.0.0.0'}}
tell({{address: reach(address) for address in {HOST_ADDRESSES} + tuple(gateways)}} |
     {{'published': reach('{HOST}', {PUBLISHED}), 'gateways': len(gateways), 'public': reach('{PUBLIC}')}})
""",
    )
    assert result.pop("gateways") == 1
    assert result.pop("public") == "ok"
    assert result.pop("127.0.0.1") == "ECONNREFUSED"  # its own loopback, where nobody listens
    assert len(result) == 4
    assert set(result.values()) == {"silence"}, result


@pytest.mark.parametrize("private", [False, True])
async def test_private_networks_only_where_allowed_and_link_local_ones_never(
    world: World, bench_with: Benches, private: bool
) -> None:
    for address in (PRIVATE, METADATA):
        with world.inside("host"), socket.create_connection((address, PORT), 5):  # the host itself gets there
            pass
    bench = bench_with(internet=True, private=private)
    result = await told(bench, f"tell([reach(address) for address in ('{PUBLIC}', '{PRIVATE}', '{METADATA}')])")
    assert result == ["ok", "ok" if private else "silence", "silence"]


async def test_another_environment_is_not_reached(bench_with: Benches) -> None:
    bench = bench_with(internet=True, private=True)
    other = await bench.run(
        REACH + "server = socket.create_server(('0.0.0.0', 8080))\ntell([own, reach(own)])\nserver.accept()\n",
        internet=True,
    )
    line = (await other.printed("\n")).splitlines()[0]
    address = line.removeprefix('RESULT["').split('"')[0]
    assert line == f'RESULT["{address}", "ok"]'
    assert await told(bench, f"tell([own == '{address}', reach('{address}')])") == [False, "silence"]


async def test_names_are_asked_of_the_hosts_servers_by_port_53_alone(world: World, bench_with: Benches) -> None:
    server = str(network.resolvers([])[0])
    with world.inside("rest"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind((server, 53))
        names.settimeout(5)
        result = await told(
            bench_with(internet=True),
            """
server = [line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('nameserver')][0]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
    question.sendto(b'who', (server, 53))
tell(server)
""",
        )
        assert result == server
        assert names.recv(10) == b"who"


async def test_there_is_no_ipv6(bench_with: Benches) -> None:
    result = await told(
        bench_with(internet=True),
        """
tell([line.split()[-1] for line in open('/proc/net/if_inet6')] if os.path.exists('/proc/net/if_inet6') else ['lo'])
""",
    )
    assert set(result) <= {"lo"}


async def test_nothing_is_left_of_links_rules_routes_and_forwarding(world: World) -> None:
    before = world.left()
    assert before["forwarding"] == "0"
    handle = world.start(internet=True)
    bench = Bench(LauncherSandbox(handle), world.directory)
    assert [warning for warning in handle.warnings if "ip_forward" in warning]
    running = await bench.run("#!/bin/sh\necho up; sleep 1000\n", internet=True)
    await running.printed("up")
    during = world.left()
    assert during["links"]
    assert during["tables"]
    assert during["forwarding"] == "1"
    await bench.close()
    await bench.sandbox.close()
    await until_left(world, before)


async def test_a_link_goes_with_its_environment(world: World, bench_with: Benches) -> None:
    bench = bench_with(internet=True)
    running = await bench.run(REACH + "tell(own)\nsocket.create_server(('', 1)).accept()\n", internet=True)
    address = (await running.printed("\n")).removeprefix('RESULT"').split('"')[0]
    assert address in world.left()["routes"]
    await running.cage.destroy()
    async with asyncio.timeout(10):
        while address in world.left()["routes"]:
            await asyncio.sleep(0.01)


async def until_left(world: World, expected: dict[str, Any]) -> None:
    give_up = time.monotonic() + 60
    while world.left() != expected and time.monotonic() < give_up:
        await asyncio.sleep(0.05)
    assert world.left() == expected


@contextlib.contextmanager
def taken_elsewhere(tables: str) -> Iterator[None]:
    """By a launcher of this machine's own network, which is none of the world's."""
    (number,) = re.findall(r"table inet lambent_(\d+)", tables)
    with open(layout.HOST_ID_LOCK.format(number), "r+") as lock:
        with contextlib.suppress(BlockingIOError):  # there is such a one already
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.truncate()
            lock.write(str(os.stat("/proc/self/ns/net").st_ino))
            lock.flush()
        yield


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["", "though its number is in use in another network"])
async def test_what_a_killed_launcher_left_is_swept_by_the_next(world: World, is_elsewhere: bool) -> None:
    before = world.left()
    handle = world.start(internet=True)
    bench = Bench(LauncherSandbox(handle), world.directory)
    running = await bench.run("#!/bin/sh\necho up; sleep 1000\n", internet=True)
    await running.printed("up")
    os.kill(handle.process.pid, signal.SIGKILL)
    await asyncio.to_thread(handle.process.wait, 10)
    assert world.left()["tables"] != before["tables"]
    await bench.close()
    await bench.sandbox.close()
    with ExitStack() as stack:
        if is_elsewhere:
            stack.enter_context(taken_elsewhere(world.left()["tables"]))
        world.start(internet=True).close()
    # Nobody knows any more that forwarding had been off. The kernel takes a dead namespace's links away when it gets to it.
    await until_left(world, {**before, "forwarding": "1"})


def test_a_firewall_of_the_hosts_that_drops_is_told_of(world: World) -> None:
    world.add_rules("strict", "type filter hook forward priority 0; policy drop")
    handle = world.start(internet=True)
    handle.close()
    assert [warning for warning in handle.warnings if "table ip strict" in warning]


def test_without_the_program_it_is_refused_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = world.directory / "empty"
    hidden.touch()
    program = world.run("host", "sh", "-c", "command -v nft").strip()
    unshared = ["unshare", "--mount", "sh", "-c", f'mount --bind {hidden} {program} && exec $0 -c "$1"']
    script = (
        "import pathlib, sys\nfrom lambent.sandbox.launcher import start_launcher\n"
        f"try: start_launcher(pathlib.Path({str(world.directory / 'launcher')!r}), [], internet=True)\n"
        "except Exception as error: print(error)\n"
    )
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    assert "install the package nftables" in world.run("host", *unshared, sys.executable, script)
