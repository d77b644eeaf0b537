"""Lambent's own figures on their way into the store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

import pytest

from cloudwatch_harness import CloudWatch
from lambent.model.metrics import Series
from lambent.services.cloudwatch import Publisher
from lambent.store.metrics import Point
from lambent.telemetry.metrics import Metrics

SERIES = Series("000000000000", "us-east-1", "App", "m", (), "Count")


async def sums(cloudwatch: CloudWatch) -> list[float]:
    return [point["Sum"] for point in await cloudwatch.statistics("Sum")]


async def test_figures_belong_to_the_minute_in_which_they_were_told(cloudwatch: CloudWatch) -> None:
    metrics, clock = Metrics(), cloudwatch.clock
    clock.now_s += 57 - clock.now_s % 60  # three seconds before a minute ends
    publisher = Publisher(metrics, cloudwatch.store, clock)
    running = asyncio.get_running_loop().create_task(publisher.run())
    await asyncio.sleep(0)
    metrics.observe(SERIES)
    clock.advance(3)
    while not await sums(cloudwatch):
        await asyncio.sleep(0)
    metrics.observe(SERIES, 5.0)
    await publisher.flush()
    assert await sums(cloudwatch) == [1, 5]
    running.cancel()


async def test_what_a_full_disk_refuses_is_put_later(cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    publisher = Publisher(metrics, cloudwatch.store, cloudwatch.clock)
    put = cloudwatch.store.put

    async def refuse(points: Sequence[Point]) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(cloudwatch.store, "put", refuse)
    metrics.observe(SERIES, 2.0)
    await publisher.flush()
    metrics.observe(SERIES, 3.0)
    await publisher.flush()
    assert await sums(cloudwatch) == []
    monkeypatch.setattr(cloudwatch.store, "put", put)
    await publisher.flush()
    assert await sums(cloudwatch) == [5]
