"""Tags of scalable targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Operation
from lambent.services.autoscaling.errors import too_many_tags
from lambent.services.autoscaling.names import TARGETS, Members, arn_of_target

TAGS_MAX: Final = 50  # https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TagResource.html


class Tags:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.operations: Mapping[str, Operation] = {
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list,
        }

    def knows(self, context: RequestContext, arn: str) -> bool:
        """Is it the ARN of one of Lambda's targets?"""
        return _find(self._catalog, context, arn) is not None

    async def tag(self, context: RequestContext, members: Members) -> Members:
        arn = members["ResourceARN"]

        def work(tx: CatalogTransaction) -> None:
            name, document = _need(tx, context, arn)
            tags = {**document["Tags"], **members["Tags"]}
            if len(tags) > TAGS_MAX:
                raise too_many_tags(arn, TAGS_MAX)
            tx.put_document(TARGETS, context.account_id, context.region, name, {**document, "Tags": tags})

        await self._catalog.transact(work)
        return {}

    async def untag(self, context: RequestContext, members: Members) -> Members:
        def work(tx: CatalogTransaction) -> None:
            name, document = _need(tx, context, members["ResourceARN"])
            tags = {key: value for key, value in document["Tags"].items() if key not in members["TagKeys"]}
            tx.put_document(TARGETS, context.account_id, context.region, name, {**document, "Tags": tags})

        await self._catalog.transact(work)
        return {}

    async def list(self, context: RequestContext, members: Members) -> Members:
        return {"Tags": _need(self._catalog, context, members["ResourceARN"])[1]["Tags"]}


def _find(view: CatalogView, context: RequestContext, arn: str) -> tuple[str, Members] | None:
    """Resource id and document."""
    place = (context.account_id, context.region)
    for name, document in view.documents(TARGETS, *place).items():
        if arn_of_target(context.region, context.account_id, document["Id"]) == arn:
            return name, document
    return None


def _need(view: CatalogView, context: RequestContext, arn: str) -> tuple[str, Members]:
    """Raises AwsError ResourceNotFoundException."""
    found = _find(view, context, arn)
    if found is None:
        message = f"The scalable target {arn} does not exist."
        raise AwsError("ResourceNotFoundException", message, 400, {"ResourceName": arn})
    return found
