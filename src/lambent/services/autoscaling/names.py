"""Scalable targets by name and ARN, and where the catalog keeps what belongs to them."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView

Members = dict[str, Any]

SERVICE: Final = "application-autoscaling"  # botocore's name
NAMESPACE: Final = "lambda"
DIMENSION: Final = "lambda:function:ProvisionedConcurrency"

# Kinds of the catalog's documents. Targets are named by their resource id, what belongs to one by `RESOURCE_ID/NAME`.
TARGETS: Final = "scalable-targets"
POLICIES: Final = "scaling-policies"
ACTIONS: Final = "scheduled-scaling-actions"
ACTIVITIES: Final = "scaling-activities"  # one document for each resource id

# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html, ResourceId
_RESOURCE: Final = re.compile(r"function:([a-zA-Z0-9_-]{1,64}):([a-zA-Z0-9_-]{1,128})")


@attrs.frozen
class Target:
    """A version or an alias whose provisioned concurrency is to be scaled, registered or not."""

    account_id: str
    region: str
    resource_id: str  # function:NAME:VERSION-OR-ALIAS

    @property
    def place(self) -> tuple[str, str]:
        return self.account_id, self.region

    @property
    def function(self) -> FunctionAddress:
        found = _RESOURCE.fullmatch(self.resource_id)
        assert found is not None, self.resource_id
        return FunctionAddress(self.account_id, self.region, found[1], found[2])

    def key(self, name: str) -> str:
        """The name of the document of a policy or a scheduled action."""
        return f"{self.resource_id}/{name}"

    def context(self, request_id: str) -> RequestContext:
        """As which the service itself asks Lambda and CloudWatch."""
        return RequestContext(account_id=self.account_id, region=self.region, request_id=request_id, base_url="")

    def arn_of_policy(self, uid: str, name: str) -> str:
        return f"{self._arn}:scalingPolicy:{uid}:resource/{NAMESPACE}/{self.resource_id}:policyName/{name}"

    def arn_of_action(self, uid: str, name: str) -> str:
        return f"{self._arn}:scheduledAction:{uid}:resource/{NAMESPACE}/{self.resource_id}:scheduledActionName/{name}"

    @property
    def _arn(self) -> str:
        return f"arn:aws:autoscaling:{self.region}:{self.account_id}"


def is_resource_id(text: str) -> bool:
    return _RESOURCE.fullmatch(text) is not None


def target_of(context: RequestContext, members: Members) -> Target:
    return Target(context.account_id, context.region, members["ResourceId"])


def arn_of_target(region: str, account_id: str, uid: str) -> str:
    return f"arn:aws:application-autoscaling:{region}:{account_id}:scalable-target/{uid}"


async def delete_belonging(catalog: Catalog, kind: str, target: Target, name: str, missing: AwsError) -> None:
    """Raises `missing` when it is not there."""

    def work(tx: CatalogTransaction) -> None:
        if tx.document(kind, *target.place, target.key(name)) is None:
            raise missing
        tx.delete_document(kind, *target.place, target.key(name))

    await catalog.transact(work)


def belonging(view: CatalogView, kind: str, target: Target) -> dict[str, Members]:
    """Policies or scheduled actions of one target, by name in order."""
    prefix = target.key("")
    documents = view.documents(kind, *target.place)
    return {key.removeprefix(prefix): document for key, document in documents.items() if key.startswith(prefix)}
