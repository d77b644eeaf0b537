"""A target's capacity: read from Lambda, and set there by the operations that users have, too."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Coroutine
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.scaling import Alarm, Bounds
from lambent.ports import Catalog, Clients, Clock
from lambent.services.autoscaling.activities import Activities
from lambent.services.autoscaling.names import ACTIVITIES, TARGETS, Members, Target
from lambent.store.database import StoreError

log = logging.getLogger(__name__)

FOLLOW_S: Final = 0.5  # how often an activity looks whether its environments are there
_NO_CONFIG: Final = "ProvisionedConcurrencyConfigNotFoundException"


class Capacities:
    """Each change is an activity, which lasts until Lambda has fulfilled it. `close` ends the watching, not the changes."""

    def __init__(self, catalog: Catalog, clock: Clock, clients: Clients, activities: Activities) -> None:
        self._catalog = catalog
        self._clock = clock
        self._clients = clients
        self._activities = activities
        self._following: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()  # from reading a capacity to setting it

    def start(self) -> None:
        """Takes up the activities that an earlier server began."""
        for account_id, region in self._catalog.document_places(ACTIVITIES):
            for resource_id in self._catalog.documents(ACTIVITIES, account_id, region):
                target = Target(account_id, region, resource_id)
                for activity in self._activities.unfinished(target):
                    if "Wanted" in activity:
                        self._spawn(self._follow(target, activity["ActivityId"], activity["Wanted"]))
                    else:
                        message = "The server was ended before this was done."
                        self._spawn(self._activities.end(target, activity["ActivityId"], "Failed", message))

    async def close(self) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    async def current(self, target: Target) -> int:
        """0 where nothing is provisioned. Raises AwsError."""
        config = await self._config(target)
        return config["RequestedProvisionedConcurrentExecutions"] if config is not None else 0

    async def hold(self, target: Target) -> None:
        """Brings the capacity within the target's bounds. Raises AwsError when the capacity cannot be read."""
        async with self._turn:
            document = self._catalog.document(TARGETS, *target.place, target.resource_id)
            if document is None:
                return
            current = await self.current(target)
            bounds = bounds_of(document)
            wanted = bounds.hold(current)
            if wanted > current:
                await self._set(target, current, wanted, f"minimum capacity was set to {bounds.least}")
            elif wanted < current:
                await self._set(target, current, wanted, f"maximum capacity was set to {bounds.most}")

    async def scale(self, target: Target, before: int, wanted: int, cause: str, alarm: Alarm) -> None:
        """Does nothing when the capacity is not `before` any more. Raises AwsError as `hold` does."""
        async with self._turn:
            if await self.current(target) == before:
                await self._set(target, before, wanted, cause, alarm)

    async def _set(self, target: Target, before: int, wanted: int, cause: str, alarm: Alarm | None = None) -> None:
        """What Lambda refuses is told by the activity."""
        because = {"Alarm": alarm, "Before": before} if alarm is not None else {}
        activity_id = await self._activities.begin(
            target, f"Setting desired concurrency to {wanted}.", cause, Wanted=wanted, **because
        )
        function = target.function
        where = {"FunctionName": function.name, "Qualifier": function.qualifier}
        context = target.context(activity_id)
        try:
            if wanted:
                members = {**where, "ProvisionedConcurrentExecutions": wanted}
                await self._clients.call(context, "lambda", "PutProvisionedConcurrencyConfig", members)
            else:
                await self._clients.call(context, "lambda", "DeleteProvisionedConcurrencyConfig", where)
        except AwsError as error:
            log.warning("%s cannot be scaled to %d: %s", target.resource_id, wanted, error)
            message = f"Failed to set desired concurrency to {wanted}. Reason: {error.message}"
            await self._activities.end(target, activity_id, "Failed", message)
            return
        self._spawn(self._follow(target, activity_id, wanted))

    async def _follow(self, target: Target, activity_id: str, wanted: int) -> None:
        """Until it is fulfilled, has failed, or somebody has asked for something else."""
        while True:
            try:
                ended = _outcome(await self._config(target), wanted)
            except AwsError as error:
                reason = f"Failed to set desired concurrency to {wanted}. Reason: {error.message}"
                ended = ("Failed", reason) if not error.is_server_fault else None
            try:
                if ended is not None:
                    await self._activities.end(target, activity_id, *ended)
                    return
            except (sqlite3.Error, StoreError) as error:
                log.error("a scaling activity cannot be stored (%s); make room on the data directory's disk", error)
            await self._clock.sleep(FOLLOW_S)

    async def _config(self, target: Target) -> Members | None:
        """GetProvisionedConcurrencyConfig's answer. Raises AwsError."""
        function = target.function
        where = {"FunctionName": function.name, "Qualifier": function.qualifier}
        try:
            return await self._clients.call(target.context(""), "lambda", "GetProvisionedConcurrencyConfig", where)
        except AwsError as error:
            if error.code == _NO_CONFIG:
                return None
            raise

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._following.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._following.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a scaling activity is not followed any more; report it with this traceback", exc_info=error)


def bounds_of(document: Members) -> Bounds:
    """Of a scalable target."""
    return Bounds(least=document["MinCapacity"], most=document["MaxCapacity"])


def _outcome(config: Members | None, wanted: int) -> tuple[str, str] | None:
    """Status and message; None while it is being fulfilled."""
    requested = config["RequestedProvisionedConcurrentExecutions"] if config is not None else 0
    if requested != wanted:
        return "Overridden", f"Desired concurrency was set to {requested} meanwhile."
    if config is None or config["Status"] == "READY":
        return (
            "Successful",
            f"Successfully set desired concurrency to {wanted}. Change successfully fulfilled by lambda.",
        )
    if config["Status"] == "FAILED":
        return "Failed", f"Failed to set desired concurrency to {wanted}. Reason: {config.get('StatusReason')}"
    return None
