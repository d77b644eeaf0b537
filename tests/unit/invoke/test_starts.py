"""Whose environment is built next."""

from __future__ import annotations

import asyncio

import pytest

from lambent.invoke.starts import Starts
from lambent.model.errors import SandboxError
from lambent.model.names import FunctionAddress

CROWD = 500


def function(name: str) -> FunctionAddress:
    return FunctionAddress("000000000000", "us-east-1", name)


class Site:
    """Builds environments; `step` lets the one that has been building for longest be done."""

    def __init__(self, starts: Starts) -> None:
        self.starts = starts
        self.begun: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._building: list[asyncio.Future[None]] = []

    def want(self, name: str, count: int = 1) -> None:
        self.tasks += [asyncio.create_task(self._build(name)) for _ in range(count)]

    async def step(self) -> None:
        self._building.pop(0).set_result(None)
        await settle()

    async def _build(self, name: str) -> None:
        async with self.starts.turn(function(name)):
            self.begun.append(name)
            done = asyncio.get_running_loop().create_future()
            self._building.append(done)
            await done

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_call_goes_before_the_rest_of_a_crowd() -> None:
    site = Site(Starts(at_once=8))
    site.want("crowd", CROWD)
    await settle()
    site.want("single")
    await settle()
    assert site.begun == ["crowd"] * 8
    await site.step()
    await site.step()
    assert site.begun[8:] == ["crowd", "single"]  # the crowd's turn had come already
    await site.end()


async def test_functions_take_turns_and_all_come_to_an_end() -> None:
    site = Site(Starts(at_once=1))
    for name in "abc":
        site.want(name, 3)
    await settle()
    for _ in range(9):
        await site.step()
    assert site.begun == ["a", "a", *"bcabcbc"] or site.begun == ["a", *"abcabcbc"], site.begun
    assert all(task.done() for task in site.tasks)


async def test_a_long_init_keeps_nobody_waiting() -> None:
    starts = Starts(at_once=1, init_s=0.01)
    may_end = asyncio.Event()
    ended: list[str] = []

    async def long() -> None:
        async with starts.turn(function("long")) as let_on:
            let_on()
            await may_end.wait()
        ended.append("long")

    task = asyncio.create_task(long())
    await settle()
    async with asyncio.timeout(5), starts.turn(function("other")):
        ended.append("other")
        may_end.set()
        await task
    assert ended == ["other", "long"]
    async with asyncio.timeout(5), starts.turn(function("a")):  # given back once, not twice
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), starts.turn(function("b")):
                pass


async def test_who_waits_too_long_is_told_and_keeps_no_turn() -> None:
    starts = Starts(at_once=1, wait_s=0.01)
    async with starts.turn(function("slow")):
        with pytest.raises(SandboxError, match="its turn did not come"):
            async with starts.turn(function("other")):
                pass
    async with asyncio.timeout(5), starts.turn(function("other")):
        pass


async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_it_on() -> None:
    starts = Starts(at_once=1)
    site = Site(starts)
    site.want("first")
    site.want("second")
    await settle()
    site._building[0].set_result(None)
    site.tasks[1].cancel()
    await settle()
    async with asyncio.timeout(5), starts.turn(function("third")):
        pass
    await site.end()


async def test_an_error_while_building_gives_the_turn_back() -> None:
    starts = Starts(at_once=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            async with asyncio.timeout(5), starts.turn(function("f")):
                raise ValueError("broken")
