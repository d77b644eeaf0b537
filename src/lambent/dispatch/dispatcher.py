"""Asynchronous invocation: takes events, and sees each of them through to its end.

`accept` returns once the event is on disk. From then on lanes claim it, attempt it, let it wait, and send what is owed
because of it, over any number of restarts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import uuid
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final

from lambent.dispatch.attempts import Attempts, Run, again
from lambent.dispatch.lanes import WINDOW_MOST, WINDOWS_TOGETHER, FunctionLane
from lambent.dispatch.sending import TargetLane
from lambent.dispatch.targets import Targets
from lambent.model import lineage
from lambent.model.errors import AwsError, invalid_request_content, not_found, request_too_large, service_fault
from lambent.model.invocation import Invocation
from lambent.model.limits import ASYNC_PAYLOAD_MAX_BYTES
from lambent.model.names import FunctionAddress
from lambent.ports import NO_TELEMETRY, Catalog, Clients, Clock, Telemetry
from lambent.store.ascending_clock import AscendingClock
from lambent.store.database import StoreError
from lambent.store.events import Claimed, EventStore, FunctionKey

log = logging.getLogger(__name__)

RESTART_LANE_S: Final = 1.0  # after a disk that failed


class Dispatcher:
    """One server's asynchronous events. `accept` is a `ports.Enqueue`. Used on one event loop."""

    def __init__(
        self,
        store: EventStore,
        invoke: Run,
        catalog: Catalog,
        clock: Clock,
        clients: Clients | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock = AscendingClock(clock, store.now_ms() / 1000)
        self._telemetry = telemetry
        self._attempts = Attempts(store, invoke, catalog, clock, self._telemetry)
        self._targets = Targets(clients, self._accept_existing)
        self._functions: dict[FunctionKey, FunctionLane] = {}
        self._deliveries: dict[str, TargetLane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Goes on with what an earlier server accepted. Raises sqlite3.Error, StoreError."""
        functions, targets = await self._store.waiting()
        for key in functions:
            self._wake_function(key)
        for target in targets:
            self._wake_target(target)

    async def close(self) -> None:
        """Interrupts what is being attempted; it is attempted again by the next server."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self, invocation: Invocation) -> None:
        """Returns once the event is durable. Raises AwsError for one that is too large, ServiceException for a disk
        that does not take it."""
        await self._accept(invocation, {})

    def accept_soon(self, invocation: Invocation, done: Callable[[AwsError | None], None]) -> None:
        """A `ports.EnqueueSoon`: `accept` without a task for each event. Raises AwsError for one that is too large."""
        self._begin(invocation, {}, done)

    async def _accept_existing(self, invocation: Invocation) -> None:
        """Raises AwsError ResourceNotFoundException too."""
        place = (invocation.account_id, invocation.region, invocation.function_name)
        self._catalog.resolve(*place, invocation.qualifier, random.random())
        await self.accept(invocation)

    async def replay(self, function: FunctionAddress, request_id: str) -> str:
        """Sends a past event again, under a new request id, which it returns.

        Raises AwsError ResourceNotFoundException for an event or a function that is not there.
        """
        past = await self._store.invocation(function.key, request_id)
        if past is None:
            raise not_found(f"Event not found: {request_id} of {function.arn}")
        self._catalog.resolve(*function.key, past.qualifier, random.random())
        new_id = str(uuid.uuid4())
        await self._accept(again(past, new_id, None), {"replay_of": request_id})
        return new_id

    async def _accept(self, invocation: Invocation, detail: dict[str, Any]) -> None:
        answer: asyncio.Future[AwsError | None] = asyncio.get_running_loop().create_future()
        self._begin(invocation, detail, lambda error: None if answer.done() else answer.set_result(error))
        error = await answer
        if error is not None:
            raise error

    def _begin(self, invocation: Invocation, detail: dict[str, Any], done: Callable[[AwsError | None], None]) -> None:
        size = len(invocation.payload)
        if size > ASYNC_PAYLOAD_MAX_BYTES:
            raise request_too_large(
                f"{size} byte payload is too large for the Event invocation type (limit {ASYNC_PAYLOAD_MAX_BYTES} bytes)"
            )
        if not invocation.payload.isascii():
            _check_text(invocation.payload)
        if self._closed:
            raise service_fault("The server is stopping.")
        if invocation.trace_header is None:  # all attempts of an event belong to one trace
            invocation = again(invocation, invocation.request_id, lineage.new_trace(self._clock.now()))

        def stored(error: BaseException | None) -> None:
            if error is not None:
                log.error("an asynchronous event could not be stored (%s); make room on the disk", error)
                done(service_fault(f"The event could not be stored: {error}"))
                return
            key = (invocation.account_id, invocation.region, invocation.function_name)
            self._telemetry.of_function(FunctionAddress(*key, invocation.qualifier), "AsyncEventsReceived")
            self._wake_function(key)
            done(None)

        self._store.accept_soon(invocation, detail, stored)

    # lanes

    def _wake_function(self, key: FunctionKey) -> None:
        lane = self._functions.get(key)
        if lane is None:
            lane = self._functions[key] = FunctionLane(
                key, self._store.claim, self._attempt, lambda: self._bound(key), self._clock
            )
            self._keep(lane.run, self._functions, key, f"events of {key[2]}")
        lane.notify()

    def _wake_target(self, target: str) -> None:
        lane = self._deliveries.get(target)
        if lane is None:
            lane = self._deliveries[target] = TargetLane(
                target, self._store, self._targets, self._clock, self._telemetry
            )
            self._keep(lane.run, self._deliveries, target, f"deliveries to {target}")
        lane.alarm.ring()

    def _keep(
        self, run: Callable[[], Coroutine[Any, Any, None]], lanes: dict[Any, Any], key: Hashable, name: str
    ) -> None:
        if self._closed:
            return
        task = asyncio.get_running_loop().create_task(self._run_lane(run, lanes, key, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_lane(
        self, run: Callable[[], Coroutine[Any, Any, None]], lanes: dict[Any, Any], key: Hashable, name: str
    ) -> None:
        """Until it has nothing more to do. There is no waiting between its last look and its leaving `lanes`."""
        while True:
            try:
                await run()
            except (sqlite3.Error, StoreError) as error:
                log.error("%s cannot be read or written (%s); make room on the disk: trying again", name, error)
                await asyncio.sleep(RESTART_LANE_S)  # real time: the disk knows no other
            except Exception:  # the outermost edge of a lane: what waits in it must not be forgotten
                log.exception("%s broke and go on in a second: report it with this traceback", name)
                await asyncio.sleep(RESTART_LANE_S)
            else:
                del lanes[key]
                return

    async def _attempt(self, event: Claimed) -> bool:
        try:
            settled = await self._attempts.run(event)
        except StoreError:  # the server is stopping: the event is free again when the next one starts
            return False
        except Exception as error:  # the outermost edge of an attempt: it must not keep its event for itself
            log.exception("event %s could not be settled: report it with this traceback", event.invocation.request_id)
            settled = await self._attempts.put_back(event, error)
        for target in settled.targets:
            self._wake_target(target)
        return settled.throttled

    def _bound(self, key: FunctionKey) -> int:
        """A fair part of what all functions may have at the same time, and never more than its reserve."""
        most = min(WINDOW_MOST, max(1, WINDOWS_TOGETHER // len(self._functions)))
        settings = self._catalog.settings(FunctionAddress(*key))
        reserved = settings.reserved_concurrency if settings is not None else None
        return min(most, reserved) if reserved else most


def _check_text(payload: bytes) -> None:
    """Raises AwsError InvalidRequestContentException for what is not UTF-8."""
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise invalid_request_content("Could not parse request body into json: it is not UTF-8.") from error
