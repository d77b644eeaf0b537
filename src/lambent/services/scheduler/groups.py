"""Operations on schedule groups, and their tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.events.names import moment, page
from lambent.services.scheduler.errors import conflict, missing, quota, validation

Members = dict[str, Any]

GROUPS: Final = "schedule-group"  # kinds of documents
SCHEDULES: Final = "schedule"
DEFAULT_GROUP: Final = "default"
GROUPS_MAX: Final = 500  # https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html, of a region
TAGS_MAX: Final = 50  # same page


def group_arn(context: RequestContext, name: str) -> str:
    return f"arn:aws:scheduler:{context.region}:{context.account_id}:schedule-group/{name}"


class Groups:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "CreateScheduleGroup": self.create_schedule_group,
            "GetScheduleGroup": self.get_schedule_group,
            "DeleteScheduleGroup": self.delete_schedule_group,
            "ListScheduleGroups": self.list_schedule_groups,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "ListTagsForResource": self.list_tags_for_resource,
        }

    async def create_schedule_group(self, context: RequestContext, members: Members) -> Members:
        name, token = members["Name"], members.get("ClientToken")
        now_s = self._clock.now()
        document = {
            "Name": name, "CreationDate": now_s, "LastModificationDate": now_s, "ClientToken": token,
            "Tags": {tag["Key"]: tag["Value"] for tag in members.get("Tags") or ()},
        }  # fmt: skip

        def work(tx: CatalogTransaction) -> None:
            groups = tx.documents(GROUPS, context.account_id, context.region)
            if name == DEFAULT_GROUP or name in groups:
                if token and name in groups and groups[name].get("ClientToken") == token:
                    return
                raise conflict("Schedule group", name)
            if len(groups) >= GROUPS_MAX:
                raise quota()
            tx.put_document(GROUPS, context.account_id, context.region, name, document)

        await self._catalog.transact(work)
        return {"ScheduleGroupArn": group_arn(context, name)}

    async def get_schedule_group(self, context: RequestContext, members: Members) -> Members:
        return _described(context, need_group(self._catalog, context, members["Name"]))

    async def delete_schedule_group(self, context: RequestContext, members: Members) -> Members:
        name = members["Name"]
        if name == DEFAULT_GROUP:
            raise validation("The default schedule group cannot be deleted.")

        def work(tx: CatalogTransaction) -> None:
            need_group(tx, context, name)
            for key in tx.documents(SCHEDULES, context.account_id, context.region):
                if key.startswith(f"{name}/"):
                    tx.delete_document(SCHEDULES, context.account_id, context.region, key)
            tx.delete_document(GROUPS, context.account_id, context.region, name)

        await self._catalog.transact(work)
        return {}

    async def list_schedule_groups(self, context: RequestContext, members: Members) -> Members:
        prefix = members.get("NamePrefix") or ""
        names = sorted({DEFAULT_GROUP, *self._catalog.documents(GROUPS, context.account_id, context.region)})
        chosen, more = page([name for name in names if name.startswith(prefix)], lambda name: name, members)
        found = [_described(context, need_group(self._catalog, context, name)) for name in chosen]
        return {"ScheduleGroups": found, **more}

    # --- tags

    async def tag_resource(self, context: RequestContext, members: Members) -> Members:
        given = {tag["Key"]: tag["Value"] for tag in members["Tags"]}

        def change(tags: Mapping[str, str]) -> Members:
            if len(changed := {**tags, **given}) > TAGS_MAX:
                raise validation(f"A schedule group has at most {TAGS_MAX} tags.")
            return changed

        await self._change_tags(context, members, change)
        return {}

    async def untag_resource(self, context: RequestContext, members: Members) -> Members:
        gone = set(members["TagKeys"])
        await self._change_tags(context, members, lambda tags: {k: v for k, v in tags.items() if k not in gone})
        return {}

    async def list_tags_for_resource(self, context: RequestContext, members: Members) -> Members:
        tags = need_group(self._catalog, context, _group_of(context, members["ResourceArn"])).get("Tags") or {}
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    async def _change_tags(
        self, context: RequestContext, members: Members, change: Callable[[Mapping[str, str]], Members]
    ) -> None:
        name = _group_of(context, members["ResourceArn"])

        def work(tx: CatalogTransaction) -> None:
            document = need_group(tx, context, name)
            changed = document | {"Tags": change(document.get("Tags") or {})}
            tx.put_document(GROUPS, context.account_id, context.region, name, changed)

        await self._catalog.transact(work)


def need_group(view: CatalogView, context: RequestContext, name: str) -> Members:
    """The default one is always there. Raises AwsError ResourceNotFoundException."""
    found = view.document(GROUPS, context.account_id, context.region, name)
    if found is None:
        if name != DEFAULT_GROUP:
            raise missing("Schedule group", name)
        found = {"Name": DEFAULT_GROUP}
    return found


def _described(context: RequestContext, document: Mapping[str, Any]) -> Members:
    times = {
        each: moment(document[each]) for each in ("CreationDate", "LastModificationDate") if each in document
    }  # fmt: skip
    name = document["Name"]
    return {"Arn": group_arn(context, name), "Name": name, "State": "ACTIVE", **times}


def _group_of(context: RequestContext, arn: str) -> str:
    name = arn.rpartition("/")[2]
    if arn != group_arn(context, name):
        raise missing("Schedule group", name)
    return name
