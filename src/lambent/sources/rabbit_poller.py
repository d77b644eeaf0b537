"""RabbitMQ → function: one batch at a time, acknowledged when the function is done with it, given back when it failed.

What is given back is where it was in its queue, so order holds, and it comes again until the function succeeds: that a poisonous
message does not block its queue for ever is for the queue to see to (a quorum queue's delivery limit, messages' TTLs).
https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambent.model.batching import Encoded, encoded, portions
from lambent.model.errors import AwsError
from lambent.model.event_source import NO_RECORDS_YET
from lambent.model.invocation import Outcome
from lambent.model.rabbit_records import RabbitFrame, RabbitMessage, filtered_record, rabbit_record
from lambent.model.record_filter import compile_filter
from lambent.ports import NO_TELEMETRY, Clock, Telemetry
from lambent.sources.brokers import Brokers, access_by_type
from lambent.sources.figures import MappingFigures
from lambent.sources.function import MappedFunction, may_pass
from lambent.sources.poller import RESULT_FAILED, RESULT_OK, RESULT_TOO_LARGE, BackOff
from lambent.sources.problem import SourceProblem
from lambent.sources.rabbit_session import RabbitSession
from lambent.sources.timeline import Timeline
from lambent.telemetry.waiting import first_of

log = logging.getLogger(__name__)

WINDOW_DEFAULT_S: Final = 0.5  # CreateEventSourceMapping, MaximumBatchingWindowInSeconds
# Ours: AWS does not say how it waits.
RETRY_FIRST_S: Final = 0.5  # before a batch comes again that the function failed
RETRY_LONGEST_S: Final = 30.0
THROTTLED_FIRST_S: Final = 0.25
THROTTLED_LONGEST_S: Final = 15.0
BROKEN_FIRST_S: Final = 1.0
BROKEN_LONGEST_S: Final = 60.0


class RabbitPoller:
    """One mapping's. Implements `poller.Poller`."""

    may_overlap = False  # what is behind must not overtake

    def __init__(
        self,
        mapping: Mapping[str, Any],
        brokers: Brokers,
        function: MappedFunction,
        clock: Clock,
        report: Callable[[str], None],
        timeline: Timeline | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        """`report` takes a LastProcessingResult. Raises PatternError for a filter that is none."""
        self._mapping = mapping
        self._arn: str = mapping["EventSourceArn"]
        self._queue: str = mapping["Queues"][0]  # AWS's model: there is one
        self._name = f"mapping {mapping['UUID']} of queue {self._queue} at {self._arn}"
        self._brokers = brokers
        self._function = function
        self._clock = clock
        self._report = report
        self._timeline = timeline
        address = function.address
        self._figures = MappingFigures(mapping, address.account_id, address.region, telemetry)
        self._frame = RabbitFrame(self._arn, self._queue, access_by_type(mapping).get("VIRTUAL_HOST", "/"))
        self._batch_size: int = mapping["BatchSize"]
        window_s = mapping.get("MaximumBatchingWindowInSeconds")
        self._window_s = WINDOW_DEFAULT_S if window_s is None else float(window_s)
        self._filter = compile_filter(mapping, "data")
        self._session: RabbitSession | None = None
        self._pending: list[Encoded] = []  # delivered, not with the function yet; items are RabbitMessages
        self._pending_bytes = 0
        self._reader: asyncio.Task[None] | None = None
        self._batch: asyncio.Task[bool] | None = None  # with the function
        self._stopping = False
        self._broken = BackOff(BROKEN_FIRST_S, BROKEN_LONGEST_S)
        self._failed = BackOff(RETRY_FIRST_S, RETRY_LONGEST_S)

    # ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._reader = asyncio.get_running_loop().create_task(self._read(), name=self._name)

    async def stop_reading(self) -> None:
        self._stopping = True
        if self._reader is None:
            return
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._reader = None
        session = self._session
        if session is None or not session.is_open:
            return
        try:
            late = await session.pause()
            if self._batch is None or self._batch.done():
                await session.give_all_back()
            else:
                for message in [*(record.item for record in self._pending), *late]:
                    await session.give_back(message.delivery_tag)
        except SourceProblem as problem:
            log.info("%s: messages come back by themselves (%s)", self._name, problem)
        self._forget_pending()

    async def finished(self) -> None:
        if self._batch is not None:
            await asyncio.wait({self._batch})
        await self._close_session()

    async def abandon(self) -> None:
        tasks = [task for task in (self._reader, self._batch) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close_session()

    async def _close_session(self) -> None:
        session, self._session = self._session, None
        self._forget_pending()
        if session is not None:
            await session.close()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        while True:
            try:
                await self._serve()
            except _NoFunction:
                await self._pause("its function does not exist; messages stay in the queue")
            except SourceProblem as problem:
                self._report(problem.result)
                await self._pause(str(problem))
            except Exception:  # the task's outermost edge: nobody awaits it
                log.exception("%s broke: report it with this traceback", self._name)
                await self._pause("see above")

    async def _pause(self, why: str) -> None:
        if not self._broken.failures:
            log.warning("%s cannot go on: %s Trying again", self._name, why)
        if self._batch is not None:
            await asyncio.wait({self._batch})  # or it would be there twice at once
        await self._close_session()
        await self._clock.sleep(self._broken.next_s())

    async def _serve(self) -> None:
        """Raises SourceProblem, _NoFunction."""
        if not self._function.exists():
            raise _NoFunction
        address = await self._brokers.rabbit(self._mapping)
        session = self._session = RabbitSession(address, self._queue)
        await session.open()
        while True:
            await session.consume(self._batch_size)
            if self._broken.failures:
                self._report(RESULT_OK if self._batch is not None else NO_RECORDS_YET)
            await self._deliver(session)
            self._forget_pending()
            await session.pause()
            await session.give_all_back()
            await self._clock.sleep(self._failed.next_s())
            if not self._function.exists():
                raise _NoFunction

    async def _deliver(self, session: RabbitSession) -> None:
        """Batch after batch, until the function fails one. Raises SourceProblem."""
        while True:
            batch = await self._gather(session)
            self._batch = asyncio.get_running_loop().create_task(self._run(session, batch))
            if not await asyncio.shield(self._batch):
                return
            self._failed.worked()

    async def _gather(self, session: RabbitSession) -> list[Encoded]:
        """The next batch; it leaves `_pending`. Raises SourceProblem."""
        until_s: float | None = None
        while True:
            for message in session.taken():
                await self._take(session, message)
            self._broken.worked()
            if self._pending and until_s is None:
                until_s = self._clock.monotonic() + self._window_s
            left_s = None if until_s is None else until_s - self._clock.monotonic()
            if self._is_full() or (left_s is not None and left_s <= 0):
                batch = portions(self._pending, self._batch_size, self._frame.records_max_bytes)[0]
                del self._pending[: len(batch)]
                self._pending_bytes -= sum(record.size_bytes for record in batch)
                return batch
            timer = [] if left_s is None else [self._clock.sleep(left_s)]
            await first_of(session.arrived.wait(), *timer)

    def _is_full(self) -> bool:
        """No more messages come while so many are not done; or the next one would not fit."""
        return len(self._pending) >= self._batch_size or self._pending_bytes > self._frame.records_max_bytes

    def _forget_pending(self) -> None:
        self._pending.clear()
        self._pending_bytes = 0

    async def _take(self, session: RabbitSession, message: RabbitMessage) -> None:
        record = rabbit_record(message)
        self._figures.count("PolledEventCount", 1)
        if not self._filter.lets_through(filtered_record(record, message.body)):
            self._figures.count("FilteredOutEventCount", 1)
            await session.acknowledge(message.delivery_tag)
            return
        found = encoded(message, record)
        if found.size_bytes > self._frame.records_max_bytes:
            # AWS drops these as well. Refused ones go to the queue's dead letters, if it has any.
            log.error("%s: a message of %d bytes fits into no event: it is refused", self._name, len(message.body))
            self._report(RESULT_TOO_LARGE)
            self._figures.count("DroppedEventCount", 1)
            await session.refuse(message.delivery_tag)
            return
        self._pending.append(found)
        self._pending_bytes += found.size_bytes

    # ── a batch ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self, session: RabbitSession, batch: Sequence[Encoded]) -> bool:
        """Whether the function was done with it."""
        outcome = await self._call(batch)
        self._report(RESULT_FAILED if outcome is None else RESULT_OK)
        if outcome is None:
            if self._stopping:
                await self._each(session.give_back, batch)
            return False
        try:
            await session.acknowledge(batch[-1].item.delivery_tag, all_before=True)
            self._figures.count("DeletedEventCount", len(batch))
        except SourceProblem as problem:
            log.warning("%s: messages that were done come again: %s", self._name, problem)
        return True

    async def _each(self, give: Callable[[int], Any], batch: Sequence[Encoded]) -> None:
        with contextlib.suppress(SourceProblem):  # then the connection's end gives them back
            for record in batch:
                await give(record.item.delivery_tag)

    async def _call(self, batch: Sequence[Encoded]) -> Outcome | None:
        """What a function that did not fail has answered. One that could not run yet is tried again meanwhile."""
        event = self._frame.payload(batch)
        request_id = str(uuid.uuid4())
        back_off = BackOff(THROTTLED_FIRST_S, THROTTLED_LONGEST_S)
        while True:
            self._figures.count("InvokedEventCount", len(batch))
            try:
                outcome = await self._function.call(event, request_id=request_id)
            except AwsError as error:
                self._figures.count("FailedInvokeEventCount", len(batch))
                if not may_pass(error) or self._stopping:
                    log.info("%s: %d messages go back: %s", self._name, len(batch), error)
                    self._note(event, len(batch), error, request_id)
                    return None
                await self._clock.sleep(back_off.next_s())
                continue
            if outcome.function_error is None:
                return outcome
            self._figures.count("FailedInvokeEventCount", len(batch))
            if not self._failed.failures:  # not every time a message comes that blocks its queue
                self._note(event, len(batch), outcome, request_id)
            return None

    def _note(self, event: bytes, records: int, result: Outcome | AwsError, request_id: str) -> None:
        if self._timeline is not None:
            self._timeline.failed(
                self._function, request_id, event, result,
                source_arn=self._arn, records=records, then="returned to queue",
            )  # fmt: skip


class _NoFunction(Exception):
    pass
