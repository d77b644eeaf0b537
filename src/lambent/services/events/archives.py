"""Operations on archives: events of a bus that are kept, to be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.events.buses import need_bus
from lambent.services.events.errors import exists, missing, no_bus, validation
from lambent.services.events.names import bus_of_arn, moment, page, present
from lambent.services.events.router import ARCHIVES
from lambent.services.events.rules import check_pattern
from lambent.store.deliveries import DeliveryStore

Members = dict[str, Any]

DAY_S: Final = 86_400
_CHANGING: Final = ("Description", "EventPattern", "RetentionDays", "KmsKeyIdentifier")
_LISTED: Final = ("ArchiveName", "EventSourceArn", "State", "RetentionDays")
_DESCRIBED: Final = (*_LISTED, "Description", "EventPattern", "KmsKeyIdentifier")


class Archives:
    def __init__(self, catalog: Catalog, clock: Clock, store: DeliveryStore) -> None:
        self._catalog = catalog
        self._clock = clock
        self._store = store
        self.operations: Mapping[str, Operation] = {
            "CreateArchive": self.create_archive,
            "DescribeArchive": self.describe_archive,
            "UpdateArchive": self.update_archive,
            "DeleteArchive": self.delete_archive,
            "ListArchives": self.list_archives,
        }

    async def create_archive(self, context: RequestContext, members: Members) -> Members:
        name = members["ArchiveName"]
        bus = bus_of_arn(members["EventSourceArn"])
        if bus is None or bus.account_id != context.account_id:
            raise no_bus(members["EventSourceArn"].rpartition("/")[2])
        if members.get("EventPattern"):
            check_pattern(members["EventPattern"])
        now_s = self._clock.now()
        document = {
            "ArchiveName": name, "EventSourceArn": bus.arn, "State": "ENABLED", "RetentionDays": 0, "CreationTime": now_s,
            "Key": f"{_arn(context, name)}@{int(now_s * 1000)}",
            **{each: members[each] for each in _CHANGING if members.get(each) is not None},
        }  # fmt: skip

        def work(tx: CatalogTransaction) -> None:
            need_bus(tx, bus)
            if tx.document(ARCHIVES, context.account_id, context.region, name) is not None:
                raise exists(f"Archive {name} already exists.")
            tx.put_document(ARCHIVES, context.account_id, context.region, name, document)

        await self._catalog.transact(work)
        return _told(context, document)

    async def describe_archive(self, context: RequestContext, members: Members) -> Members:
        document = need_archive(self._catalog, context, members["ArchiveName"])
        return {
            "ArchiveArn": _arn(context, members["ArchiveName"]),
            **present({each: document.get(each) for each in _DESCRIBED}),
            **await self._counted(document),
        }

    async def update_archive(self, context: RequestContext, members: Members) -> Members:
        if members.get("EventPattern"):
            check_pattern(members["EventPattern"])
        given = {each: members[each] for each in _CHANGING if members.get(each) is not None}

        def work(tx: CatalogTransaction) -> Members:
            document = need_archive(tx, context, members["ArchiveName"]) | given
            tx.put_document(ARCHIVES, context.account_id, context.region, members["ArchiveName"], document)
            return document

        return _told(context, await self._catalog.transact(work))

    async def delete_archive(self, context: RequestContext, members: Members) -> Members:
        def work(tx: CatalogTransaction) -> Members:
            document = need_archive(tx, context, members["ArchiveName"])
            tx.delete_document(ARCHIVES, context.account_id, context.region, members["ArchiveName"])
            return document

        document = await self._catalog.transact(work)
        await self._store.forget_archived(document["Key"])
        return {}

    async def list_archives(self, context: RequestContext, members: Members) -> Members:
        source, state, prefix = members.get("EventSourceArn"), members.get("State"), members.get("NamePrefix")
        if sum(each is not None for each in (source, state, prefix)) > 1:
            raise validation(
                "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix."
            )
        if source is not None and (bus := bus_of_arn(source)) is not None:
            need_bus(self._catalog, bus)
        documents = self._catalog.documents(ARCHIVES, context.account_id, context.region).values()
        fitting = [
            each
            for each in documents
            if source in (None, each["EventSourceArn"])
            and state in (None, each["State"])
            and each["ArchiveName"].startswith(prefix or "")
        ]
        chosen, more = page(fitting, lambda each: str(each["ArchiveName"]), members)
        found = [{**{each: d[each] for each in _LISTED}, **await self._counted(d)} for d in chosen]
        return {"Archives": found, **more}

    async def expire(self) -> None:
        """Forgets what is older than its archive keeps."""
        for place in self._catalog.document_places(ARCHIVES):
            for document in self._catalog.documents(ARCHIVES, *place).values():
                if document["RetentionDays"]:
                    before_s = self._clock.now() - document["RetentionDays"] * DAY_S
                    await self._store.forget_archived(document["Key"], int(before_s * 1000))

    async def _counted(self, document: Mapping[str, Any]) -> Members:
        count, size = await self._store.totals(document["Key"])
        return {"EventCount": count, "SizeBytes": size, "CreationTime": moment(document["CreationTime"])}


def need_archive(view: CatalogView, context: RequestContext, name: str) -> Members:
    found = view.document(ARCHIVES, context.account_id, context.region, name)
    if found is None:
        raise missing(f"Archive {name} does not exist.")
    return found


def _arn(context: RequestContext, name: str) -> str:
    return f"arn:aws:events:{context.region}:{context.account_id}:archive/{name}"


def _told(context: RequestContext, document: Mapping[str, Any]) -> Members:
    return {
        "ArchiveArn": _arn(context, document["ArchiveName"]),
        "State": document["State"],
        "CreationTime": moment(document["CreationTime"]),
    }
