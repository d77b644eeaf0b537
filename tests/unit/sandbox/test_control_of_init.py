"""The server's end of an init's control socket: nothing that ran may end without being reported."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from lambent.model.cage import ProcessExit
from lambent.model.errors import SandboxError
from lambent.sandbox.initcontrol import HEARD_AT_ONCE, RUNTIME, InitControl
from lambent.sandbox.privileged import wire


class Control:
    """`init` is what an init would hold."""

    def __init__(self) -> None:
        ours, self.init = wire.pair()
        self.told: list[tuple[str, ProcessExit]] = []
        self.control = InitControl(ours, lambda: False)
        self.control.listen()
        self.control.on_exit(lambda name, how: self.told.append((name, how)))

    async def until_told(self) -> None:
        async with asyncio.timeout(5):
            while not self.told:
                await asyncio.sleep(0.001)


@pytest.fixture
async def made() -> Control:
    return Control()


@pytest.fixture(autouse=True)
def closed(made: Control) -> Iterator[None]:
    yield
    made.init.close()


@pytest.mark.parametrize("is_said", [True, False])
async def test_a_runtime_that_has_spoken_ends_with_its_init(made: Control, is_said: bool) -> None:
    started = made.control.start(RUNTIME, ("/program",), {}, fork=True, telemetry=True)
    made.control.has_spoken(RUNTIME)
    await started.done()
    if is_said:
        wire.send(made.init, {"event": "started", "name": RUNTIME, "pid": 2})
    made.init.close()
    await made.until_told()
    assert made.told == [(RUNTIME, ProcessExit(exit_status=None, signal=9, out_of_memory=False))]


async def test_an_end_is_reported_once(made: Control) -> None:
    made.control.start(RUNTIME, ("/program",), {}, fork=True, telemetry=True)
    assert wire.receive(made.init)[0]["op"] == "start"
    wire.send(made.init, {"event": "started", "name": RUNTIME, "pid": 2})
    wire.send(made.init, {"event": "exit", "name": RUNTIME, "status": 3, "signal": None, "memory": False})
    made.init.close()
    await made.until_told()
    async with asyncio.timeout(5):
        while not made.control.is_gone:
            await asyncio.sleep(0.001)
    assert made.told == [(RUNTIME, ProcessExit(exit_status=3, signal=None, out_of_memory=False))]


async def test_an_order_goes_to_whoever_reads_it(made: Control) -> None:
    ordering, order = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ordering, order:
        started = made.control.start(RUNTIME, ("/program",), {"A": "1"}, fork=True, telemetry=True, over=ordering)
        assert wire.receive(order)[0]["variables"] == {"A": "1"}
    made.init.close()  # nobody ever started it
    with pytest.raises(SandboxError, match="ended while it was being started"):
        await started.done()


async def test_one_that_never_stops_talking_does_not_keep_the_others_waiting(made: Control) -> None:
    made.init.setblocking(False)

    def talk() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                wire.send(made.init, {"event": "exit", "name": "nobody", "status": 0, "signal": None, "memory": False})

    hear, heard = made.control._hear, 0

    def answer_each(message: wire.Message, descriptors: list[int]) -> None:
        nonlocal heard
        heard += 1
        assert heard < 1000, "nobody else had a turn"
        talk()
        hear(message, descriptors)

    made.control._hear = answer_each  # type: ignore[method-assign]
    talk()
    while heard < 100:
        turn = heard
        await asyncio.sleep(0)
        assert heard - turn <= HEARD_AT_ONCE
    made.control.close()


@pytest.mark.parametrize(
    "message", [{}, {"event": "started", "name": RUNTIME}, {"event": "started", "pid": "x"}, {"event": "exit"}]
)
async def test_one_that_talks_nonsense_has_ended(made: Control, message: wire.Message) -> None:
    started = made.control.start(RUNTIME, ("/program",), {}, fork=True, telemetry=True)
    wire.send(made.init, message)
    with pytest.raises(SandboxError, match="ended while it was being started"):
        await started.done()
    assert made.control.is_gone
