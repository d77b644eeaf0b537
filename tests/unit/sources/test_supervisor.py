"""Mappings become what their documents say, and their states say what is true."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from control_harness import ACCOUNT, REGION, Control
from lambent.sources.supervisor import Supervisor

ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"


@attrs.define(eq=False)
class Poller:
    mapping: Mapping[str, Any]
    may_overlap: bool
    life: list[str] = attrs.field(factory=list)
    may_finish: asyncio.Event = attrs.field(factory=asyncio.Event)

    def start(self) -> None:
        self.life.append("started")

    async def stop_reading(self) -> None:
        self.life.append("stopped reading")

    async def finished(self) -> None:
        await self.may_finish.wait()
        self.life.append("finished")

    async def abandon(self) -> None:
        self.life.append("abandoned")


@attrs.define
class Supervised:
    control: Control
    may_overlap: bool = False
    pollers: list[Poller] = attrs.field(factory=list)
    forgotten: list[str] = attrs.field(factory=list)

    def make(self, key: tuple[str, str, str], mapping: Mapping[str, Any]) -> Poller | None:
        if "Topics" in mapping:
            return None
        self.pollers.append(Poller(mapping, self.may_overlap))
        return self.pollers[-1]

    async def forget(self, mapping_id: str) -> None:
        self.forgotten.append(mapping_id)

    async def create(self, queue: str, **members: Any) -> str:
        made = await self.control("CreateEventSourceMapping", FunctionName="f", EventSourceArn=ARN + queue, **members)
        mapping_id: str = made["UUID"]
        return mapping_id

    async def state(self, mapping_id: str) -> str | None:
        for mapping in (await self.control("ListEventSourceMappings"))["EventSourceMappings"]:
            if mapping["UUID"] == mapping_id:
                state: str = mapping["State"]
                return state
        return None

    async def until(self, mapping_id: str, state: str | None) -> None:
        async with asyncio.timeout(10):
            while await self.state(mapping_id) != state:
                await asyncio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        supervisor = Supervisor(self.control.catalog, self.control.clock, self.make, self.forget, 0.01)
        task = asyncio.create_task(supervisor.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await supervisor.close()


@pytest.fixture
async def supervised(tmp_path: Path) -> AsyncIterator[Supervised]:
    control = Control(tmp_path)
    await control.create("f")
    yield Supervised(control)
    await control.close()


async def test_a_mapping_is_enabled_once_its_poller_runs(supervised: Supervised) -> None:
    mapping_id = await supervised.create("q")
    assert await supervised.state(mapping_id) == "Creating"
    async with supervised.running():
        await supervised.until(mapping_id, "Enabled")
        assert [poller.life for poller in supervised.pollers] == [["started"]]
    assert supervised.pollers[0].life == ["started", "stopped reading", "abandoned"]


async def test_a_server_that_stops_waits_for_batches_that_soon_end(supervised: Supervised) -> None:
    async with supervised.running():
        await supervised.until(await supervised.create("q"), "Enabled")
        supervised.pollers[0].may_finish.set()
    assert supervised.pollers[0].life == ["started", "stopped reading", "finished", "abandoned"]


async def test_a_disabled_mapping_has_no_poller(supervised: Supervised) -> None:
    async with supervised.running():
        await supervised.until(await supervised.create("q", Enabled=False), "Disabled")
    assert supervised.pollers == []


@pytest.mark.parametrize(
    ("operation", "members", "meanwhile", "afterwards"),
    [
        ("UpdateEventSourceMapping", {"Enabled": False}, "Disabling", "Disabled"),
        ("DeleteEventSourceMapping", {}, "Deleting", None),
    ],
)
async def test_a_mapping_ends_when_the_batches_that_it_had_begun_have(
    supervised: Supervised, operation: str, members: dict[str, Any], meanwhile: str, afterwards: str | None
) -> None:
    async with supervised.running():
        slow, other = await supervised.create("slow"), await supervised.create("other")
        await supervised.until(slow, "Enabled")
        await supervised.until(other, "Enabled")
        for poller in supervised.pollers[1:]:
            poller.may_finish.set()
        by_queue = {poller.mapping["EventSourceArn"]: poller for poller in supervised.pollers}
        by_queue[ARN + "slow"].may_finish.clear()
        by_queue[ARN + "other"].may_finish.set()
        await supervised.control(operation, UUID=slow, **members)
        await supervised.control(operation, UUID=other, **members)
        await supervised.until(other, afterwards)  # it is not delayed by the slow one
        assert await supervised.state(slow) == meanwhile
        by_queue[ARN + "slow"].may_finish.set()
        await supervised.until(slow, afterwards)
        assert by_queue[ARN + "slow"].life == ["started", "stopped reading", "finished"]
    assert supervised.forgotten.count(slow) == (afterwards is None)


async def test_a_changed_mapping_gets_another_poller(supervised: Supervised) -> None:
    async with supervised.running():
        mapping_id = await supervised.create("q")
        await supervised.until(mapping_id, "Enabled")
        supervised.pollers[0].may_finish.set()
        await supervised.control("UpdateEventSourceMapping", UUID=mapping_id, BatchSize=3)
        await supervised.until(mapping_id, "Enabled")
        assert [poller.mapping["BatchSize"] for poller in supervised.pollers] == [10, 3]
        assert supervised.pollers[0].life == ["started", "stopped reading", "finished"]


@pytest.mark.parametrize("may_overlap", [True, False], ids=["a queue", "a stream"])
async def test_another_poller_waits_for_the_old_ones_batches_only_where_both_would_read_the_same(
    supervised: Supervised, may_overlap: bool
) -> None:
    supervised.may_overlap = may_overlap
    async with supervised.running():
        mapping_id = await supervised.create("q")
        await supervised.until(mapping_id, "Enabled")
        await supervised.control("UpdateEventSourceMapping", UUID=mapping_id, BatchSize=3)
        if may_overlap:
            await supervised.until(mapping_id, "Enabled")
            assert len(supervised.pollers) == 2
            assert supervised.pollers[0].life == ["started", "stopped reading"]
            await supervised.control("DeleteEventSourceMapping", UUID=mapping_id)
            supervised.pollers[1].may_finish.set()
            await asyncio.sleep(0.02)
            assert await supervised.state(mapping_id) == "Deleting"  # the old one's batches still run
            supervised.pollers[0].may_finish.set()
            await supervised.until(mapping_id, None)
        else:
            await asyncio.sleep(0.02)
            assert await supervised.state(mapping_id) == "Updating"
            assert len(supervised.pollers) == 1
            supervised.pollers[0].may_finish.set()
            await supervised.until(mapping_id, "Enabled")
            assert len(supervised.pollers) == 2


async def test_a_server_that_stops_ends_what_it_was_waiting_for(supervised: Supervised) -> None:
    async with supervised.running():
        mapping_id = await supervised.create("q")
        await supervised.until(mapping_id, "Enabled")
        await supervised.control("DeleteEventSourceMapping", UUID=mapping_id)
        async with asyncio.timeout(10):
            while supervised.pollers[0].life[-1] != "stopped reading":
                await asyncio.sleep(0.001)
    assert supervised.pollers[0].life[-1] == "abandoned"


async def test_pollers_start_again_with_the_server(supervised: Supervised) -> None:
    async with supervised.running():
        mapping_id = await supervised.create("q")
        await supervised.until(mapping_id, "Enabled")
    async with supervised.running():
        async with asyncio.timeout(10):
            while len(supervised.pollers) < 2:
                await asyncio.sleep(0.001)
        assert await supervised.state(mapping_id) == "Enabled"


async def test_a_source_that_is_not_polled_says_so(supervised: Supervised) -> None:
    async with supervised.running():
        made = await supervised.control(
            "CreateEventSourceMapping", FunctionName="f", StartingPosition="LATEST", Topics=["t"],
            EventSourceArn=f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/1",
        )  # fmt: skip
        await supervised.until(made["UUID"], "Enabled")
        found = await supervised.control("GetEventSourceMapping", UUID=made["UUID"])
        assert found["LastProcessingResult"] == "PROBLEM: This server does not poll event sources of this kind."
