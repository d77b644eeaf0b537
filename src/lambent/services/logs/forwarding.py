"""Hands the lines that subscriptions are owed to their destinations, over any number of restarts.

What is owed is on disk together with the lines. A subscription's own lines go in order; one that does not take them
delays no other. AWS tries for 24 hours:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from lambent.model.errors import AwsError
from lambent.model.limits import ASYNC_PAYLOAD_MAX_BYTES
from lambent.ports import Clock
from lambent.services.logs.destinations import SubscriptionDestinations, data_message, for_function, vendor_of
from lambent.services.logs.pattern import Match, compile_pattern
from lambent.store.database import StoreError
from lambent.store.logs import LogStore, Owed
from lambent.store.logs.chunks import Event
from lambent.telemetry.waiting import LONGEST_SLEEP_S, first_of

log = logging.getLogger(__name__)

GIVE_UP_S: Final = 24 * 3600.0
BACKOFF_FIRST_S: Final = 1.0  # ours, as the longest one
BACKOFF_LONGEST_S: Final = 300.0
RECORD_MAX_BYTES: Final = 1_000_000  # of Kinesis and Firehose, a little below
DISK_AGAIN_S: Final = 1.0
PATTERNS_REMEMBERED: Final = 1024


class Forwarder:
    """Runs as long as the server: give `run` a task."""

    def __init__(self, store: LogStore, destinations: SubscriptionDestinations, clock: Clock) -> None:
        self._store = store
        self._destinations = destinations
        self._clock = clock

    async def run(self) -> None:
        while True:
            try:
                await self._round()
            except StoreError:
                return  # the server is stopping
            except sqlite3.Error as error:
                log.error("what log subscriptions are owed cannot be looked up (%s); trying again", error)
                await asyncio.sleep(DISK_AGAIN_S)  # real time: the disk knows no other

    async def _round(self) -> None:
        """Everything that is due once, or waiting for it. Raises sqlite3.Error, StoreError."""
        self._store.written.clear()
        due, following_ms = await self._store.owed()
        if not due:
            wait_s = LONGEST_SLEEP_S if following_ms is None else following_ms / 1000 - self._clock.now()
            await first_of(self._store.written.wait(), self._clock.sleep(min(max(wait_s, 0.0), LONGEST_SLEEP_S)))
            return
        lanes: dict[tuple[str, str, str, str], list[Owed]] = {}
        for owed in due:
            lanes.setdefault(owed.lane, []).append(owed)
        async with asyncio.TaskGroup() as group:
            for lane in lanes.values():
                group.create_task(self._empty(lane))

    async def _empty(self, lane: Sequence[Owed]) -> None:
        for owed in lane:
            try:
                await self._send(owed)
            except AwsError as error:
                if not await self._failed(owed, error):
                    return
            except (StoreError, sqlite3.Error):
                raise
            except Exception:  # the outermost edge of one message: it must not hold up the others for ever
                log.exception("lines of %s cannot be sent; report it with this traceback", owed.group)
                await self._store.settle(owed)
            else:
                await self._store.settle(owed)

    async def _send(self, owed: Owed) -> None:
        """Raises AwsError."""
        events = await asyncio.to_thread(_wanted, owed)
        if not events:
            return
        document = owed.document
        is_random = document.get("distribution") == "Random"
        key = (owed.account_id, owed.region, owed.group)
        for number, message in enumerate(await asyncio.to_thread(lambda: list(_messages(owed, events)))):
            partition_key = f"{owed.id}-{number}" if is_random else owed.stream
            await self._destinations.send(key, document, message, partition_key)

    async def _failed(self, owed: Owed, error: AwsError) -> bool:
        """Whether the lane goes on."""
        is_passing = error.is_server_fault or error.status == 429 or "Exceeded" in error.code or "Throttl" in error.code
        if not is_passing or self._clock.now() - owed.accepted_ms / 1000 > GIVE_UP_S:
            log.error("lines of %s do not reach %s: %s", owed.group, owed.document["destinationArn"], error)
            await self._store.settle(owed)
            return True
        await self._store.postpone(owed, min(BACKOFF_FIRST_S * 2.0 ** min(owed.tries, 20), BACKOFF_LONGEST_S))
        return False


@functools.lru_cache(PATTERNS_REMEMBERED)
def _compiled(pattern: str) -> Match:
    return compile_pattern(pattern)


def _wanted(owed: Owed) -> Sequence[Event]:
    pattern = owed.document["filterPattern"]
    if not pattern.strip():
        return owed.events
    match = _compiled(pattern)
    return [event for event in owed.events if match(event[2])]


def _messages(owed: Owed, events: Sequence[Event]) -> Iterator[bytes]:
    """One, or several where one would be more than its destination takes."""
    message = data_message(owed.account_id, owed.group, owed.stream, (owed.filter,), events)
    if vendor_of(owed.document["destinationArn"]) == "lambda":
        fits = len(for_function(message)) <= ASYNC_PAYLOAD_MAX_BYTES
    else:
        fits = len(message) <= RECORD_MAX_BYTES
    if fits:
        yield message
    elif len(events) == 1:
        log.warning("a line of %s is too long for %s", owed.group, owed.document["destinationArn"])
    else:
        half = len(events) // 2
        yield from itertools.chain(_messages(owed, events[:half]), _messages(owed, events[half:]))
