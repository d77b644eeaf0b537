"""How full queues are."""

from __future__ import annotations

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
