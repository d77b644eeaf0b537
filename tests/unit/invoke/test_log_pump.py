"""A function that prints without end leaves the loop to the others."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lambent.invoke import logpump
from lambent.invoke.envlog import EnvironmentLog, HeldStarts
from lambent.invoke.logpump import BITE_S, READ_BYTES, REST, LogPump, LogShare, Origin
from lambent.model import loglines
from lambent.model.function import FunctionVersion
from lambent.ports import Cage, LogSink
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.logframes import LineDecoder, LogRecord
from lambent.telemetry.system_clock import SystemClock

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


async def test_the_end_waits_for_what_was_written_before_it_and_for_nothing_else(
    pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpump, "BITE_S", 0.0)
    pipe, said = pipes[0], list[int]()
    pump = pipe.pump(LogShare())
    os.write(pipe.writing, b"x\n" * 25_000 + b"rest")
    pump.drain()
    assert len(pipe.got) == READ_BYTES // 2  # one bite: the others have their turn
    pump.then(lambda: said.append(len(pipe.got)))
    os.write(pipe.writing, b" of another\n")
    pump.drain()
    pump.then(lambda: said.append(len(pipe.got)))
    await until_got(pipe, 25_002)
    assert pipe.got == ["x"] * 25_000 + ["rest", " of another"]
    assert said == [25_001, 25_002]
    assert not pump.is_behind
    pump.close()


async def test_little_is_drained_at_once_and_much_at_the_close(pipes: list[Pipe]) -> None:
    pump = pipes[0].pump(LogShare())
    os.write(pipes[0].writing, b"one\ntwo")
    pump.drain()
    assert (pipes[0].got, pump.is_behind) == (["one", "two"], False)
    said = list[int]()
    os.write(pipes[0].writing, b"x\n" * 30_000)
    pump.drain()
    pump.then(lambda: said.append(len(pipes[0].got)))
    os.write(pipes[0].writing, b"last\n")
    pump.close()
    assert (len(pipes[0].got), pipes[0].got[-1], said) == (30_003, "last", [30_002])


async def test_lines_of_the_platform_stand_where_they_were_said(
    pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpump, "BITE_S", 0.0)
    lines: list[str] = []
    log, pump = log_of(pipes, lines)
    for number in range(3):
        log.started(f"r{number}", None)
        os.write(pipes[0].writing, b"x\n" * 8_000)
        pump.drain()
        log.say(f"said {number}")
        log.reported(report(f"r{number}"), None)
        assert pump.is_behind
    async with asyncio.timeout(60):
        while pump.is_behind:
            await asyncio.sleep(0.001)
    pump.close()
    shown = [" ".join(line.split()[:3]) for line in lines if line != "x\n"]
    assert shown == [
        text
        for n in range(3)
        for text in (f"START RequestId: r{n}", f"said {n}", f"END RequestId: r{n}", f"REPORT RequestId: r{n}")
    ]
    places = [at for at, line in enumerate(lines) if line.startswith(("START", "END"))]
    assert [end - start for start, end in zip(places[::2], places[1::2], strict=True)] == [8_002] * 3


async def test_who_asks_for_the_tail_has_it_with_the_last_lines(
    pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpump, "BITE_S", 0.0)
    log, pump = log_of(pipes, [])
    log.begin_tail()
    os.write(pipes[0].writing, b"x\n" * 8_000 + b"the last\n")
    pump.drain()
    log.reported(report("r"), None)
    tail = log.take_tail()
    assert tail is not None
    assert tail.splitlines()[-3] == b"the last"
    pump.close()


async def test_start_is_shown_soon_also_when_it_comes_after_what_was_printed(
    pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpump, "BITE_S", 0.0)
    lines: list[str] = []
    log, pump = log_of(pipes, lines)
    log.started("r0", None)
    assert lines == []
    await until_there(lines, 1)
    os.write(pipes[0].writing, b"x\n" * 8_000)
    pump.drain()
    assert pump.is_behind
    log.started("r1", None)
    await until_there(lines, 8_002)
    assert [lines[0].split()[2], lines[-1].split()[2]] == ["r0", "r1"]
    pump.close()


async def test_one_timer_shows_the_starts_of_all_environments(
    pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = 0
    call_later = asyncio.get_running_loop().call_later

    def counted(*args: Any) -> asyncio.TimerHandle:
        nonlocal timers
        timers += 1
        return call_later(*args)

    lines: list[str] = []
    held = HeldStarts()
    logs, pumps = zip(*(log_of(pipes[at:], lines, held) for at in range(2)), strict=True)
    with monkeypatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "call_later", counted)
        for number in range(100):
            for log in logs:
                log.started(f"r{number}", None)
                log.reported(report(f"r{number}"), None)
        for log in logs:
            log.started("last", None)
    assert timers == 1
    await until_there(lines, 602)
    assert [line.split()[2] for line in lines[-2:]] == ["last", "last"]
    for pump in pumps:
        pump.close()


async def until_there(lines: list[str], count: int) -> None:
    async with asyncio.timeout(60):
        while len(lines) < count:
            await asyncio.sleep(0.001)


def log_of(pipes: list[Pipe], lines: list[str], held: HeldStarts | None = None) -> tuple[EnvironmentLog, LogPump]:
    """An environment's log and its pump, for a function that prints to the first pipe."""

    class Sink:
        def append(self, account_id: str, region: str, group: str, stream: str, events: Any) -> None:
            lines.extend(text for _, text in events)

        async def drained(self, account_id: str, region: str, group: str) -> None: ...

    version = FunctionVersion(
        account_id="000000000000", region="us-east-1", name="f", version="$LATEST", role="r", runtime="python3.13",
        handler="h", code_digest="d", revision_id="1",
    )  # fmt: skip
    cage = SimpleNamespace(output_fd=pipes[0].reading, log_fd=pipes[1].reading)
    log = EnvironmentLog(version, cast(LogSink, Sink()), SystemClock(), "e", LogShare(), held or HeldStarts())
    return log, log.pump_to(cast(Cage, cage), cast(EnvironmentApi, SimpleNamespace(wants_telemetry=False)), False)


def report(request_id: str) -> loglines.InvocationReport:
    return loglines.InvocationReport(
        request_id=request_id, duration_ms=1.0, memory_mib=128, max_memory_used_mib=20, init_duration_ms=None,
        restore_duration_ms=None, status="success", error_type=None,
    )  # fmt: skip


def test_rests_add_up_over_all_pumps() -> None:
    share = LogShare()
    assert share.rest_s(BITE_S, 100.0) == pytest.approx(REST * BITE_S)
    assert share.rest_s(BITE_S, 100.0) == pytest.approx(2 * REST * BITE_S)
    assert share.rest_s(BITE_S, 200.0) == pytest.approx(REST * BITE_S)
