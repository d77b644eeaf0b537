"""Scalable targets: whose capacity is scaled, between which bounds."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.names import FunctionAddress, is_version
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.autoscaling.capacity import Capacities
from lambent.services.autoscaling.errors import no_target, too_many, unsupported, validation
from lambent.services.autoscaling.listing import check_choice, is_chosen, paged
from lambent.services.autoscaling.names import (
    ACTIONS,
    DIMENSION,
    NAMESPACE,
    POLICIES,
    TARGETS,
    Members,
    Target,
    arn_of_target,
    belonging,
    is_resource_id,
    target_of,
)
from lambent.services.autoscaling.tags import TAGS_MAX
from lambent.services.events.names import moment

# https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-quotas.html
TARGETS_MAX: Final = 500
_ROLE: Final = (
    "arn:aws:iam::{}:role/aws-service-role/lambda.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency"
)
_RUNNING: Final = {
    "DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False, "ScheduledScalingSuspended": False,
}  # fmt: skip


class Targets:
    def __init__(self, catalog: Catalog, clock: Clock, capacities: Capacities) -> None:
        self._catalog = catalog
        self._clock = clock
        self._capacities = capacities
        self.operations: Mapping[str, Operation] = {
            "RegisterScalableTarget": self.register,
            "DeregisterScalableTarget": self.deregister,
            "DescribeScalableTargets": self.describe,
        }

    async def register(self, context: RequestContext, members: Members) -> Members:
        """A new target, or another setting of one; what is left out stays. The capacity is brought within the bounds."""
        check_dimension(members)
        target, now_s = target_of(context, members), self._clock.now()

        def work(tx: CatalogTransaction) -> str:
            _need_function(tx, target.function, target.resource_id)
            before = tx.document(TARGETS, *target.place, target.resource_id)
            if before is None and len(tx.documents(TARGETS, *target.place)) >= TARGETS_MAX:
                raise too_many("scalable targets of lambda", TARGETS_MAX)
            document = _changed(before or _new(target, now_s), members)
            check_bounds(document.get("MinCapacity"), document.get("MaxCapacity"))
            tx.put_document(TARGETS, *target.place, target.resource_id, document)
            return arn_of_target(target.region, target.account_id, document["Id"])

        arn = await self._catalog.transact(work)
        await self._capacities.hold(target)
        return {"ScalableTargetARN": arn}

    async def deregister(self, context: RequestContext, members: Members) -> Members:
        """With its policies and scheduled actions. The capacity stays as it is."""
        check_dimension(members)
        target = target_of(context, members)

        def work(tx: CatalogTransaction) -> None:
            need_target(tx, target, "found")
            for kind in (POLICIES, ACTIONS):
                for name in belonging(tx, kind, target):
                    tx.delete_document(kind, *target.place, target.key(name))
            tx.delete_document(TARGETS, *target.place, target.resource_id)

        await self._catalog.transact(work)
        return {}

    async def describe(self, context: RequestContext, members: Members) -> Members:
        check_choice(members)
        documents = self._catalog.documents(TARGETS, context.account_id, context.region)
        found = [
            _shown(Target(context.account_id, context.region, resource_id), document)
            for resource_id, document in documents.items()
            if is_chosen(members, resource_id)
        ]
        return paged(found, lambda each: str(each["ResourceId"]), members, "ScalableTargets")


def check_dimension(members: Members) -> None:
    """Raises AwsError ValidationException for a resource or a dimension that Lambda has not."""
    if members["ScalableDimension"] != DIMENSION or not is_resource_id(members["ResourceId"]):
        raise unsupported()


def need_target(view: CatalogView, target: Target, verb: str = "registered") -> Members:
    """Its document. Raises AwsError ObjectNotFoundException."""
    found = view.document(TARGETS, *target.place, target.resource_id)
    if found is None:
        raise no_target(target.resource_id, verb)
    return found


def check_bounds(least: int | None, most: int | None) -> None:
    """Raises AwsError ValidationException."""
    if least is None or most is None:
        raise validation("Minimum capacity and maximum capacity must be specified for a new scalable target.")
    if least < 0 or most < 0:
        raise validation("Minimum capacity and maximum capacity must be greater than or equal to 0.")
    if least > most:
        raise validation("Maximum capacity cannot be less than minimum capacity.")


def _new(target: Target, now_s: float) -> Members:
    return {
        "Id": uuid.uuid4().hex, "CreationTime": now_s, "RoleARN": _ROLE.format(target.account_id),
        "SuspendedState": _RUNNING, "Tags": {},
    }  # fmt: skip


def _changed(document: Members, members: Members) -> Members:
    given: dict[str, Any] = {
        name: members[name] for name in ("MinCapacity", "MaxCapacity") if members.get(name) is not None
    }
    suspended = {name: value for name, value in (members.get("SuspendedState") or {}).items() if value is not None}
    tags = {**document["Tags"], **(members.get("Tags") or {})}
    if len(tags) > TAGS_MAX:
        raise validation(f"The number of tags on a scalable target may not be greater than {TAGS_MAX}.")
    return {**document, **given, "SuspendedState": {**document["SuspendedState"], **suspended}, "Tags": tags}


def _need_function(view: CatalogView, function: FunctionAddress, resource_id: str) -> None:
    """Raises AwsError ValidationException when there is no such version or alias."""
    qualifier = str(function.qualifier)
    found = view.version(function, int(qualifier)) if is_version(qualifier) else view.alias(function, qualifier)
    if found is None:
        raise validation(f"Lambda function version or alias doesn't exist: {resource_id}")


def _shown(target: Target, document: Members) -> Members:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": target.resource_id,
        "ScalableDimension": DIMENSION,
        "MinCapacity": document["MinCapacity"],
        "MaxCapacity": document["MaxCapacity"],
        "RoleARN": document["RoleARN"],
        "CreationTime": moment(document["CreationTime"]),
        "SuspendedState": document["SuspendedState"],
        "ScalableTargetARN": arn_of_target(target.region, target.account_id, document["Id"]),
    }
