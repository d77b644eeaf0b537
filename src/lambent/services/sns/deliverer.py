"""Sees to it that each subscription gets what it is owed, over any number of restarts.

Every subscription has a lane of its own, so one that is down delays no other; what it owes to its dead letters has another.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from lambent.ports import NO_TELEMETRY, Clock, Telemetry
from lambent.services.sns.attributes import HTTP_PROTOCOLS, dead_letters_of, effective_policy
from lambent.services.sns.content import Message
from lambent.services.sns.delivery_policy import MAIL, MANAGED, Phases, phases_of
from lambent.services.sns.figures import TopicFigures
from lambent.services.sns.notices import Notice, subscription_of_notices
from lambent.services.sns.senders import Letter, Parcel, Refused, Senders
from lambent.store.ascending_clock import AscendingClock
from lambent.store.database import StoreError
from lambent.store.rewriting import until_written
from lambent.store.topics import Delivery, NewDelivery, Settled, State, Subscription, Topic, TopicStore
from lambent.telemetry.waiting import Alarm

log = logging.getLogger(__name__)

TOGETHER: Final = 10  # deliveries of one lane at the same time
TOGETHER_TO_QUEUE: Final = 50  # they wait for nobody
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
BATCH_MAX: Final = 10
BATCH_MAX_BYTES: Final = 1_048_576
RESTART_LANE_S: Final = 1.0  # after a disk that failed
_DEAD: Final = "dead "  # lanes of dead letters: "dead QUEUE-ARN TOPIC-ARN"


class Deliverer:
    """One server's. Used on one event loop."""

    def __init__(self, store: TopicStore, senders: Senders, clock: Clock, telemetry: Telemetry = NO_TELEMETRY) -> None:
        self._figures = TopicFigures(telemetry)
        self._store = store
        self._senders = senders
        self._clock = AscendingClock(clock, store.now_ms() / 1000)
        self._alarms: dict[str, Alarm] = {}  # by lane, of those that run
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Goes on with what an earlier server accepted. Raises sqlite3.Error."""
        for lane in await self._store.lanes():
            self.wake(lane)

    async def close(self) -> None:
        """Interrupts what is being sent; the next server sends it again."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self, lane: str) -> None:
        """It may be owed something."""
        alarm = self._alarms.get(lane)
        if alarm is not None:
            alarm.ring()
        elif not self._closed:
            alarm = self._alarms[lane] = Alarm(self._clock)
            task = asyncio.get_running_loop().create_task(self._keep_running(lane, alarm), name=f"sns {lane}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _keep_running(self, lane: str, alarm: Alarm) -> None:
        """Until nothing is owed. There is no waiting between its last look and its leaving `_alarms`."""
        while True:
            try:
                await self._run(lane, alarm)
            except StoreError:  # the server is stopping: the next one goes on
                return
            except Exception as error:  # the outermost edge of a lane: what it is owed must not be forgotten
                if isinstance(error, sqlite3.Error):
                    log.error("deliveries cannot be read or written (%s); make room on the disk: trying again", error)
                else:
                    log.exception("deliveries of %s broke and go on in a second: report it with this traceback", lane)
                await asyncio.sleep(RESTART_LANE_S)  # real time: the disk knows no other
            else:
                del self._alarms[lane]
                return

    async def _run(self, lane: str, alarm: Alarm) -> None:
        while True:
            alarm.reset()
            due, following_ms = await self._store.due(lane, *self._manner(lane))
            if due:
                await self._serve(lane, due)
            elif following_ms is not None:
                await alarm.wait(following_ms / 1000 - self._clock.now())
            elif not alarm.has_rung:
                return

    def _manner(self, lane: str) -> tuple[int, bool]:
        """How many are sent together, and whether in their order."""
        if lane.startswith(_DEAD):
            return TOGETHER_TO_QUEUE, lane.split(" ")[1].endswith(".fifo")
        subscription = self._store.subscription(lane)
        if subscription is None or subscription.protocol != "sqs":
            return TOGETHER, False
        return TOGETHER_TO_QUEUE, subscription.topic_arn.endswith(".fifo")

    async def _serve(self, lane: str, due: Sequence[Delivery]) -> None:
        if lane.startswith(_DEAD):
            await self._send_letters(lane, due)
            return
        subscription = self._store.subscription(subscription_of_notices(lane) or lane)
        topic = self._store.topic(subscription.topic_arn) if subscription is not None else None
        is_over = subscription is not None and subscription.state is State.LEFT and lane == subscription.id
        if subscription is None or topic is None or is_over:
            await self._take_down(Settled(ended=due))  # nobody wants it any more
            return
        kind: type[Message] | type[Notice] = Message if lane == subscription.id else Notice
        parcels = [
            Parcel(
                topic=topic, subscription=subscription, sequence=each.sequence,
                content=msgspec.msgpack.decode(each.content, type=kind),
            )
            for each in due
        ]  # fmt: skip
        outcomes = await self._send(subscription, parcels)
        await self._settle(due, parcels, outcomes)
        rate = (effective_policy(topic, subscription)["throttlePolicy"] or {}).get("maxReceivesPerSecond")
        if rate and subscription.protocol in HTTP_PROTOCOLS:
            await self._clock.sleep(len(due) / rate)

    async def _send(self, subscription: Subscription, parcels: Sequence[Parcel]) -> list[Refused | None]:
        if subscription.protocol == "sqs":
            letters = await self._senders.letters(parcels)
            return await self._to_queue(subscription.endpoint, subscription.topic_arn, letters)
        return list(await asyncio.gather(*[self._send_one(parcel) for parcel in parcels]))

    async def _to_queue(self, queue_arn: str, topic_arn: str, letters: Sequence[Letter]) -> list[Refused | None]:
        """For each None or why it was not taken. An ordered queue gets none behind one that is to be sent again."""
        chunks: list[Sequence[Letter]] = []
        while (sorted_out := sum(map(len, chunks))) < len(letters):
            chunks.append(_fitting(letters[sorted_out:]))
        if queue_arn.endswith(".fifo"):
            return await self._in_order(queue_arn, topic_arn, chunks)
        sent = await asyncio.gather(*[self._send_chunk(queue_arn, topic_arn, chunk) for chunk in chunks])
        return [outcome for outcomes in sent for outcome in outcomes]

    async def _in_order(
        self, queue_arn: str, topic_arn: str, chunks: Sequence[Sequence[Letter]]
    ) -> list[Refused | None]:
        outcomes: list[Refused | None] = []
        again: Refused | None = None
        for chunk in chunks:
            if again is not None:
                outcomes += [again] * len(chunk)
                continue
            found = await self._send_chunk(queue_arn, topic_arn, chunk)
            if len(chunk) > 1 and all(refused is not None and refused.is_final for refused in found):
                # Such a queue takes all of a batch or nothing: one that it may not have must not harm the others.
                found = await self._in_order(queue_arn, topic_arn, [[letter] for letter in chunk])
            outcomes += found
            again = next((refused for refused in found if refused is not None and not refused.is_final), None)
        return outcomes

    async def _send_chunk(self, queue_arn: str, topic_arn: str, chunk: Sequence[Letter]) -> list[Refused | None]:
        try:
            return await self._senders.to_queue(queue_arn, topic_arn, chunk)
        except Refused as refused:
            return [refused] * len(chunk)

    async def _send_one(self, parcel: Parcel) -> Refused | None:
        send = {"lambda": self._senders.to_function, "http": self._senders.to_http, "https": self._senders.to_http}.get(
            parcel.subscription.protocol, self._senders.to_mail
        )
        try:
            await send(parcel)
        except Refused as refused:
            return refused
        return None

    async def _settle(
        self, due: Sequence[Delivery], parcels: Sequence[Parcel], outcomes: Sequence[Refused | None]
    ) -> None:
        topic, subscription = parcels[0].topic, parcels[0].subscription
        phases = _phases(topic, subscription)
        ended, postponed, given_up = [], [], []
        for each, parcel, refused in zip(due, parcels, outcomes, strict=True):
            delay_s = None if refused is None or refused.is_final else phases.delay_s(each.tries + 1)
            if refused is None or delay_s is None:
                ended.append(each)
            else:
                postponed.append((each, int((self._clock.now() + delay_s) * 1000)))
            if refused is not None and delay_s is None:
                given_up.append(parcel)
                log.warning("message %s to %s is given up: %s", parcel.content.id, subscription.endpoint, refused)
        if postponed and not postponed[0][0].tries:
            why = next(refused for refused in outcomes if refused is not None and not refused.is_final)
            log.warning("%d messages to %s are tried again: %s", len(postponed), subscription.endpoint, why)
        instead = await self._dead_letters(subscription, given_up)
        await self._take_down(Settled(ended=ended, postponed=postponed, instead=instead))
        if isinstance(parcels[0].content, Message):
            self._figures.count(topic.arn, "NumberOfNotificationsDelivered", len(ended) - len(given_up))
            self._figures.count(topic.arn, "NumberOfNotificationsFailed", len(given_up))
        for lane in {new.lane for new in instead}:
            self.wake(lane)

    async def _take_down(self, settled: Settled) -> None:
        await until_written("what came of deliveries", partial(self._store.settle, settled))

    async def _dead_letters(self, subscription: Subscription, given_up: Sequence[Parcel]) -> list[NewDelivery]:
        queue_arn = dead_letters_of(subscription)
        letters = [parcel for parcel in given_up if isinstance(parcel.content, Message)]
        if queue_arn is None or not letters:
            return []
        lane = f"{_DEAD}{queue_arn} {subscription.topic_arn}"
        return [
            NewDelivery(lane=lane, content=msgspec.msgpack.encode(letter))
            for letter in await self._senders.letters(letters)
        ]

    async def _send_letters(self, lane: str, due: Sequence[Delivery]) -> None:
        _, queue_arn, topic_arn = lane.split(" ")
        letters = [msgspec.msgpack.decode(each.content, type=Letter) for each in due]
        outcomes = await self._to_queue(queue_arn, topic_arn, letters)
        ended, postponed = [], []
        for each, refused in zip(due, outcomes, strict=True):
            # A queue that is missing or refuses may be put right: what is dead already is worth waiting for.
            delay_s = None if refused is None else MANAGED.delay_s(each.tries + 1)
            if refused is None or delay_s is None:
                ended.append(each)
            else:
                postponed.append((each, int((self._clock.now() + delay_s) * 1000)))
            if refused is not None and delay_s is None:
                log.error("a dead letter of %s to %s is lost: %s", topic_arn, queue_arn, refused)
                self._figures.count(topic_arn, "NumberOfNotificationsFailedToRedriveToDlq", 1)
        if postponed and not postponed[0][0].tries:
            why = next(refused for refused in outcomes if refused is not None)
            log.error("dead letters of %s wait until %s takes them: %s", topic_arn, queue_arn, why)
        await self._take_down(Settled(ended=ended, postponed=postponed))
        self._figures.count(topic_arn, "NumberOfNotificationsRedrivenToDlq", outcomes.count(None))


def _phases(topic: Topic, subscription: Subscription) -> Phases:
    if subscription.protocol in HTTP_PROTOCOLS:
        return phases_of(effective_policy(topic, subscription))
    return MANAGED if subscription.protocol in ("sqs", "lambda") else MAIL


def _fitting(letters: Sequence[Letter]) -> Sequence[Letter]:
    """As many from the first as a queue takes in one request; at least one."""
    total = 0
    for count, letter in enumerate(letters):
        total += letter.size_bytes
        if count and (count == BATCH_MAX or total > BATCH_MAX_BYTES):
            return letters[:count]
    return letters
