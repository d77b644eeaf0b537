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

from lambent.model.errors import AwsError, service_fault
from lambent.model.limits import ASYNC_PAYLOAD_MAX_BYTES
from lambent.ports import Clock
from lambent.services.logs.destinations import SubscriptionDestinations, data_message, for_function, vendor_of
from lambent.services.logs.pattern import Match, compile_pattern
from lambent.store.database import StoreError
from lambent.store.logs import Lane, LogStore, Owed
from lambent.store.logs.chunks import Event
from lambent.store.rewriting import until_written

log = logging.getLogger(__name__)

GIVE_UP_S: Final = 24 * 3600.0
BACKOFF_FIRST_S: Final = 1.0  # ours, as the longest one
BACKOFF_LONGEST_S: Final = 300.0
RECORD_MAX_BYTES: Final = 1_000_000  # of Kinesis and Firehose, a little below
TRIES_WHEN_BROKEN: Final = 8  # some four minutes
DISK_AGAIN_S: Final = 1.0
PATTERNS_REMEMBERED: Final = 1024


class Forwarder:
    """Runs as long as the server: give `run` a task."""

    def __init__(self, store: LogStore, destinations: SubscriptionDestinations, clock: Clock) -> None:
        self._store = store
        self._destinations = destinations
        self._clock = clock
        self._has_news: dict[Lane, bool] = {}  # of the lanes that run: whether there may be more than they have seen

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:  # no lane raises
            while True:
                self._store.written.clear()
                try:
                    lanes = await self._store.lanes()
                except sqlite3.Error as error:
                    await _again_soon(error)
                    continue
                for lane in lanes:
                    if lane not in self._has_news:
                        group.create_task(self._serve(lane), name=f"lines for subscription {lane[1]}")
                    self._has_news[lane] = True
                await self._store.written.wait()

    async def _serve(self, lane: Lane) -> None:
        """Until nothing is owed. There is no waiting between its last look and its leaving."""
        while self._has_news[lane]:
            self._has_news[lane] = False
            try:
                while owed := await self._store.owed(lane):
                    await self._hand_over(owed)
            except StoreError:
                break  # the server is stopping
            except sqlite3.Error as error:
                self._has_news[lane] = True
                await _again_soon(error)
        del self._has_news[lane]

    async def _hand_over(self, lane: Sequence[Owed]) -> None:
        """In order, until one is to be tried again: returns when it is. Raises StoreError, sqlite3.Error."""
        for owed in lane:
            wait_s = None
            try:
                await self._send(owed)
            except AwsError as error:
                wait_s = self._after_failure(owed, error)
            except (StoreError, sqlite3.Error):
                raise
            except Exception as error:  # the outermost edge of one message: it must not hold up the others for ever
                log.exception("lines of %s cannot be sent; report it with this traceback", owed.group)
                if owed.tries < TRIES_WHEN_BROKEN:
                    wait_s = self._after_failure(owed, service_fault(repr(error)))
            if wait_s is not None:
                await until_written("that lines were not taken", lambda: self._store.tried(owed))  # noqa: B023
                await self._clock.sleep(wait_s)
                return
            await until_written("that lines were handed over", lambda: self._store.settle(owed))  # noqa: B023

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

    def _after_failure(self, owed: Owed, error: AwsError) -> float | None:
        """How long to wait before it is tried again; None gives it up."""
        is_passing = error.is_server_fault or error.status == 429 or "Exceeded" in error.code or "Throttl" in error.code
        if not is_passing or self._clock.now() - owed.accepted_ms / 1000 > GIVE_UP_S:
            log.error("lines of %s do not reach %s: %s", owed.group, owed.document["destinationArn"], error)
            return None
        return float(min(BACKOFF_FIRST_S * 2.0 ** min(owed.tries, 20), BACKOFF_LONGEST_S))


async def _again_soon(error: sqlite3.Error) -> None:
    log.error("what log subscriptions are owed cannot be looked up (%s); trying again", error)
    await asyncio.sleep(DISK_AGAIN_S)  # real time: the disk knows no other


@functools.lru_cache(PATTERNS_REMEMBERED)
def _compiled(pattern: str) -> Match:
    return compile_pattern(pattern)


def _wanted(owed: Owed) -> Sequence[Event]:
    pattern, events = owed.document["filterPattern"], owed.events
    if not pattern.strip():
        return events
    match = _compiled(pattern)
    return [event for event in events if match(event[2])]


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
