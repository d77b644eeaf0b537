"""Clients that say nothing, half of it, or do not listen. The `bystander` sees that another function does not notice."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from live_server import LiveServer, until
from neighbour_pace import TWOFOLD, Pace, least_ratio

FEW, MANY = 600, 10_000
BIG_MIB = 5
GROWTH_MAX_MIB = 150
PREFIX = b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


def connect(live: LiveServer, first: bytes = b"") -> socket.socket:
    url = urlsplit(live.url)
    client = socket.create_connection((url.hostname, url.port), timeout=30)
    client.sendall(first)
    return client


@contextlib.contextmanager
def silent(live: LiveServer, count: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing, half a request line, or a head that has no end."""
    with contextlib.ExitStack() as stack:
        halves = (b"", b"POST /2015-03-31/fun", b"GET / HTTP/1.1\r\nHost: h\r\nx-")
        yield [stack.enter_context(connect(live, halves[number % 3])) for number in range(count)]


def drip(clients: list[socket.socket]) -> None:
    """One more byte of every head whose connection has not had to make room for others."""
    for client in clients[2::3]:
        with contextlib.suppress(ConnectionError):
            client.sendall(b"a")


def is_answered(live: LiveServer, name: str) -> bool:
    try:
        return bool(live.invoke(name).status == 200)
    except live.client().exceptions.TooManyRequestsException:
        return False


def test_connections_that_say_nothing_hold_up_nobody(live: LiveServer, harmless: str) -> None:
    with silent(live, FEW) as clients:
        for number in range(20):
            drip(clients)
            assert live.invoke(harmless, number).value == number


@pytest.mark.long
def test_ten_thousand_that_say_nothing_leave_others_twofold_at_most(live: LiveServer, harmless: str) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MANY + 1000:
        pytest.skip("the tests themselves may not have so many files open")
    before_mib = live.resident_mib()

    def say_nothing(pace: Pace) -> None:
        with silent(live, MANY) as clients:
            for _ in range(5):
                drip(clients)
                pace.until_more(200)
            assert live.resident_mib() - before_mib < GROWTH_MAX_MIB
            cold = live.create("def handler(event, context):\n    return event")
            assert live.invoke(cold, "cold").value == "cold"

    assert least_ratio(live, harmless, say_nothing) < TWOFOLD


def test_answers_that_nobody_reads_do_not_pile_up(live: LiveServer) -> None:
    name = live.create(f"def handler(event, context):\n    return 'x' * ({BIG_MIB} << 20)", MemorySize=1769)
    assert len(live.invoke(name).payload) > BIG_MIB << 20
    before_mib = live.resident_mib()
    with contextlib.ExitStack() as stack:
        one_after_the_other = PREFIX % (name.encode(), 2) + b"{}"
        clients = [stack.enter_context(connect(live, one_after_the_other * 40)) for _ in range(4)]
        for client in clients:  # it has begun, and more has been asked for than was read
            assert client.recv(12) == b"HTTP/1.1 200"
        assert live.invoke(name).status == 200
        assert live.resident_mib() - before_mib < GROWTH_MAX_MIB  # all that was asked for would be 800
        read = 0
        while read < 41 * BIG_MIB << 20 and (data := clients[0].recv(1 << 20)):
            read += len(data)
            if read > 40 * BIG_MIB << 20:
                break
        assert read > 40 * BIG_MIB << 20  # whoever reads in the end gets all of it


def test_bodies_that_do_not_come_to_their_end_hold_no_environment(live: LiveServer) -> None:
    name = live.create("def handler(event, context):\n    return len(event)")
    live.client().put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    body = b'"' + b"x" * (1 << 20)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connect(live, PREFIX % (name.encode(), len(body) + 1) + body[:-1]))
        assert live.invoke(name, "abc").value == 3


def test_a_slow_reader_gets_its_answer_and_keeps_no_environment(live: LiveServer) -> None:
    name = live.create(f"def handler(event, context):\n    return 'x' * ({BIG_MIB} << 20)", MemorySize=1769)
    live.client().put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with connect(live, PREFIX % (name.encode(), 2) + b"{}") as slow:
        assert slow.recv(12) == b"HTTP/1.1 200"
        until(lambda: is_answered(live, name))  # its one environment is free again
        read = 0
        while read <= BIG_MIB << 20:
            read += len(slow.recv(65_536))
