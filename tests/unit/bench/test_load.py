"""The load generators: what they count, and what they say of servers that fail."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from lambent.bench.connection import Caller
from lambent.bench.errors import NotMeasured
from lambent.bench.load import own, own_once, parse_wrk

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{} \r\n2\r\n  \r\n0\r\n\r\n"
THROTTLED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
FAILED = b"HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\nContent-Length: 4\r\n\r\noops"


@contextlib.contextmanager
def answering(answer: Callable[[], bytes]) -> Iterator[int]:
    """The port of a server that gives this answer to each request; an empty one closes the connection."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                content = answer()
                if not content:
                    return
                connection.sendall(content)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [OK, CHUNKED])
def test_every_answer_is_counted(answer: bytes) -> None:
    with answering(lambda: answer) as port:
        made = own(port, "/x", b"{}", 3, 0.2)
    assert made.requests >= 3
    assert made.failed == 0
    assert 0 < made.p50_ms <= made.p99_ms
    assert made.per_s == made.requests / made.seconds


@pytest.mark.parametrize("answer", [THROTTLED, FAILED])
def test_answers_that_are_no_success_are_failures(answer: bytes) -> None:
    with answering(lambda: answer) as port:
        made = own(port, "/x", b"{}", 2, 0.1)
        assert made.failed == made.requests > 0
        with pytest.raises(NotMeasured, match="2 of 2 requests at once failed"):
            own_once(port, "/x", b"{}", 2)
        with Caller(port) as caller, pytest.raises(NotMeasured, match=r"429|a function error"):
            caller.invoke("f")


@pytest.mark.parametrize("answer", [b"", b"what?\r\n\r\n"])
def test_a_server_that_hangs_up_or_speaks_no_http_is_a_failure_and_no_hang(answer: bytes) -> None:
    with answering(lambda: answer) as port:
        made = own(port, "/x", b"{}", 2, 5.0)
        assert (made.requests, made.failed) == (0, 2)
        with Caller(port) as caller, pytest.raises(NotMeasured):
            caller.invoke("f")


def test_a_burst_gives_each_connections_answer() -> None:
    with answering(lambda: OK) as port:
        seconds, answers = own_once(port, "/x", b"{}", 120)  # more than are connected at once
    assert answers == [b"{}"] * 120
    assert seconds > 0


WRK = """Running 2s test @ http://127.0.0.1:1
  1 threads and 8 connections
  Latency Distribution
     50%  724.00us
     75%    2.81ms
     90%   16.05ms
     99%    1.50s
  14335 requests in 2.01s, 16.87MB read
"""


def test_what_wrk_prints_is_read_with_its_units() -> None:
    made = parse_wrk(WRK)
    assert (made.requests, made.seconds, made.p50_ms, made.p99_ms, made.failed) == (14335, 2.01, 0.724, 1500.0, 0)


def test_what_wrk_counts_as_errors_is_a_failure() -> None:
    errors = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 100\n"
    assert parse_wrk(WRK + errors).failed == 110
    with pytest.raises(NotMeasured, match="wrk said"):
        parse_wrk("unable to connect")
