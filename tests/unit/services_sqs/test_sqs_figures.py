"""How full queues are."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.model.metrics import Series
from lambent.services.sqs.figures import ACTIVE_S, QueueLevels
from sqs_harness import Sqs


async def test_levels_of_queues_in_use(sqs: Sqs) -> None:
    told: dict[Series, float | None] = {}
    levels = QueueLevels(sqs.store, sqs.clock, told.__setitem__)
    url = await sqs.queue("q")
    for delay_s in (0, 0, 0, 60):
        await sqs.call("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=delay_s)
    await sqs.call("ReceiveMessage", QueueUrl=url)
    sqs.clock.advance(7)

    async def look() -> dict[str, float | None]:
        told.clear()
        await levels.look()
        return {series.name: value for series, value in told.items()}

    names = ("Visible", "NotVisible", "Delayed")
    assert await look() == {
        **dict(zip((f"ApproximateNumberOfMessages{n}" for n in names), (2, 1, 1), strict=True)),
        "ApproximateAgeOfOldestMessage": 7,
    }
    sqs.clock.now_s += 2 * ACTIVE_S
    assert (await look())["ApproximateNumberOfMessagesVisible"] == 4  # nobody used it, but there are messages
    await sqs.call("PurgeQueue", QueueUrl=url)
    sqs.clock.now_s += 2 * ACTIVE_S
    assert set((await look()).values()) == {None}  # said once
    assert await look() == {}


async def test_many_empty_queues_are_looked_at_together(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(250):
        await sqs.store.create(("111122223333", "eu-west-1", f"q{number}"), {}, {})
    url = await sqs.queue("full")
    await sqs.call("SendMessage", QueueUrl=url, MessageBody="x")
    told: dict[Series, float | None] = {}
    reads = 0
    read = sqs.store._database.read

    async def counted(work: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(work)

    monkeypatch.setattr(sqs.store._database, "read", counted)
    await QueueLevels(sqs.store, sqs.clock, told.__setitem__).look()
    visible = [value for series, value in told.items() if series.name == "ApproximateNumberOfMessagesVisible"]
    assert (len(visible), sum(value or 0 for value in visible)) == (251, 1)
    await sqs.store.sweep()
    assert reads == 3 + 1 + 3  # all in three portions, the one that has messages once more, and all again
