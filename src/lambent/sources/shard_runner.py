"""One shard → function: reads ahead, keeps each key's order, and says how far everything is done."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from lambent.model.batch_response import BadResponse, reports_failures
from lambent.model.batching import portions
from lambent.model.errors import AwsError
from lambent.model.event_format import EventFormat, encoded_events
from lambent.model.invocation import Outcome
from lambent.model.limits import MIB, SYNC_PAYLOAD_MAX_BYTES
from lambent.model.record_filter import compile_filter
from lambent.model.shard_lanes import Lanes
from lambent.model.stream_failures import Condition, Portion, RetryRules, after_failure
from lambent.model.stream_records import StreamRecord
from lambent.model.tumbling import STATE_MAX_BYTES, Window, has_state, restored, window_of
from lambent.ports import NO_TELEMETRY, Clock, Telemetry
from lambent.sources.figures import EventMetric, MappingFigures
from lambent.sources.function import MappedFunction, may_pass
from lambent.sources.poller import RESULT_FAILED, RESULT_OK, RESULT_TOO_LARGE, BackOff
from lambent.sources.shards import ShardReader
from lambent.sources.timeline import Timeline
from lambent.telemetry.waiting import first_of

log = logging.getLogger(__name__)

# Ours: AWS does not say how it waits between retries.
RETRY_FIRST_S: Final = 0.25
RETRY_LONGEST_S: Final = 30.0
READ_FIRST_S: Final = 1.0
READ_LONGEST_S: Final = 60.0
WINDOW_BYTES: Final = 1_024  # of an event, at most, that say which window it is of, beside the state
# Ours: records that arrived before a window's end may be seen a little after it, when they are on the source's disk.
WINDOW_GRACE_S: Final = 1.0
AHEAD_MIN: Final = 200  # records that are read before those in front of them are done
AHEAD_MAX: Final = 20_000
AHEAD_MAX_BYTES: Final = 64 * MIB


class Destination(Protocol):
    async def send(self, portion: Portion, condition: Condition, shard: str) -> bool:
        """Whether what was given up is taken down; returns when it is, or cannot be."""


@attrs.frozen(kw_only=True, eq=False)
class Task:
    """What all shards of a mapping have in common."""

    mapping: Mapping[str, Any]
    form: EventFormat
    function: MappedFunction
    clock: Clock
    destination: Destination | None
    report: Callable[[str], None]  # a LastProcessingResult
    timeline: Timeline | None = None
    telemetry: Telemetry = NO_TELEMETRY


class ShardRunner:
    """Run it once. `position` is its checkpoint, to be kept whenever `moved` was set; `stop` lets what runs end."""

    def __init__(
        self,
        task: Task,
        shard: str,
        reader: ShardReader,
        position: Mapping[str, Any],
        moved: asyncio.Event,
    ) -> None:
        mapping = task.mapping
        self.shard = shard
        self.is_over = False  # the shard was closed, and all of it is done
        self._task = task
        address = task.function.address
        self._figures = MappingFigures(mapping, address.account_id, address.region, task.telemetry)
        self._clock = task.clock
        self._reader = reader
        self._position = dict(position)
        self._moved = moved
        self._batch_size: int = mapping["BatchSize"]
        self._window_s = float(mapping.get("MaximumBatchingWindowInSeconds") or 0)
        self._tumbling_s = int(mapping.get("TumblingWindowInSeconds") or 0)
        # A window's state is handed on from batch to batch, so there is one after the other.
        self._lanes = Lanes(1 if self._tumbling_s else mapping.get("ParallelizationFactor") or 1)
        self._arrived = [asyncio.Event() for _ in self._lanes.waiting]
        self._rules = RetryRules.of(mapping)
        self._reports = reports_failures(mapping)
        self._filter = compile_filter(mapping, task.form.data_member)
        window_bytes = STATE_MAX_BYTES + WINDOW_BYTES if self._tumbling_s else 0
        self._most_bytes = SYNC_PAYLOAD_MAX_BYTES - task.form.frame_bytes(shard) - window_bytes
        stored = self._position.get("window")
        self._window: Window | None = restored(stored, self._tumbling_s) if stored and self._tumbling_s else None
        self._stop = asyncio.Event()
        self._done = asyncio.Event()
        self._all_read = False
        self._nothing_at_s = -math.inf  # when the last reading began that found nothing
        self._look = asyncio.Event()  # is there really nothing? A window is to end

    @property
    def position(self) -> dict[str, Any]:
        found = {name: value for name, value in self._position.items() if name != "window"}
        if self._lanes.checkpoint is not None:
            found = {"after": self._lanes.checkpoint}
        if self.is_over:
            return {"over": True, **({"after": found["after"]} if "after" in found else {})}
        return found if self._window is None else {**found, "window": self._window.stored()}

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Returns when the shard is over, or after `stop` when the attempts that were running have ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            for lane in range(len(self._lanes.waiting)):
                group.create_task(self._work(lane))
        self.is_over = self._all_read and not len(self._lanes) and not self._stop.is_set()
        self._moved.set()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        ahead = min(max(self._batch_size * len(self._lanes.waiting) * 2, AHEAD_MIN), AHEAD_MAX)
        back_off = BackOff(READ_FIRST_S, READ_LONGEST_S)
        is_idle = False
        while not self._stop.is_set():
            self._done.clear()
            if len(self._lanes) >= ahead or self._lanes.size_bytes >= AHEAD_MAX_BYTES:
                await first_of(self._done.wait(), self._stop.wait())
                continue
            try:
                if is_idle:
                    looks = [self._look.wait()] if self._tumbling_s else []
                    await first_of(self._reader.wait(), self._stop.wait(), *looks)
                self._look.clear()
                began_s = self._clock.now()
                page = await self._reader.read(ahead - len(self._lanes))
            except AwsError as error:
                if not back_off.failures:
                    log.warning("%s of %s cannot be read (%s); trying again", self.shard, self._task.form.source, error)
                await self._nap(back_off.next_s())
                continue
            back_off.worked()
            self._take(page.records)
            if page.is_over:
                self._all_read = True
                for arrived in self._arrived:
                    arrived.set()
                return
            is_idle = not page.records
            if is_idle and self._window is not None:
                self._nothing_at_s = began_s
                self._arrived[0].set()  # there is one lane where there are windows

    def _take(self, records: Sequence[StreamRecord]) -> None:
        before = self._lanes.checkpoint
        unwanted = 0
        for record in records:
            lane = self._lanes.add(record, wanted=self._filter.lets_through(record.filtered))
            if lane is not None:
                self._arrived[lane].set()
            else:
                unwanted += 1
        self._figures.count("PolledEventCount", len(records))
        if unwanted:
            self._figures.count("FilteredOutEventCount", unwanted)
        if self._lanes.checkpoint != before:
            self._moved.set()

    async def _nap(self, seconds: float) -> None:
        await first_of(self._clock.sleep(seconds), self._stop.wait())

    # ── batches ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _work(self, lane: int) -> None:
        while (records := await self._gather(lane)) is not None:
            if self._tumbling_s:
                await self._in_window(records)
            else:
                await self._deliver(records)

    async def _gather(self, lane: int) -> list[StreamRecord] | None:
        """The next batch; an empty one when a window is over; None when there will be none."""
        waiting, arrived = self._lanes.waiting[lane], self._arrived[lane]
        until_s: float | None = None
        while not self._stop.is_set():
            arrived.clear()
            if waiting and until_s is None:
                until_s = self._clock.monotonic() + self._window_s
            left_s = self._left_of_window() if until_s is None else until_s - self._clock.monotonic()
            if len(waiting) >= self._batch_size or (left_s is not None and left_s <= 0):
                return self._front(waiting)
            if self._all_read:
                return self._front(waiting) if waiting or self._window is not None else None
            timer = [self._clock.sleep(left_s)] if left_s is not None else []
            await first_of(arrived.wait(), self._stop.wait(), *timer)
        return None

    def _left_of_window(self) -> float | None:
        """None while there is none, or it is not known yet whether more of its records are there."""
        if self._window is None:
            return None
        end_s = self._window.end_s + WINDOW_GRACE_S
        left_s = end_s - self._clock.now()
        if left_s > 0 or self._nothing_at_s >= end_s:
            return left_s
        self._look.set()
        return None

    def _front(self, waiting: deque[StreamRecord]) -> list[StreamRecord]:
        """As many as may go together; they leave `waiting`."""
        first = [waiting[n] for n in range(min(self._batch_size, len(waiting)))]
        if self._tumbling_s and first:
            window = window_of(first[0].arrived_s, self._tumbling_s)
            first = [record for n, record in enumerate(first) if all(window.holds(r.arrived_s) for r in first[: n + 1])]
        batches = portions(encoded_events(first), self._batch_size, self._most_bytes)
        batch = [each.item for each in batches[0]] if batches else []
        for _ in batch:
            waiting.popleft()
        return batch

    async def _in_window(self, records: list[StreamRecord]) -> None:
        window = self._window
        if window is not None and (not records or not window.holds(records[0].arrived_s)):
            await self._close_window(window)
        if records and not self._stop.is_set():
            if self._window is None:
                self._window = window_of(records[0].arrived_s, self._tumbling_s)
            await self._deliver(records)
            if self._window.ends_early:
                await self._close_window(self._window)

    async def _close_window(self, window: Window) -> None:
        if await self._attempt_until_settled(Portion(records=[]), is_final=True):
            self._window = None
            self._moved.set()

    # ── delivering ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _deliver(self, records: Sequence[StreamRecord]) -> None:
        """Returns when all are done or given up, or after `stop`."""
        await self._attempt_until_settled(Portion(records=records), is_final=False)

    async def _attempt_until_settled(self, portion: Portion, *, is_final: bool) -> bool:
        todo = deque([portion])
        back_off = BackOff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while todo:
            if self._stop.is_set():
                return False
            portion = await self._without_old(todo.popleft(), is_final)
            if not portion.records and not is_final:
                continue
            left = await self._attempt(portion, is_final)
            if left:
                todo.extendleft(reversed(left))
                await self._nap(back_off.next_s())
            else:
                back_off.worked()
        return True

    async def _without_old(self, portion: Portion, is_final: bool) -> Portion:
        """Those behind a record may be older than it: in Kafka it is their producers who say when they were made."""
        now_s = self._clock.now()
        young: list[StreamRecord] = []
        for is_old, group in itertools.groupby(portion.records, lambda record: self._rules.too_old(record, now_s)):
            records = list(group)
            if is_old:
                await self._give_up(attrs.evolve(portion, records=records), "RecordAgeExceeded")
            else:
                young += records
        return portion if is_final else attrs.evolve(portion, records=young)

    async def _attempt(self, portion: Portion, is_final: bool) -> list[Portion]:
        """What is to be tried after it, nothing when the portion is settled."""
        request_id = str(uuid.uuid4())
        event = self._event(portion, is_final)
        if len(event) > SYNC_PAYLOAD_MAX_BYTES and len(portion.records) == 1:
            self._task.report(RESULT_TOO_LARGE)
            await self._give_up(portion, "MaximumPayloadSizeExceeded")
            return []
        self._tell_attempt(portion)
        try:
            outcome = await self._task.function.call(event, request_id=request_id)
        except AwsError as error:
            self._figures.count("FailedInvokeEventCount", len(portion.records))
            self._task.report(RESULT_FAILED)
            if may_pass(error) or error.status == 404:
                return [portion]  # it did not run: only the records' age ends this
            log.warning("a batch of %s is refused: %s", self.shard, error)
            outcome = None
        done = self._done_of(portion, outcome)
        if outcome is not None and done and self._tumbling_s:
            self._window = self._window.after(outcome.payload) if self._window is not None else None
        self._settle(portion.records[:done])
        rest = portion.records[done:]
        if outcome is not None and rest:
            self._figures.count("FailedInvokeEventCount", len(rest))
        if outcome is not None and outcome.function_error is None and (not rest and (done or is_final)):
            self._task.report(RESULT_OK)
            return []
        self._task.report(RESULT_FAILED)
        attempts = 1 if done else portion.attempts + 1  # others than those in front failed before
        failed = Portion(records=rest, attempts=attempts, request_id=request_id, outcome=outcome)
        left = after_failure(failed, self._rules)
        if outcome is not None and (left is None or attempts == 1):  # not every retry of a batch that blocks its shard
            self._note(failed, outcome, "retried" if left is not None else "dropped")
        if left is None:
            await self._give_up(failed, "RetryAttemptsExhausted")
            return []
        return left

    def _tell_attempt(self, portion: Portion) -> None:
        self._figures.count("InvokedEventCount", len(portion.records))
        if portion.records and self._task.form.tells_age:
            age_ms = max(0.0, (self._clock.now() - portion.records[-1].arrived_s) * 1000)
            address = self._task.function.address
            self._task.telemetry.of_function(address, "IteratorAge", age_ms, unit="Milliseconds")

    def _event(self, portion: Portion, is_final: bool) -> bytes:
        more = None
        if self._window is not None:
            more = self._window.event(shard=self.shard, stream_arn=self._task.form.source, is_final=is_final)
        return self._task.form.payload(self.shard, portion.records, more)

    def _done_of(self, portion: Portion, outcome: Outcome | None) -> int:
        """How many records from the front the function is done with."""
        if outcome is None or outcome.function_error is not None:
            return 0
        if self._tumbling_s and portion.records and not has_state(outcome.payload):
            log.info("a batch of %s has failed: the response has no state to hand on in its window", self.shard)
            return 0
        if not self._reports:
            return len(portion.records)
        sequences = [record.sequence for record in portion.records]
        try:
            failed = self._task.form.failed(self.shard, outcome.payload, portion.records)
        except BadResponse as problem:
            log.info("a batch of %s has failed: %s", self.shard, problem)
            return 0
        return min((sequences.index(sequence) for sequence in failed), default=len(sequences))

    def _note(self, portion: Portion, outcome: Outcome, then: str) -> None:
        if self._task.timeline is not None and portion.records:
            event = self._task.form.payload(self.shard, portion.records)
            self._task.timeline.failed(
                self._task.function, portion.request_id, event, outcome, source_arn=self._task.form.source,
                records=len(portion.records), attempts=portion.attempts, then=then, detail={"shard": self.shard},
            )  # fmt: skip

    async def _give_up(self, portion: Portion, condition: Condition) -> None:
        log.warning(
            "%d records of %s, %s, are given up: %s",
            len(portion.records), self._task.form.source, self.shard, condition,
        )  # fmt: skip
        is_sent = False
        if self._task.destination is not None and portion.records:
            is_sent = await self._task.destination.send(portion, condition, self.shard)
        fate: EventMetric = "OnFailureDestinationDeliveredEventCount" if is_sent else "DroppedEventCount"
        self._figures.count(fate, len(portion.records))
        self._settle(portion.records)

    def _settle(self, records: Sequence[StreamRecord]) -> None:
        if self._lanes.done(record.sequence for record in records):
            self._moved.set()
        self._done.set()
