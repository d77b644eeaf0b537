"""A server that ends before or after any of its writes, from Publish to the last delivery, loses nothing it accepted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from lambent.model.errors import AwsError
from lambent.store.database import Database, StoreError
from sns_harness import SOON_S, World

STEPS = range(1, 6)  # publishing, sending to two queues, settling both; and one that there is not
_write = Database.write


class Death:
    """Stops every write from the given one on, as if the process had ended there."""

    def __init__(self, step: int, is_before: bool) -> None:
        self._step = step
        self._is_before = is_before
        self._count = 0
        self.has_come = asyncio.Event()
        self.is_over = asyncio.Event()

    async def write(
        self, database: Database, work: Callable[[sqlite3.Connection], Any], committed: Callable[[Any], None] | None
    ) -> Any:
        self._count += 1
        if self._count < self._step:
            return await _write(database, work, committed)
        if self._count == self._step and not self._is_before:
            await _write(database, work, committed)
        self.has_come.set()
        await self.is_over.wait()
        raise StoreError("the process has ended")


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("suffix", ["", ".fifo"], ids=["standard", "fifo"])
async def test_what_was_accepted_arrives(
    world: World, monkeypatch: pytest.MonkeyPatch, suffix: str, step: int, is_before: bool
) -> None:
    queues = [f"one{suffix}", f"two{suffix}"]
    topic = await world.topic(f"t{suffix}")
    for queue in queues:
        await world.subscribe(topic, "sqs", await world.queue(queue), RawMessageDelivery="true")
    members = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if suffix else {}
    death = Death(step, is_before)

    async def write(self: Database, work: Any, committed: Any = None) -> Any:
        return await death.write(self, work, committed)

    monkeypatch.setattr(Database, "write", write)
    publishing = asyncio.create_task(world.sns("Publish", TopicArn=topic, Message="m", **members))
    is_accepted = await until_dead_or_done(world, death, publishing)
    monkeypatch.undo()
    await world.begin()
    if is_accepted:
        for queue in queues:
            assert (await world.received(queue))[0]["Body"] == "m"
    await world.idle()
    if suffix:  # what was sent twice came once
        for kept in world.queues.queues_of("111122223333", "eu-west-1"):
            assert (await world.queues.counts(kept)).visible == 0 or not is_accepted


async def until_dead_or_done(world: World, death: Death, publishing: asyncio.Task[Any]) -> bool:
    """Ends the server where it died; whether Publish had answered."""
    died = asyncio.create_task(death.has_come.wait())
    async with asyncio.timeout(SOON_S):
        await asyncio.wait([died, publishing], return_when=asyncio.FIRST_COMPLETED)
        while not (died.done() or (publishing.done() and not world.deliverer._alarms)):
            await asyncio.sleep(0.002)
    died.cancel()
    is_accepted = publishing.done()
    await world.deliverer.close()
    death.is_over.set()
    if not is_accepted:
        with pytest.raises(AwsError):
            await publishing
    await world.end()
    return is_accepted
