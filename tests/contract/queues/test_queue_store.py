"""What the queue store promises, a promise at a time."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from lambent.store.queues import (
    MoveTaskRunning,
    NewMessage,
    PurgeInProgress,
    Queue,
    QueueDeletedRecently,
    QueueMissing,
    QueueStore,
    ReceiptExpired,
    ReceiptInvalid,
    Received,
    TooManyInFlight,
    read_handle,
    receiving,
)
from queue_clock import HandClock

ACCOUNT, REGION = "111122223333", "eu-west-1"
SOON_S = 5.0  # of real time: for what must happen without the clock being moved


def message(
    body: str = "hello", group: str | None = None, deduplication_id: str | None = None, delay_s: int = 0
) -> NewMessage:
    return NewMessage(
        body=body,
        body_md5="-",
        sender_id=ACCOUNT,
        group_id=group,
        deduplication_id=deduplication_id or body,
        delay_s=delay_s,
    )


async def make(store: QueueStore, name: str = "q", **attributes: str) -> Queue:
    return await store.create((ACCOUNT, REGION, name), attributes, {})


async def bodies(store: QueueStore, queue: Queue, count: int = 10, invisible_s: int = 30) -> list[str]:
    return [m.body for m in await store.receive(queue, count, invisible_s=invisible_s)]


async def settle() -> None:
    """Lets tasks run until they wait for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def waiting(task: asyncio.Task[list[Received]], store: QueueStore, queue: Queue) -> None:
    """Returns when the receiver waits in memory."""
    async with asyncio.timeout(SOON_S):
        while not store._arrivals_of(queue.id)._waiting:
            assert not task.done()
            await asyncio.sleep(0.001)


async def delete(store: QueueStore, queue: Queue, *messages: Received) -> list[str]:
    problems = await store.delete_messages(queue, [read_handle(queue.id, m.receipt_handle) for m in messages])
    return [type(p).__name__ for p in problems]


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_waits_gets_a_message_as_soon_as_it_is_sent(store: QueueStore) -> None:
    queue = await make(store)
    receiver = asyncio.create_task(store.receive(queue, 1, invisible_s=30, wait_s=20))
    await waiting(receiver, store, queue)
    await store.send(queue, [message()])
    (received,) = await asyncio.wait_for(receiver, SOON_S)
    assert received.body == "hello"


async def test_waiting_asks_no_disk(store: QueueStore, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = await make(store)
    assert await bodies(store, queue) == []
    receiver = asyncio.create_task(store.receive(queue, 1, invisible_s=30, wait_s=20))
    await waiting(receiver, store, queue)
    asked: list[object] = []
    monkeypatch.setattr(store._database, "write", asked.append)
    assert await bodies(store, queue) == []  # it is known to be empty
    await settle()
    assert not asked
    receiver.cancel()
    await asyncio.wait([receiver])


async def test_one_message_wakes_one_of_many_who_wait(store: QueueStore) -> None:
    queue = await make(store)
    receivers = [asyncio.create_task(store.receive(queue, 1, invisible_s=30, wait_s=20)) for _ in range(5)]
    async with asyncio.timeout(SOON_S):
        while len(store._arrivals_of(queue.id)._waiting) < 5:
            await asyncio.sleep(0.001)
    await store.send(queue, [message()])
    done, left = await asyncio.wait(receivers, return_when=asyncio.FIRST_COMPLETED, timeout=SOON_S)
    assert [[m.body for m in task.result()] for task in done] == [["hello"]]
    assert len(left) == 4
    await store.send(queue, [message(str(n)) for n in range(4)])
    done, left = await asyncio.wait(left, timeout=SOON_S)
    assert sorted(task.result()[0].body for task in done) == ["0", "1", "2", "3"]


async def test_who_waits_gets_nothing_when_the_time_is_over(store: QueueStore, clock: HandClock) -> None:
    queue = await make(store)
    receiver = asyncio.create_task(store.receive(queue, 1, invisible_s=30, wait_s=20))
    await waiting(receiver, store, queue)
    clock.advance(20)
    assert await asyncio.wait_for(receiver, SOON_S) == []


@pytest.mark.parametrize("why", ["delayed", "in flight", "given back"])
async def test_who_waits_gets_what_becomes_visible_meanwhile(store: QueueStore, clock: HandClock, why: str) -> None:
    queue = await make(store)
    await store.send(queue, [message(delay_s=10 if why == "delayed" else 0)])
    first = [] if why == "delayed" else await store.receive(queue, 1, invisible_s=10)
    receiver = asyncio.create_task(store.receive(queue, 1, invisible_s=30, wait_s=20))
    await waiting(receiver, store, queue)
    if why == "given back":
        await store.hide_messages(queue, [(read_handle(queue.id, first[0].receipt_handle), 0)])
    else:
        clock.advance(10)
    assert [m.body for m in await asyncio.wait_for(receiver, SOON_S)] == ["hello"]


async def test_a_receiver_that_leaves_passes_its_turn_on(store: QueueStore) -> None:
    queue = await make(store)
    leaving, staying = (asyncio.create_task(store.receive(queue, 1, invisible_s=30, wait_s=20)) for _ in range(2))
    async with asyncio.timeout(SOON_S):
        while len(store._arrivals_of(queue.id)._waiting) < 2:
            await asyncio.sleep(0.001)
    store._arrivals_of(queue.id).wake(1)
    leaving.cancel()
    await asyncio.wait([leaving])
    await store.send(queue, [message()])
    assert [m.body for m in await asyncio.wait_for(staying, SOON_S)] == ["hello"]


async def test_who_waits_is_told_that_the_queue_was_deleted(store: QueueStore) -> None:
    queue = await make(store)
    receiver = asyncio.create_task(store.receive(queue, 1, invisible_s=30, wait_s=20))
    await waiting(receiver, store, queue)
    await store.delete(queue.key)
    with pytest.raises(QueueMissing):
        await asyncio.wait_for(receiver, SOON_S)


# ── FIFO ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_takes_a_group_in_order_and_blocks_it(store: QueueStore, clock: HandClock) -> None:
    queue = await make(store, "q.fifo")
    await store.send(queue, [message(f"{g}{n}", g) for n in range(3) for g in "ab"])
    assert await bodies(store, queue, 2) == ["a0", "a1"]
    assert await bodies(store, queue, 10) == ["b0", "b1", "b2"]
    assert await bodies(store, queue, 10) == []
    clock.advance(30)
    assert await bodies(store, queue, 10) == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_a_group_waits_for_all_of_its_messages_in_flight(store: QueueStore) -> None:
    queue = await make(store, "q.fifo")
    await store.send(queue, [message(f"a{n}", "a") for n in range(4)])
    first, second = await store.receive(queue, 2, invisible_s=30)
    await delete(store, queue, second)
    assert await bodies(store, queue) == []
    await delete(store, queue, first)
    assert await bodies(store, queue) == ["a2", "a3"]


@pytest.mark.parametrize(("scope", "accepted"), [("queue", 1), ("messageGroup", 2)])
async def test_deduplication_is_of_the_queue_or_of_the_group(store: QueueStore, scope: str, accepted: int) -> None:
    queue = await make(store, "q.fifo", DeduplicationScope=scope)
    sent = await store.send(queue, [message("1", "a", "same"), message("2", "b", "same")])
    assert len({s.message_id for s in sent}) == accepted
    assert len(await bodies(store, queue)) == accepted


async def test_a_deleted_message_is_remembered_for_five_minutes(
    store: QueueStore, clock: HandClock, tmp_path: Path
) -> None:
    queue = await make(store, "q.fifo")
    (sent,) = await store.send(queue, [message("1", "a", "same")])
    await delete(store, queue, *await store.receive(queue, 1, invisible_s=30))
    clock.advance(299)
    await store.sweep()
    await store.close()
    again = await QueueStore.open(tmp_path / "queues.db", clock)
    assert await again.send(queue, [message("2", "a", "same")]) == [sent]
    assert await bodies(again, queue) == []
    clock.advance(1)
    await again.sweep()
    (other,) = await again.send(queue, [message("3", "a", "same")])
    assert other.message_id != sent.message_id
    assert int(other.sequence or 0) > int(sent.sequence or 0)
    assert len(other.sequence or "") == 20
    await again.close()


async def test_a_receive_attempt_can_be_repeated_until_something_changed(store: QueueStore, clock: HandClock) -> None:
    queue = await make(store, "q.fifo")
    await store.send(queue, [message(f"a{n}", "a") for n in range(3)])
    first = await store.receive(queue, 2, invisible_s=30, attempt_id="x")
    clock.advance(20)
    assert await store.receive(queue, 2, invisible_s=30, attempt_id="x") == first
    clock.advance(20)  # the repetition hid them anew
    assert await bodies(store, queue) == []
    assert await store.receive(queue, 2, invisible_s=30, attempt_id="y") == []
    await delete(store, queue, first[0])
    assert await store.receive(queue, 2, invisible_s=30, attempt_id="x") == []


async def test_a_late_receiver_of_a_fifo_queue_cannot_delete(store: QueueStore, clock: HandClock) -> None:
    queue = await make(store, "q.fifo")
    await store.send(queue, [message("a", "a")])
    (received,) = await store.receive(queue, 1, invisible_s=30)
    clock.advance(30)
    assert await delete(store, queue, received) == [ReceiptExpired.__name__]
    assert await bodies(store, queue) == ["a"]


async def test_a_clock_that_was_set_back_before_the_server_started_remembers_no_message_longer(
    store: QueueStore, clock: HandClock, tmp_path: Path
) -> None:
    queue = await make(store, "q.fifo")
    await store.send(queue, [message("1", "a", "same")])
    await delete(store, queue, *await store.receive(queue, 1, invisible_s=30))
    await store.close()
    clock.behind_s = 86_400
    again = await QueueStore.open(tmp_path / "queues.db", clock)
    clock.advance(300)
    await again.send(queue, [message("2", "a", "same")])
    assert await bodies(again, queue) == ["2"]
    await again.close()


# ── dead letters ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def with_dead_letters(store: QueueStore, suffix: str = "") -> tuple[Queue, Queue]:
    dead = await make(store, f"dead{suffix}")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
    return await make(store, f"q{suffix}", RedrivePolicy=policy), dead


@pytest.mark.parametrize("suffix", ["", ".fifo"])
async def test_a_message_received_too_often_goes_to_the_dead_letters(
    store: QueueStore, clock: HandClock, suffix: str
) -> None:
    queue, dead = await with_dead_letters(store, suffix)
    await store.send(queue, [message("1", "a"), message("2", "a")])
    assert await bodies(store, queue, 10, 0) == ["1", "2"]
    assert await bodies(store, queue, 10, 0) == ["1", "2"]
    receiver = asyncio.create_task(store.receive(dead, 1, invisible_s=30, wait_s=20))
    await waiting(receiver, store, dead)
    assert await bodies(store, queue, 10, 0) == []
    (given_up,) = await asyncio.wait_for(receiver, SOON_S)
    assert given_up.body == "1"
    assert given_up.dead_letter_source == queue.arn
    assert given_up.receive_count == 3
    await delete(store, dead, given_up)
    assert await bodies(store, dead) == ["2"]


async def test_moved_messages_go_back_to_where_they_came_from(store: QueueStore, clock: HandClock) -> None:
    queue, dead = await with_dead_letters(store)
    await store.send(queue, [message(str(n)) for n in range(250)])
    while (await store.counts(dead)).visible < 250:
        await bodies(store, queue, 10, 0)
    task = await store.start_move(dead, None, None)
    assert task.to_move == 250
    async with asyncio.timeout(SOON_S):
        while (await store.move_tasks(dead, 1))[0].status == "RUNNING":
            await asyncio.sleep(0.01)
    (ended,) = await store.move_tasks(dead, 10)
    assert (ended.status, ended.moved) == ("COMPLETED", 250)
    (received,) = await store.receive(queue, 1, invisible_s=30)
    assert (received.receive_count, received.dead_letter_source) == (1, None)


async def test_messages_of_a_group_are_moved_in_their_order_whoever_has_looked_at_them(
    store: QueueStore, clock: HandClock
) -> None:
    queue, dead = await make(store, "q.fifo"), await make(store, "dead.fifo")
    for group, looked_at_s in (("seen", 30), ("held", 300)):
        await store.send(dead, [message(f"{group}-{n}", group) for n in (1, 2)])
        assert await bodies(store, dead, 1, looked_at_s) == [f"{group}-1"]
    clock.advance(31)
    await store.start_move(dead, queue.arn, None)
    async with asyncio.timeout(SOON_S):
        while (await store.move_tasks(dead, 1))[0].status == "RUNNING":
            await asyncio.sleep(0.01)
    assert await bodies(store, queue) == ["seen-1", "seen-2"]
    clock.advance(270)
    assert await bodies(store, dead) == ["held-1", "held-2"]


async def test_a_move_is_no_faster_than_asked_and_goes_on_after_a_restart(
    store: QueueStore, clock: HandClock, tmp_path: Path
) -> None:
    queue, dead = await with_dead_letters(store)
    await store.send(dead, [message(str(n)) for n in range(3)])
    task = await store.start_move(dead, queue.arn, 1)
    with pytest.raises(MoveTaskRunning):
        await store.start_move(dead, None, None)

    async def moved(of: QueueStore, count: int) -> None:
        async with asyncio.timeout(SOON_S):
            while (await of.move_tasks(dead, 1))[0].moved != count:
                await asyncio.sleep(0.01)

    await moved(store, 1)
    await settle()
    assert (await store.counts(queue)).visible == 1
    await store.close()
    again = await QueueStore.open(tmp_path / "queues.db", clock)
    await moved(again, 2)
    assert (await again.cancel_move(task.id)).moved == 2
    clock.advance(10)
    await settle()
    assert [t.status for t in await again.move_tasks(dead, 10)] == ["CANCELLED"]
    assert (await again.counts(dead)).visible == 1
    await again.close()


async def test_a_move_of_messages_from_nowhere_fails(store: QueueStore) -> None:
    _, dead = await with_dead_letters(store)
    await store.send(dead, [message()])
    await store.start_move(dead, None, None)
    async with asyncio.timeout(SOON_S):
        while (await store.move_tasks(dead, 1))[0].status == "RUNNING":
            await asyncio.sleep(0.01)
    (task,) = await store.move_tasks(dead, 1)
    assert (task.status, task.failure, task.moved) == ("FAILED", "CouldNotDetermineMessageSource", 0)
    assert await bodies(store, dead) == ["hello"]


# ── what is taken away ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["q", "q.fifo"])
@pytest.mark.parametrize("swept", [True, False])
async def test_messages_are_kept_as_long_as_the_queue_says(
    store: QueueStore, clock: HandClock, name: str, swept: bool
) -> None:
    queue = await make(store, name, MessageRetentionPeriod="60")
    await store.send(queue, [message("old", "a")])
    clock.advance(30)
    await store.send(queue, [message("new", "a")])
    clock.advance(31)
    if swept:
        await store.sweep()
        assert (await store.counts(queue)).visible == 1
    assert await bodies(store, queue) == ["new"]


async def test_a_purge_takes_all_and_a_second_one_must_wait(
    store: QueueStore, clock: HandClock, tmp_path: Path
) -> None:
    queue = await make(store)
    await store.send(queue, [message(str(n)) for n in range(1200)])
    (in_flight,) = await store.receive(queue, 1, invisible_s=0)
    await store.purge(queue.key)
    queue = store.queue(queue.key)
    assert await bodies(store, queue) == []
    assert await delete(store, queue, in_flight) == ["NoneType"]
    with pytest.raises(PurgeInProgress):
        await store.purge(queue.key)
    await store.send(queue, [message("after")])
    clock.advance(60)
    async with asyncio.timeout(SOON_S):
        while await store._database.read(lambda c: c.execute("SELECT count(*) FROM contents").fetchone()[0]) > 1:
            await asyncio.sleep(0.01)
    assert await bodies(store, queue) == ["after"]
    await store.purge(queue.key)


async def test_a_deleted_queues_name_rests_for_a_minute(store: QueueStore, clock: HandClock) -> None:
    queue = await make(store)
    await store.send(queue, [message()])
    await store.delete(queue.key)
    with pytest.raises(QueueDeletedRecently):
        await make(store)
    with pytest.raises(QueueMissing):
        await store.send(queue, [message()])
    clock.advance(60)
    again = await make(store)
    assert await bodies(store, again) == []
    with pytest.raises(ReceiptInvalid):
        read_handle(again.id, "nonsense")


async def test_what_a_stopped_server_had_not_taken_away_is_taken_away_later(
    store: QueueStore, clock: HandClock, tmp_path: Path
) -> None:
    queue = await make(store)
    await store.send(queue, [message(str(n)) for n in range(10)])
    await store.close()
    with sqlite3.connect(tmp_path / "queues.db") as connection:
        connection.execute("DELETE FROM queues")
    connection.close()
    again = await QueueStore.open(tmp_path / "queues.db", clock)
    async with asyncio.timeout(SOON_S):
        while await again._database.read(lambda c: c.execute("SELECT count(*) FROM messages").fetchone()[0]):
            await asyncio.sleep(0.01)
    await again.close()


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["q", "q.fifo"])
async def test_only_so_many_messages_are_in_flight(
    store: QueueStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in ("lambent.store.queues.receiving.IN_FLIGHT_MAX", "lambent.store.queues.store.IN_FLIGHT_MAX"):
        monkeypatch.setattr(module, 3)
    queue = await make(store, name)
    await store.send(queue, [message(str(n), str(n)) for n in range(5)])
    received = await store.receive(queue, 3, invisible_s=30)
    if name == "q":
        with pytest.raises(TooManyInFlight):
            await store.receive(queue, 1, invisible_s=30)
    else:
        assert await bodies(store, queue, 1) == []
    await delete(store, queue, received[0])
    clock.advance(2)
    assert len(await bodies(store, queue, 1)) == 1
    clock.advance(30)
    assert len(await bodies(store, queue, 3)) == 3


async def test_receiving_uses_an_index_at_any_depth(store: QueueStore) -> None:
    await make(store)

    def plan(connection: sqlite3.Connection, sql: str, *values: object) -> str:
        return " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))

    by_visibility = await store._database.read(lambda c: plan(c, receiving._BY_VISIBILITY, 1, 1, 10))
    by_group = await store._database.read(lambda c: plan(c, receiving._BY_GROUP, 1, "a", 10))
    for found in (by_visibility, by_group):
        assert "USING INDEX messages_by_" in found
        assert "SCAN" not in found
        assert "TEMP B-TREE" not in found
