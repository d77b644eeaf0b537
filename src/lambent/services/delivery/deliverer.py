"""Sees to it that every target gets what it is owed, over any number of restarts.

`accept` returns once all of it is on disk. Each target has a lane of its own, so one that is down delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError, service_fault
from lambent.ports import NO_TELEMETRY, Clock, Telemetry
from lambent.services.delivery.figures import DeliveryFigures
from lambent.services.delivery.lane import SendingLane
from lambent.services.delivery.retrying import Failure, Over, RetryPolicy, after_failure, failure_of
from lambent.services.delivery.targets import Targets
from lambent.store.ascending_clock import AscendingClock
from lambent.store.database import StoreError
from lambent.store.deliveries import Delivery, DeliveryStore, NewArchived, NewDelivery
from lambent.store.rewriting import until_written

log = logging.getLogger(__name__)

TOGETHER: Final = 20  # deliveries to one target at the same time
RESTART_LANE_S: Final = 1.0  # after a disk that failed


def owed(
    *,
    kind: str,
    owner: str,
    account_id: str,
    region: str,
    target: Mapping[str, Any],
    body: bytes,
    more: Mapping[str, Any] | None = None,
    due_ms: int | None = None,
) -> NewDelivery:
    """What a rule ("rule") or a schedule ("schedule") owes to a target, by the target's own retry policy.

    `target` has AWS's shape. `more` is kept with it for whoever sends: a trace header, a schedule's time.
    """
    kept = {name: value for name, value in target.items() if name not in ("Input", "InputPath", "InputTransformer")}
    about = {
        "id": str(uuid.uuid4()), "kind": kind, "owner": owner, "account": account_id, "region": region,
        "target": kept, **(more or {}),
    }  # fmt: skip
    return NewDelivery(lane=str(target["Arn"]), about=about, body=body, due_ms=due_ms)


class Deliverer:
    def __init__(
        self, store: DeliveryStore, targets: Targets, clock: Clock, telemetry: Telemetry = NO_TELEMETRY
    ) -> None:
        self._figures = DeliveryFigures(telemetry)
        self._store = store
        self._targets = targets
        self._clock = AscendingClock(clock, store.now_ms() / 1000)
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Goes on with what an earlier server accepted. Raises sqlite3.Error, StoreError."""
        for lane in await self._store.lanes():
            self._wake(lane)

    async def close(self) -> None:
        """Interrupts what is being sent; the next server sends it again."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(
        self,
        deliveries: Sequence[NewDelivery],
        archived: Sequence[NewArchived] = (),
        marks: Mapping[str, int] | None = None,
    ) -> None:
        """Returns once all of it is durable. Raises AwsError InternalException for a disk that does not take it."""
        if not deliveries and not archived and not marks:
            return
        try:
            await self._store.accept(deliveries, archived, marks)
        except (sqlite3.Error, StoreError) as error:
            log.error("events cannot be stored (%s); make room on the disk of the data directory", error)
            raise AwsError("InternalException", "Service encountered unexpected problem. Please try again.", 500) from (
                error
            )
        self._figures.accepted(deliveries)
        for lane in {delivery.lane for delivery in deliveries}:
            self._wake(lane)

    def _wake(self, name: str) -> None:
        lane = self._lanes.get(name)
        if lane is not None:
            lane.alarm.ring()
            return
        if self._closed:
            return
        lane = self._lanes[name] = _Lane(name, self._store, self._targets, self._clock, self._wake, self._figures)
        task = asyncio.get_running_loop().create_task(self._run(lane), name=f"deliveries to {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, lane: _Lane) -> None:
        while True:
            try:
                await lane.run()
            except StoreError:
                return  # the server is stopping
            except sqlite3.Error as error:
                log.error("deliveries to %s cannot be looked up (%s); trying again", lane.name, error)
                await asyncio.sleep(RESTART_LANE_S)  # real time: the disk knows no other
                continue
            except Exception:  # the outermost edge of a lane: what it is owed must not be forgotten
                log.exception("deliveries to %s broke and go on in a second: report it with this traceback", lane.name)
                await asyncio.sleep(RESTART_LANE_S)
                continue
            if not lane.alarm.has_rung:
                del self._lanes[lane.name]
                return


class _Lane(SendingLane[Delivery]):
    """One target's deliveries."""

    def __init__(
        self,
        name: str,
        store: DeliveryStore,
        targets: Targets,
        clock: Clock,
        wake: Any,
        figures: DeliveryFigures,
    ) -> None:
        self._figures = figures
        super().__init__(lambda: store.due(name, TOGETHER), self._send, clock)
        self.name = name
        self._store = store
        self._targets = targets
        self._wake = wake

    async def _send(self, delivery: Delivery) -> None:
        self._figures.attempted(delivery.about)
        try:
            await self._targets.send(delivery)
        except AwsError as error:
            await self._failed(delivery, failure_of(error))
        except Exception as error:  # the outermost edge of a delivery: it must not take the others along
            log.exception("sending to %s broke: report it with this traceback", delivery.lane)
            await self._failed(delivery, failure_of(service_fault(str(error))))
        else:
            await until_written("what came of a delivery", partial(self._store.end, delivery))
            self._figures.sent(delivery.about)

    async def _failed(self, delivery: Delivery, failure: Failure) -> None:
        about, now_ms = delivery.about, self._store.now_ms()
        self._figures.refused(about)
        decision = after_failure(
            failure, _policy(about), delivery.accepted_ms, delivery.tries + 1, now_ms, random.random()
        )
        if not isinstance(decision, Over):
            if delivery.tries == 0:
                log.warning("%s was not taken by %s (%s); trying again", about["owner"], self.name, failure.message)
            await until_written("what came of a delivery", partial(self._store.postpone, delivery, decision.due_ms))
            return
        letter = _dead_letter(delivery, failure, decision)
        if letter is None:
            log.error("%s to %s is given up: %s", about["owner"], self.name, failure.message)
        else:
            log.warning("%s to %s becomes a dead letter: %s", about["owner"], self.name, failure.message)
        await until_written("what came of a delivery", partial(self._store.end, delivery, letter))
        self._figures.given_up(about)
        if letter is not None:
            self._wake(letter.lane)


def _policy(about: Mapping[str, Any]) -> RetryPolicy:
    policy = about["target"].get("RetryPolicy") or {}
    retries, age_s = policy.get("MaximumRetryAttempts"), policy.get("MaximumEventAgeInSeconds")
    defaults = RetryPolicy()
    return attrs.evolve(
        defaults,
        retries=defaults.retries if retries is None else retries,
        age_s=defaults.age_s if age_s is None else age_s,
    )


def _dead_letter(delivery: Delivery, failure: Failure, over: Over) -> NewDelivery | None:
    """With the attributes that AWS gives it; None where none are wanted, and for a dead letter itself."""
    about = delivery.about
    queue = (about["target"].get("DeadLetterConfig") or {}).get("Arn")
    if about["kind"] == "dead-letter" or not queue:
        return None
    told = {
        "ERROR_CODE": failure.code, "ERROR_MESSAGE": failure.message, "TARGET_ARN": about["target"]["Arn"],
        "RETRY_ATTEMPTS": str(delivery.tries),
    }  # fmt: skip
    if over.exhausted is not None:
        told["EXHAUSTED_RETRY_CONDITION"] = over.exhausted
    if about["kind"] == "schedule":
        told |= {
            "SCHEDULE_ARN": about["owner"], "SCHEDULED_TIME": about["scheduled_time"],
            "EXECUTION_ID": about["execution_id"], "IS_PAYLOAD_TRUNCATED": "false",
        }  # fmt: skip
    else:
        told["RULE_ARN"] = about["owner"]
    target = {"Arn": queue}
    if about["kind"] == "schedule":  # a schedule's role sends its dead letters, the service itself those of rules
        target["RoleArn"] = about["target"]["RoleArn"]
    letter = {
        "id": str(uuid.uuid4()), "kind": "dead-letter", "owner": about["owner"], "account": about["account"],
        "region": about["region"], "target": target, "attributes": told, "service": about["kind"],
    }  # fmt: skip
    return NewDelivery(lane=queue, about=letter, body=delivery.body)
