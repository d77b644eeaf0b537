"""One attempt of one event: may it run, what came of it, and what becomes of the event then."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import attrs

from lambent.dispatch.records import Ending, Refusal, deliveries
from lambent.model import lineage
from lambent.model.errors import AwsError, service_fault
from lambent.model.function import LATEST, FunctionSettings, FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.model.names import FunctionAddress
from lambent.model.retry import (
    Condition,
    Decision,
    EventInvokeConfig,
    Over,
    Progress,
    after_function_error,
    after_refusal,
    is_too_old,
)
from lambent.ports import Catalog, Clock, Telemetry
from lambent.store.events import Claimed, EventStore, NewStep
from lambent.store.rewriting import until_written

log = logging.getLogger(__name__)

Run = Callable[[Invocation], Awaitable[Outcome]]
"""`ports.Invoke.invoke`."""

CONFIG_FAMILY: Final = "event-invoke"  # settings.extra: by qualifier, AWS's shape


@attrs.frozen(kw_only=True)
class Settled:
    """What a lane and the targets' lanes have to know afterwards."""

    throttled: bool = False
    targets: tuple[str, ...] = ()  # something is to be sent there


class Attempts:
    """Runs claimed events and settles them in the store."""

    def __init__(self, store: EventStore, invoke: Run, catalog: Catalog, clock: Clock, telemetry: Telemetry) -> None:
        self._store = store
        self._invoke = invoke
        self._catalog = catalog
        self._clock = clock
        self._telemetry = telemetry

    async def run(self, event: Claimed) -> Settled:
        """Returns when the store has what came of it. Raises StoreError when the server is stopping."""
        invocation = event.invocation
        address = FunctionAddress(invocation.account_id, invocation.region, invocation.function_name)
        settings = self._catalog.settings(address)
        if settings is None:
            return await self._drop_orphan(event)
        config = config_of(settings, invocation.qualifier)
        condition = self._not_to_be_run(event, settings, config, address)
        if condition is not None:
            return await self._end(event, Over(condition), config, attempts=event.attempts - 1)
        if event.attempts == 1:
            age_ms = max(0.0, self._clock.now() * 1000 - event.accepted_ms)
            self._count("AsyncEventAge", event, age_ms, unit="Milliseconds")
        try:
            outcome = await self._invoke(_with_lineage(invocation, address))
        except AwsError as error:
            return await self._refused(event, config, error)
        except Exception as error:  # the outermost edge of an attempt: the event must not be lost with it
            log.exception("an attempt of %s broke: report it with this traceback", invocation.request_id)
            return await self._refused(event, config, service_fault(str(error)))
        return await self._ran(event, config, outcome)

    async def put_back(self, event: Claimed, error: Exception) -> Settled:
        """After a mistake of our own: the event waits, by AWS's defaults. Raises StoreError."""
        return await self._refused(event, EventInvokeConfig(), service_fault(repr(error)))

    def _not_to_be_run(
        self, event: Claimed, settings: FunctionSettings, config: EventInvokeConfig, address: FunctionAddress
    ) -> Condition | None:
        if is_too_old(event.accepted_ms / 1000, config, self._clock.now()):
            return "EventAgeExceeded"
        if settings.reserved_concurrency == 0:
            return "ZeroReservedConcurrency"
        if lineage.is_stopped(event.invocation.trace_header, address.arn, settings):
            self._count("RecursiveInvocationsDropped", event)
            return "RecursiveInvocation"
        return None

    async def _ran(self, event: Claimed, config: EventInvokeConfig, outcome: Outcome) -> Settled:
        if outcome.function_error is None:
            return await self._end(event, Over("Success"), config, attempts=event.attempts, outcome=outcome)
        decision = after_function_error(_progress(event, failed=True), config, self._clock.now())
        if isinstance(decision, Over):
            return await self._end(event, decision, config, attempts=event.attempts, outcome=outcome)
        step = self._step("failed", error=_shown(outcome.payload), next_at_ms=int(decision.at_s * 1000))
        due_ms = int(decision.at_s * 1000)
        await self._durably(partial(self._store.postpone, event, due_ms, failed=True, steps=[step]))
        return Settled()

    async def _refused(self, event: Claimed, config: EventInvokeConfig, error: AwsError) -> Settled:
        """A throttle, a fault of this machine's, or a function that is not there (any more)."""
        throttled = error.status == 429
        decision = self._after_refusal(event, config, error)
        if isinstance(decision, Over):
            # AWS counts an attempt for a version that is gone, and none for a throttle.
            attempts = event.attempts if error.status == 404 else event.attempts - 1
            refusal = Refusal(status=error.status, message=error.message)
            settled = await self._end(event, decision, config, attempts=attempts, refusal=refusal)
            return attrs.evolve(settled, throttled=throttled)
        what = "throttled" if throttled else "refused"
        step = self._step(what, error=f"{error.code}: {error.message}", next_at_ms=int(decision.at_s * 1000))
        due_ms = int(decision.at_s * 1000)
        await self._durably(partial(self._store.postpone, event, due_ms, failed=False, steps=[step]))
        return Settled(throttled=throttled)

    def _after_refusal(self, event: Claimed, config: EventInvokeConfig, error: AwsError) -> Decision:
        """409 is a function that is not ready: it may become so. Other mistakes of the caller stay mistakes."""
        if error.status in (409, 429) or error.is_server_fault:
            return after_refusal(_progress(event, failed=False), config, self._clock.now())
        return Over("RetriesExhausted")

    async def _end(
        self,
        event: Claimed,
        over: Over,
        config: EventInvokeConfig,
        *,
        attempts: int,
        outcome: Outcome | None = None,
        refusal: Refusal | None = None,
    ) -> Settled:
        invocation = event.invocation
        version = self._version(invocation, outcome)
        ending = Ending(
            invocation=invocation,
            function_arn=FunctionAddress(invocation.account_id, invocation.region, invocation.function_name).arn,
            condition=over.condition,
            attempts=attempts,
            at_s=self._clock.now(),
            outcome=outcome,
            refusal=refusal,
        )
        dead_letter_arn = (version.extra.get("DeadLetterConfig") or {}).get("TargetArn") if version else None
        owed = deliveries(ending, config, dead_letter_arn or None)
        if over.condition == "Success":
            steps = [self._step("succeeded")]
        else:
            steps = [self._step("failed", error=_shown(outcome.payload))] if outcome is not None else []
            reason = {"error": refusal.message} if refusal is not None else {}
            steps.append(self._step("dropped", condition=over.condition, **reason))
            self._count("AsyncEventsDropped", event)
        await self._durably(partial(self._store.finish, event, attempts, steps, owed))
        return Settled(targets=tuple(delivery.target for delivery in owed))

    async def _drop_orphan(self, event: Claimed) -> Settled:
        """Its function is gone, and its settings with it: nobody can be told."""
        self._count("AsyncEventsDropped", event)
        step = self._step("dropped", condition="FunctionDeleted", error="the function does not exist any more")
        await self._durably(partial(self._store.finish, event, event.attempts - 1, [step]))
        return Settled()

    def _version(self, invocation: Invocation, outcome: Outcome | None) -> FunctionVersion | None:
        """The one that ran, or that would: its dead-letter queue is meant."""
        place = (invocation.account_id, invocation.region, invocation.function_name)
        qualifiers = [invocation.qualifier, LATEST]
        if outcome is not None:
            qualifiers.insert(0, outcome.executed_version)
        for qualifier in qualifiers:
            try:
                return self._catalog.resolve(*place, qualifier, 0.0)
            except AwsError:
                continue
        return None

    async def _durably(self, write: Callable[[], Awaitable[None]]) -> None:
        """Raises StoreError."""
        await until_written("what came of an event", write)

    def _step(self, what: str, **detail: object) -> NewStep:
        return NewStep(what=what, at_ms=int(self._clock.now() * 1000), detail=detail)

    def _count(self, name: str, event: Claimed, value: float = 1.0, unit: str = "Count") -> None:
        invocation = event.invocation
        called = FunctionAddress(
            invocation.account_id, invocation.region, invocation.function_name, invocation.qualifier
        )
        self._telemetry.of_function(called, name, value, unit=unit)


def config_of(settings: FunctionSettings, qualifier: str | None) -> EventInvokeConfig:
    """That of the version or alias that was invoked; none of them inherits from another."""
    documents = settings.extra.get(CONFIG_FAMILY) or {}
    return EventInvokeConfig.from_document(documents.get(qualifier or LATEST))


def again(invocation: Invocation, request_id: str, trace_header: str | None) -> Invocation:
    """The same request with another id or trace."""
    return Invocation(
        request_id=request_id,
        account_id=invocation.account_id,
        region=invocation.region,
        function_name=invocation.function_name,
        qualifier=invocation.qualifier,
        payload=invocation.payload,
        client_context=invocation.client_context,
        cognito_identity=invocation.cognito_identity,
        trace_header=trace_header,
        tenant_id=invocation.tenant_id,
    )


def _with_lineage(invocation: Invocation, address: FunctionAddress) -> Invocation:
    """Each attempt has the header that the event came with, one invocation further."""
    return again(invocation, invocation.request_id, lineage.advanced(invocation.trace_header, address.arn))


def _progress(event: Claimed, *, failed: bool) -> Progress:
    return Progress(
        accepted_s=event.accepted_ms / 1000,
        function_errors=event.function_errors + failed,
        refusals=event.refusals + (not failed),
    )


def _shown(payload: bytes) -> str:
    return payload[:500].decode(errors="replace")
