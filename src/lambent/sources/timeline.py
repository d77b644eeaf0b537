"""Batches that failed, in the timeline of their function: beside its asynchronous events, and as replayable as those.

Successes are not kept: that would write every payload a second time.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.invocation import Invocation, Outcome
from lambent.ports import Clock
from lambent.sources.function import MappedFunction
from lambent.store.database import StoreError
from lambent.store.events import EventStore, NewStep

log = logging.getLogger(__name__)

TOGETHER: Final = 10  # that are being written; more are left out, for the timeline must not slow down polling
ERROR_SHOWN_BYTES: Final = 500


class Timeline:
    def __init__(self, events: EventStore, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._writing: set[asyncio.Task[None]] = set()

    def failed(
        self,
        function: MappedFunction,
        request_id: str,
        payload: bytes,
        result: Outcome | AwsError,
        *,
        source_arn: str,
        records: int,
        attempts: int = 1,
        then: str,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """`then` says what becomes of the records: "returned to queue", "retried", "dropped"; `detail` belongs to that."""
        if len(self._writing) >= TOGETHER:
            return
        address = function.address
        invocation = Invocation(
            request_id=request_id, account_id=address.account_id, region=address.region, function_name=address.name,
            qualifier=address.qualifier, payload=payload,
        )  # fmt: skip
        steps = [self._of(result), self._step(then, **(detail or {}))]
        about = {"source": source_arn, "records": records}
        task = asyncio.get_running_loop().create_task(self._write(invocation, about, attempts, steps))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def _of(self, result: Outcome | AwsError) -> NewStep:
        if isinstance(result, AwsError):
            what = "throttled" if result.status == 429 else "refused"
            return self._step(what, error=f"{result.code}: {result.message}")
        return self._step("failed", error=result.payload[:ERROR_SHOWN_BYTES].decode(errors="replace"))

    def _step(self, what: str, **detail: Any) -> NewStep:
        return NewStep(what=what, at_ms=int(self._clock.now() * 1000), detail=detail)

    async def _write(self, invocation: Invocation, about: dict[str, Any], attempts: int, steps: list[NewStep]) -> None:
        try:
            await self._events.note(invocation, about, attempts, steps)
        except (sqlite3.Error, StoreError) as error:
            log.warning("a failed batch of %s is not in its timeline: %s", invocation.function_name, error)
