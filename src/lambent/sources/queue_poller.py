"""SQS → function: receives, filters, batches, calls, deletes what was done.

What is not deleted comes again by itself once its visibility timeout is over, and goes to the dead letters when that was
too often: the queue sees to both.
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and its pages on scaling, errors and filters
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model import lineage
from lambent.model.batch_response import BadResponse, failed_items, reports_failures
from lambent.model.batching import Encoded, encoded, payload, portions
from lambent.model.errors import AwsError, recursive_invocation
from lambent.model.invocation import Outcome
from lambent.model.limits import SYNC_PAYLOAD_MAX_BYTES
from lambent.model.poller_scaling import Scale, bounds
from lambent.model.queue_records import queue_record
from lambent.model.record_filter import RecordFilter, compile_filter
from lambent.ports import NO_TELEMETRY, Clock, Enqueue, Queue, Telemetry
from lambent.sources.figures import MappingFigures
from lambent.sources.function import MappedFunction, may_pass
from lambent.sources.poller import BackOff
from lambent.sources.timeline import Timeline
from lambent.store.database import StoreError
from lambent.telemetry.waiting import first_of

log = logging.getLogger(__name__)

LONG_POLL_S: Final = 20.0  # what AWS's pollers ask for: ReceiveMessage's most
RECEIVE_MAX: Final = 500  # ours: messages at once, so that memory stays bounded
# Ours: while batches are done this quickly, messages for so many rounds are received together; they wait for a moment only.
QUICK_S: Final = 0.05
AHEAD: Final = 4
LATE_PART: Final = 0.1  # of the visibility timeout: a batch that waited longer for room is hidden anew when it begins
GROW_EVERY_S: Final = 0.2  # how often a full poller looks whether it may have grown
RECEIVE_GRACE_S: Final = 0.25  # real time: the disk knows no other
# Ours: AWS does not say how it waits.
THROTTLED_FIRST_S: Final = 0.1
THROTTLED_LONGEST_S: Final = 5.0
BROKEN_FIRST_S: Final = 1.0
BROKEN_LONGEST_S: Final = 30.0


@attrs.frozen(eq=False)
class _Batch:
    records: Sequence[Encoded]  # their items are messages, by ReceiveMessage's members
    hidden_until_s: float  # monotonic: then the first of them can be received again

    @property
    def handles(self) -> dict[str, str]:
        return {record.item["MessageId"]: record.item["ReceiptHandle"] for record in self.records}


class QueuePoller:
    """One mapping's. Implements `poller.Poller`."""

    may_overlap = True  # the queue hides what is being worked on, and a group's messages behind it

    def __init__(
        self,
        mapping: Mapping[str, Any],
        queue: Queue,
        function: MappedFunction,
        clock: Clock,
        timeline: Timeline | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
        enqueue: Enqueue | None = None,
    ) -> None:
        """`enqueue` takes events of loops that are stopped, for the function's own dead letters and destination."""
        self._enqueue = enqueue
        address = function.address
        self._telemetry = telemetry
        self._figures = MappingFigures(mapping, address.account_id, address.region, telemetry)
        self._name = f"mapping {mapping['UUID']} of {queue.arn}"
        self._queue = queue
        self._is_fifo = queue.arn.endswith(".fifo")
        self._function = function
        self._clock = clock
        self._timeline = timeline
        self._batch_size: int = mapping["BatchSize"]
        self._window_s = float(mapping.get("MaximumBatchingWindowInSeconds") or 0)
        self._reports = reports_failures(mapping)
        self._filter: RecordFilter = compile_filter(mapping, "body")
        self._scale = Scale(*bounds(mapping), clock.monotonic())
        self._pending: list[Encoded] = []  # received, not with the function yet
        self._pending_until_s = 0.0  # when they go, however few they are
        self._hidden_until_s = 0.0
        self._batches: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()  # a batch has
        self._mean_s = QUICK_S  # how long batches took of late
        self._stopping = False
        self._receiving = False
        self._reader: asyncio.Task[None] | None = None
        self._broken = BackOff(BROKEN_FIRST_S, BROKEN_LONGEST_S)

    # ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._reader = asyncio.get_running_loop().create_task(self._read(), name=self._name)

    async def stop_reading(self) -> None:
        self._stopping = True
        reader = self._reader
        if reader is None:
            return
        if self._receiving:  # what it receives just now would be hidden from everybody
            await asyncio.wait({reader}, timeout=RECEIVE_GRACE_S)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        self._reader = None
        await self._give_back()

    async def finished(self) -> None:
        while self._batches:
            await asyncio.wait(self._batches)

    async def abandon(self) -> None:
        tasks = [*self._batches, *([self._reader] if self._reader is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _give_back(self) -> None:
        handles = [record.item["ReceiptHandle"] for record in self._pending]
        self._pending.clear()
        if handles:
            try:
                await self._queue.change_visibility([(handle, 0.0) for handle in handles])
            except (AwsError, sqlite3.Error, StoreError) as error:
                log.info("%s: messages come back when their visibility timeout is over (%s)", self._name, error)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        while not self._stopping:
            try:
                if not self._function.exists():
                    raise _NoFunction
                await self._room()
                await self._take(await self._receive())
                self._broken.worked()
            except _NoFunction:
                await self._pause("its function does not exist; messages stay in the queue")
            except AwsError as error:
                await self._pause(f"{error.code}: {error.message}")
            except (sqlite3.Error, StoreError) as error:
                await self._pause(f"the disk refuses ({error}); make room")
            except Exception:  # the task's outermost edge: nobody awaits it
                log.exception("%s broke: report it with this traceback", self._name)
                await self._clock.sleep(self._broken.next_s())

    async def _pause(self, why: str) -> None:
        if not self._broken.failures:
            log.warning("%s cannot go on: %s. Trying again", self._name, why)
        await self._clock.sleep(self._broken.next_s())

    async def _receive(self) -> list[dict[str, Any]]:
        free = max(1, self._scale.bound - len(self._batches))
        # A group's messages must not be in two batches at once, so a FIFO queue is asked for one batch at a time.
        if self._mean_s < QUICK_S:
            free = max(free, self._scale.bound * AHEAD)
        wanted = self._batch_size if self._is_fifo else min(self._batch_size * free, RECEIVE_MAX)
        wanted = max(1, wanted - len(self._pending))
        now_s = self._clock.monotonic()
        wait_s = max(0.0, self._pending_until_s - now_s) if self._pending else LONG_POLL_S
        self._receiving = True
        try:
            messages = await self._queue.receive(wanted, wait_s=wait_s)
        finally:
            self._receiving = False
        if messages and not self._pending:
            self._hidden_until_s = self._clock.monotonic() + self._queue.visibility_timeout_s
        if not messages and not self._pending:
            self._scale.idle(self._clock.monotonic())
        return messages

    async def _take(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Filters them and begins whatever batches are due."""
        unwanted = []
        is_first = not self._pending
        for message in messages:
            record = queue_record(message, self._queue.arn)
            if self._filter.lets_through(record):
                self._pending.append(encoded(message, record))
            else:
                unwanted.append(message["ReceiptHandle"])
        if is_first:
            self._pending_until_s = self._clock.monotonic() + self._window_s
        self._figures.count("PolledEventCount", len(messages))
        if unwanted:
            self._figures.count("FilteredOutEventCount", len(unwanted))
            await self._queue.delete_many(unwanted)
        if not self._pending or self._stopping:
            return
        batches = portions(self._pending, self._batch_size)
        is_due = self._clock.monotonic() >= self._pending_until_s
        if not is_due and not self._is_full(batches[-1]):
            batches.pop()
        if self._is_fifo:
            await self._begin(batches)
        else:
            for batch in batches:
                await self._begin([batch])
        if batches and self._pending:  # the rest of what has just come: its time begins now
            self._pending_until_s = self._clock.monotonic() + self._window_s

    def _is_full(self, batch: Sequence[Encoded]) -> bool:
        if len(batch) >= self._batch_size:
            return True
        return sum(record.size_bytes for record in batch) > SYNC_PAYLOAD_MAX_BYTES * 0.9

    async def _begin(self, batches: Sequence[Sequence[Encoded]]) -> None:
        """Batches that go one after the other."""
        if not batches:
            return
        began_s = self._clock.monotonic()
        await self._room()
        hidden_until_s = self._hidden_until_s
        if self._clock.monotonic() - began_s > self._queue.visibility_timeout_s * LATE_PART:
            hidden_until_s = await self._hide([record for batch in batches for record in batch])
        del self._pending[: sum(len(batch) for batch in batches)]
        work = self._run([_Batch(batch, hidden_until_s) for batch in batches])
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._batches.add(task)
        task.add_done_callback(self._batch_ended)

    def _batch_ended(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._ended.set()

    async def _room(self) -> None:
        """Waits until one more batch may be with the function."""
        if len(self._batches) < self._scale.bound:
            self._scale.easy(self._clock.monotonic())
        while len(self._batches) >= self._scale.bound:
            self._ended.clear()
            await first_of(self._clock.sleep(GROW_EVERY_S), self._ended.wait())
            self._scale.crowded(self._clock.monotonic())
            left_s = self._hidden_until_s - self._clock.monotonic()
            if self._pending and left_s < self._queue.visibility_timeout_s / 2:
                self._hidden_until_s = await self._hide(self._pending)

    async def _hide(self, records: Sequence[Encoded]) -> float:
        """For the whole of their time, from now on: until when. What waits for room here must not be received meanwhile."""
        timeout_s = float(self._queue.visibility_timeout_s)
        until_s = self._clock.monotonic() + timeout_s
        await self._queue.change_visibility([(record.item["ReceiptHandle"], timeout_s) for record in records])
        return until_s

    # ── a batch ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        begun_s = self._clock.monotonic()
        try:
            await work
            self._mean_s = 0.8 * self._mean_s + 0.2 * (self._clock.monotonic() - begun_s)
        except (AwsError, sqlite3.Error, StoreError) as error:
            log.warning("%s: messages that were done could not be deleted, and come again: %s", self._name, error)
        except Exception:  # the task's outermost edge: nobody awaits it
            log.exception("%s: a batch broke, and comes again: report it with this traceback", self._name)

    async def _run(self, batches: Sequence[_Batch]) -> None:
        behind: set[str | None] = set()  # groups of what was not done: what comes after it must not overtake it
        for batch in batches:
            records = [record for record in batch.records if _group(record) not in behind]
            if records and not await self._run_one(attrs.evolve(batch, records=records)):
                behind.update(map(_group, records))

    async def _run_one(self, batch: _Batch) -> bool:
        """Whether all of it was done."""
        stopped, behind = self._looping(batch.records)
        if stopped:
            await self._stop(attrs.evolve(batch, records=stopped))
            left_out = {id(record) for record in (*stopped, *behind)}
            batch = attrs.evolve(batch, records=[record for record in batch.records if id(record) not in left_out])
            if not batch.records:
                return False
        outcome = await self._call(batch)
        if outcome is None:
            return False
        handles = batch.handles
        try:
            failed = failed_items(outcome.payload, handles) if self._reports else frozenset()
        except BadResponse as problem:
            log.info("%s: %s, so the whole batch has failed", self._name, problem)
            self._scale.failed()
            self._figures.count("FailedInvokeEventCount", len(handles))
            self._note(batch, outcome, reason=str(problem))
            return False
        if failed:
            self._figures.count("FailedInvokeEventCount", len(failed))
        done = [handle for message_id, handle in handles.items() if message_id not in failed]
        if done:
            problems = await self._queue.delete_many(done)
            self._figures.count("DeletedEventCount", problems.count(None))
        self._scale.succeeded()
        return not failed and not stopped

    def _looping(self, records: Sequence[Encoded]) -> tuple[list[Encoded], list[Encoded]]:
        """Those that the function is not to see again, and others that are behind them in their groups."""
        stopped: list[Encoded] = []
        behind: list[Encoded] = []
        groups = set()
        for record in records:
            group = _group(record) if self._is_fifo else None
            if self._function.is_stopped(_trace_header(record)):
                groups.add(group)
                stopped.append(record)
            elif group is not None and group in groups:
                behind.append(record)
        return stopped, behind

    async def _stop(self, batch: _Batch) -> None:
        """AWS refuses such an invocation: its messages go back until they were received too often.

        The first time, the function's own dead letters and destination get the event, as an asynchronous one that is
        stopped. https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
        """
        error = recursive_invocation()
        log.warning("%s: %d messages go back: %s", self._name, len(batch.records), error)
        self._figures.count("FailedInvokeEventCount", len(batch.records))
        new = [record for record in batch.records if record.item["Attributes"]["ApproximateReceiveCount"] == "1"]
        if not new or not await self._tell_stopped(new):
            self._telemetry.of_function(self._function.address, "RecursiveInvocationsDropped")
            self._note(batch, error, str(uuid.uuid4()))

    async def _tell_stopped(self, records: Sequence[Encoded]) -> bool:
        """Whether the event is among the asynchronous ones, which see to the rest."""
        if self._enqueue is None:
            return False
        try:
            await self._enqueue(self._function.invocation(payload(records), self._trace_of(records)))
        except AwsError as error:
            log.warning("%s: destinations of %s are not told: %s", self._name, self._function.address.name, error)
            return False
        return True

    async def _call(self, batch: _Batch) -> Outcome | None:
        """What a function that did not fail has answered. A throttled batch is tried again until it is visible again."""
        event = payload(batch.records)
        request_id = str(uuid.uuid4())
        back_off = BackOff(THROTTLED_FIRST_S, THROTTLED_LONGEST_S)
        while True:
            self._figures.count("InvokedEventCount", len(batch.records))
            try:
                outcome = await self._function.call(event, self._trace_of(batch.records), request_id)
            except AwsError as error:
                self._figures.count("FailedInvokeEventCount", len(batch.records))
                self._scale.failed()
                wait_s = back_off.next_s()
                left_s = batch.hidden_until_s - self._clock.monotonic()
                if not may_pass(error) or self._stopping or wait_s >= left_s:
                    log.info("%s: %d messages go back: %s", self._name, len(batch.records), error)
                    self._note(batch, error, request_id)
                    return None
                await self._clock.sleep(wait_s)
                continue
            if outcome.function_error is not None:
                self._figures.count("FailedInvokeEventCount", len(batch.records))
                self._scale.failed()
                self._note(batch, outcome)
                return None
            return outcome

    def _trace_of(self, records: Sequence[Encoded]) -> str | None:
        """The trace that a batch belongs to: that of the message whose chain has come by the function most often."""
        headers = [header for record in records if (header := _trace_header(record)) is not None]
        arn = self._function.address.arn
        return max(headers, key=lambda header: lineage.invocations(header, arn), default=None)

    def _note(self, batch: _Batch, result: Outcome | AwsError, request_id: str = "", reason: str = "") -> None:
        if self._timeline is not None:
            self._timeline.failed(
                self._function, request_id or getattr(result, "request_id", ""), payload(batch.records), result,
                source_arn=self._queue.arn, records=len(batch.records), then="returned to queue",
                detail={"reason": reason} if reason else None,
            )  # fmt: skip


def _group(record: Encoded) -> str | None:
    group: str | None = (record.item.get("Attributes") or {}).get("MessageGroupId")
    return group


def _trace_header(record: Encoded) -> str | None:
    header: str | None = (record.item.get("Attributes") or {}).get("AWSTraceHeader")
    return header


class _NoFunction(Exception):
    pass
