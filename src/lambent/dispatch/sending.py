"""What is owed to one target is sent until it is taken, for as long as an event may live."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from lambent.dispatch.targets import Targets
from lambent.model.errors import AwsError, service_fault
from lambent.model.names import FunctionAddress
from lambent.model.retry import after_failed_delivery
from lambent.ports import Clock, Telemetry
from lambent.services.delivery.lane import SendingLane
from lambent.store.events import Delivery, EventStore, NewStep
from lambent.store.rewriting import until_written

log = logging.getLogger(__name__)

TOGETHER: Final = 10  # deliveries to one target at the same time


class TargetLane(SendingLane[Delivery]):
    """One target's deliveries."""

    def __init__(self, target: str, store: EventStore, targets: Targets, clock: Clock, telemetry: Telemetry) -> None:
        super().__init__(lambda: store.due_deliveries(target, TOGETHER), self._send, clock)
        self._store = store
        self._targets = targets
        self._now_s = clock.now
        self._telemetry = telemetry

    async def _send(self, delivery: Delivery) -> None:
        try:
            await self._targets.send(delivery)
        except AwsError as error:
            await self._failed(delivery, error)
        except Exception as error:  # the outermost edge of a delivery: it must not take the others along
            log.exception("sending to %s broke: report it with this traceback", delivery.target)
            await self._failed(delivery, service_fault(str(error)))
        else:
            await self._end(delivery, self._step("sent", delivery))

    async def _failed(self, delivery: Delivery, error: AwsError) -> None:
        is_dead_letter = delivery.message["kind"] == "dead-letter"
        metric = "DeadLetterErrors" if is_dead_letter else "DestinationDeliveryFailures"
        self._telemetry.of_function(FunctionAddress(*delivery.function), metric)
        name = delivery.function[2]
        reason = f"{error.code}: {error.message}"
        again = after_failed_delivery(delivery.tries + 1, delivery.created_ms / 1000, self._now_s())
        if again is None:
            log.error("%s of %s to %s is given up: %s", delivery.message["kind"], name, delivery.target, reason)
            await self._end(delivery, self._step("not sent", delivery, error=reason))
            return
        log.log(
            logging.INFO if delivery.tries else logging.WARNING,
            "%s of %s was not taken by %s (%s); sending it again",
            delivery.message["kind"], name, delivery.target, reason,
        )  # fmt: skip
        at_ms = int(again.at_s * 1000)
        step = self._step("refused by target", delivery, error=reason, next_at_ms=at_ms)
        await until_written("what came of a delivery", partial(self._store.postpone_delivery, delivery, at_ms, step))

    async def _end(self, delivery: Delivery, step: NewStep) -> None:
        await until_written("what came of a delivery", partial(self._store.end_delivery, delivery, step))

    def _step(self, what: str, delivery: Delivery, **detail: object) -> NewStep:
        about = {"target": delivery.target, "kind": delivery.message["kind"]}
        return NewStep(what=what, at_ms=int(self._now_s() * 1000), detail={**about, **detail})
