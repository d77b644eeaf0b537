"""Replays: archived events go to their bus's rules again, over any number of restarts."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.delivery import Deliverer
from lambent.services.events.buses import need_bus
from lambent.services.events.errors import exists, invalid, missing
from lambent.services.events.names import bus_of_arn, moment, page, present
from lambent.services.events.router import ARCHIVES, Came, Router
from lambent.store.database import StoreError
from lambent.store.deliveries import Archived, DeliveryStore

log = logging.getLogger(__name__)

Members = dict[str, Any]
Key = tuple[str, str, str]  # account, region, name

REPLAYS: Final = "event-replay"  # kind of documents
CHUNK: Final = 100  # events at a time
RETRY_S: Final = 1.0
_TIMES: Final = (
    "EventStartTime", "EventEndTime", "EventLastReplayedTime", "ReplayStartTime", "ReplayEndTime",
)  # fmt: skip
_LISTED: Final = ("ReplayName", "EventSourceArn", "State", "StateReason", *_TIMES)
_RUNNING: Final = ("STARTING", "RUNNING")


class Replays:
    def __init__(
        self, catalog: Catalog, clock: Clock, store: DeliveryStore, router: Router, deliverer: Deliverer
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._store = store
        self._router = router
        self._deliverer = deliverer
        self._tasks: set[asyncio.Task[None]] = set()
        self.operations: Mapping[str, Operation] = {
            "StartReplay": self.start_replay,
            "CancelReplay": self.cancel_replay,
            "DescribeReplay": self.describe_replay,
            "ListReplays": self.list_replays,
        }

    def start(self) -> None:
        """Goes on with those that an earlier server began."""
        for place in self._catalog.document_places(REPLAYS):
            for name, document in self._catalog.documents(REPLAYS, *place).items():
                if document["State"] not in ("COMPLETED", "CANCELLED", "FAILED"):
                    self._spawn((*place, name))

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start_replay(self, context: RequestContext, members: Members) -> Members:
        name, source = members["ReplayName"], members["EventSourceArn"]
        begin_s, end_s = members["EventStartTime"].timestamp(), members["EventEndTime"].timestamp()
        now_s = self._clock.now()
        destination = members["Destination"]
        document = {
            "ReplayName": name, "EventSourceArn": source, "Destination": present(destination), "State": "STARTING",
            "EventStartTime": begin_s, "EventEndTime": end_s, "ReplayStartTime": now_s,
            **present({"Description": members.get("Description")}),
        }  # fmt: skip
        key = (context.account_id, context.region, name)

        def work(tx: CatalogTransaction) -> None:
            document["ArchiveKey"] = _checked(tx, context, source, destination["Arn"])
            if begin_s >= end_s:
                raise invalid("EventEndTime", "EventStartTime must be before EventEndTime.")
            if tx.document(REPLAYS, *key) is not None:
                raise exists(f"Replay {name} already exists.")
            tx.put_document(REPLAYS, *key, document)

        await self._catalog.transact(work)
        self._spawn(key)
        return {"ReplayArn": _arn(key), "State": "STARTING", "ReplayStartTime": moment(now_s)}

    async def cancel_replay(self, context: RequestContext, members: Members) -> Members:
        key = (context.account_id, context.region, members["ReplayName"])

        def work(tx: CatalogTransaction) -> None:
            document = _need(tx, key)
            if document["State"] not in _RUNNING:
                raise AwsError(
                    "IllegalStatusException", f"Replay {key[2]} is not in a valid state for this operation.", 400
                )
            tx.put_document(REPLAYS, *key, document | {"State": "CANCELLING"})

        await self._catalog.transact(work)
        return {"ReplayArn": _arn(key), "State": "CANCELLING"}

    async def describe_replay(self, context: RequestContext, members: Members) -> Members:
        key = (context.account_id, context.region, members["ReplayName"])
        document = _need(self._catalog, key)
        more = present({each: document.get(each) for each in ("Description", "Destination")})
        return {"ReplayArn": _arn(key), **_listed(document), **more}

    async def list_replays(self, context: RequestContext, members: Members) -> Members:
        source, state = members.get("EventSourceArn"), members.get("State")
        prefix = members.get("NamePrefix") or ""
        documents = self._catalog.documents(REPLAYS, context.account_id, context.region).values()
        fitting = [
            each
            for each in documents
            if source in (None, each["EventSourceArn"])
            and state in (None, each["State"])
            and each["ReplayName"].startswith(prefix)
        ]
        chosen, more = page(fitting, lambda each: str(each["ReplayName"]), members)
        return {"Replays": [_listed(each) for each in chosen], **more}

    # --- at work

    def _spawn(self, key: Key) -> None:
        task = asyncio.get_running_loop().create_task(self._run(key), name=f"replay {key[2]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: Key) -> None:
        while True:
            try:
                await self._replay(key)
                return
            except StoreError:
                return  # the server is stopping
            except (AwsError, sqlite3.Error) as error:
                log.error("the replay %s cannot go on (%s); trying again", key[2], error)
                await self._clock.sleep(RETRY_S)

    async def _replay(self, key: Key) -> None:
        mark = _arn(key)
        while (document := self._catalog.document(REPLAYS, *key)) is not None and document["State"] in _RUNNING:
            if document["State"] == "STARTING":
                await self._set(key, "STARTING", State="RUNNING")
            span_ms = (int(document["EventStartTime"] * 1000), int(document["EventEndTime"] * 1000))
            after = self._store.marks.get(mark, 0)
            events = await self._store.archived(document["ArchiveKey"], span_ms, after, CHUNK)
            if not events:
                await self._set(key, "RUNNING", State="COMPLETED", ReplayEndTime=self._clock.now())
                break
            await self._send(document, events, mark)
            await self._set(key, "RUNNING", EventLastReplayedTime=events[-1].at_ms / 1000)
        else:
            await self._set(key, "CANCELLING", State="CANCELLED", ReplayEndTime=self._clock.now())
        await self._store.forget_mark(mark)

    async def _send(self, document: Mapping[str, Any], events: list[Archived], mark: str) -> None:
        bus = bus_of_arn(document["Destination"]["Arn"])
        assert bus is not None  # checked when the replay was started
        only = document["Destination"].get("FilterArns") or None
        deliveries = []
        for archived in events:
            event = msgspec.json.decode(archived.event) | {"replay-name": document["ReplayName"]}
            deliveries += self._router.route(bus, event, Came(ingested_s=self._clock.now(), only_rules=only))[0]
        await self._deliverer.accept(deliveries, marks={mark: events[-1].id})

    async def _set(self, key: Key, state: str, **changes: Any) -> None:
        """Unless its state has become another one meanwhile."""

        def work(tx: CatalogTransaction) -> None:
            document = tx.document(REPLAYS, *key)
            if document is not None and document["State"] == state:
                tx.put_document(REPLAYS, *key, document | changes)

        await self._catalog.transact(work)


def _checked(tx: CatalogTransaction, context: RequestContext, source: str, destination: str) -> str:
    """The archive's key. Raises AwsError for an archive or a bus that is not there, or not the archive's."""
    name = source.rpartition("/")[2]
    bus = bus_of_arn(destination)
    if bus is None or bus.account_id != context.account_id:
        raise invalid("Destination.Arn", "Must contain an event bus ARN.")
    need_bus(tx, bus)
    archive = tx.document(ARCHIVES, context.account_id, context.region, name)
    if archive is None or not source.endswith(f":archive/{name}"):
        raise invalid("EventSourceArn", f"Archive {name} does not exist.")
    if archive["EventSourceArn"] != bus.arn:
        raise invalid("Destination.Arn", "Cross event bus replay is not permitted.")
    return str(archive["Key"])


def _need(view: CatalogView, key: Key) -> Members:
    found = view.document(REPLAYS, *key)
    if found is None:
        raise missing(f"Replay {key[2]} does not exist.")
    return found


def _arn(key: Key) -> str:
    return f"arn:aws:events:{key[1]}:{key[0]}:replay/{key[2]}"


def _listed(document: Mapping[str, Any]) -> Members:
    shown = present({each: document.get(each) for each in _LISTED})
    return {name: moment(value) if name in _TIMES else value for name, value in shown.items()}
