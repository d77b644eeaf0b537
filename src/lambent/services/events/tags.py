"""Tags of rules and buses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Operation
from lambent.services.events.buses import BUSES, need_bus
from lambent.services.events.errors import invalid, too_many
from lambent.services.events.names import bus_of_arn, rule_of_arn
from lambent.services.events.router import RULES
from lambent.services.events.rules import need_rule

Members = dict[str, Any]

TAGS_MAX: Final = 50  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-tagging.html


class Tags:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.operations: Mapping[str, Operation] = {
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "ListTagsForResource": self.list_tags_for_resource,
        }

    async def tag_resource(self, context: RequestContext, members: Members) -> Members:
        given = {tag["Key"]: tag["Value"] for tag in members["Tags"]}

        def change(tags: Mapping[str, str]) -> Members:
            if len(changed := {**tags, **given}) > TAGS_MAX:
                raise too_many()
            return changed

        await self._change(context, members["ResourceARN"], change)
        return {}

    async def untag_resource(self, context: RequestContext, members: Members) -> Members:
        gone = set(members["TagKeys"])
        await self._change(
            context, members["ResourceARN"], lambda tags: {k: v for k, v in tags.items() if k not in gone}
        )
        return {}

    async def list_tags_for_resource(self, context: RequestContext, members: Members) -> Members:
        tags = _found(self._catalog, context, members["ResourceARN"])[3].get("Tags") or {}
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    async def _change(self, context: RequestContext, arn: str, change: Callable[[Mapping[str, str]], Members]) -> None:
        def work(tx: CatalogTransaction) -> None:
            kind, place, name, document = _found(tx, context, arn)
            tx.put_document(kind, *place, name, document | {"Tags": change(document.get("Tags") or {})})

        await self._catalog.transact(work)


def _found(view: CatalogView, context: RequestContext, arn: str) -> tuple[str, tuple[str, str], str, Members]:
    """Kind, place, name and document. Raises AwsError ResourceNotFoundException, ValidationException."""
    bus = bus_of_arn(arn)
    if bus is not None and bus.account_id == context.account_id:
        return BUSES, (bus.account_id, bus.region), bus.name, need_bus(view, bus)
    named = rule_of_arn(arn)
    if named is not None and named[0].account_id == context.account_id:
        bus, rule = named
        return RULES, (bus.account_id, bus.region), bus.key(rule), need_rule(view, bus, rule)
    raise invalid(arn, "Provided Arn is not in correct format.")
