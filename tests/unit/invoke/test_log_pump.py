"""A function that prints without end leaves the loop to the others."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from lambent.invoke.logpump import BITE_S, READ_BYTES, REST, LogPump, LogShare, Origin
from lambent.runtimeapi.logframes import LineDecoder, LogRecord

LINES = 200_000


class Pipe:
    """What a function prints to."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.got: list[str] = []
        self.most_at_once = 0

    def emit(self, origin: Origin, records: Sequence[LogRecord]) -> None:
        self.got += [record.text for record in records]
        self.most_at_once = max(self.most_at_once, len(records))

    def pump(self, share: LogShare) -> LogPump:
        async def caught_up() -> None:
            pass

        return LogPump({self.reading: ("function", LineDecoder())}, self.emit, caught_up, share)

    def flood(self, lines: int) -> threading.Thread:
        def write() -> None:
            data = memoryview(b"x\n" * lines)
            while data:
                data = data[os.write(self.writing, data) :]

        thread = threading.Thread(target=write)
        thread.start()
        return thread


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    pipes = [Pipe() for _ in range(3)]
    yield pipes
    for pipe in pipes:
        os.close(pipe.reading)
        os.close(pipe.writing)


async def until_got(pipe: Pipe, lines: int) -> None:
    async with asyncio.timeout(60):
        while len(pipe.got) < lines:
            await asyncio.sleep(0.001)


async def test_a_flood_comes_whole_and_in_small_bites(pipes: list[Pipe]) -> None:
    pump = pipes[0].pump(LogShare())
    thread = pipes[0].flood(LINES)
    await until_got(pipes[0], LINES)
    thread.join()
    pump.close()
    assert pipes[0].got == ["x"] * LINES
    assert pipes[0].most_at_once <= READ_BYTES // 2 + 1


async def test_floods_together_have_one_share_of_the_loop(pipes: list[Pipe]) -> None:
    share = LogShare()
    pumps = [pipe.pump(share) for pipe in pipes[:2]]
    worked_before = time.thread_time()
    began = time.perf_counter()
    threads = [pipe.flood(LINES) for pipe in pipes[:2]]
    for pipe in pipes[:2]:
        while len(pipe.got) < LINES:
            await asyncio.sleep(0.05)
    worked_s, elapsed_s = time.thread_time() - worked_before, time.perf_counter() - began
    for thread in threads:
        thread.join()
    for pump in pumps:
        pump.close()
    # Each bite may be one BITE_S over; the loop's own work is counted as well. Without rests it is all of the time.
    assert worked_s < 0.6 * elapsed_s, (worked_s, elapsed_s)


async def test_who_prints_now_and_then_does_not_wait_for_floods(pipes: list[Pipe]) -> None:
    share = LogShare()
    pumps = [pipe.pump(share) for pipe in pipes]
    threads = [pipe.flood(LINES) for pipe in pipes[:2]]
    turns = 0
    for number in range(20):
        os.write(pipes[2].writing, b"quiet\n")
        while len(pipes[2].got) <= number:
            await asyncio.sleep(0)
            turns += 1
    assert turns < 20 * 50  # a turn or two of the loop each; a rest is a hundred and more
    for pipe in pipes[:2]:
        await until_got(pipe, LINES)
    for thread in threads:
        thread.join()
    for pump in pumps:
        pump.close()


async def test_what_was_written_before_the_end_is_drained_while_the_pump_rests(pipes: list[Pipe]) -> None:
    pump = pipes[0].pump(LogShare())
    thread = pipes[0].flood(LINES)
    await until_got(pipes[0], 1)
    while len(pipes[0].got) < LINES - 20_000:
        await asyncio.sleep(0.001)
    thread.join(0.0)
    while thread.is_alive():
        await asyncio.sleep(0.001)
    pump.drain()
    assert len(pipes[0].got) == LINES
    pump.close()


def test_rests_add_up_over_all_pumps() -> None:
    share = LogShare()
    assert share.rest_s(BITE_S, 100.0) == pytest.approx(REST * BITE_S)
    assert share.rest_s(BITE_S, 100.0) == pytest.approx(2 * REST * BITE_S)
    assert share.rest_s(BITE_S, 200.0) == pytest.approx(REST * BITE_S)
