"""Scaling policies: which metric of a target is kept where."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.model.scaling import Tracking
from lambent.ports import Catalog, CatalogTransaction, Clock, Operation
from lambent.services.autoscaling.errors import no_policy, too_many, validation
from lambent.services.autoscaling.listing import chosen, paged
from lambent.services.autoscaling.names import (
    DIMENSION,
    NAMESPACE,
    POLICIES,
    Members,
    Target,
    belonging,
    delete_belonging,
    target_of,
)
from lambent.services.autoscaling.targets import check_dimension, need_target
from lambent.services.events.names import moment, present

POLICIES_MAX: Final = 50  # of one target; application-auto-scaling-quotas.html
TRACKING: Final = "TargetTrackingScaling"
UTILISATION: Final = "LambdaProvisionedConcurrencyUtilization"
_CONFIGURATION: Final = "TargetTrackingScalingPolicyConfiguration"
_METRICS: Final = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
_ALARMS: Final = ("AlarmHigh", "AlarmLow")


class Policies:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "PutScalingPolicy": self.put,
            "DeleteScalingPolicy": self.delete,
            "DescribeScalingPolicies": self.describe,
        }

    async def put(self, context: RequestContext, members: Members) -> Members:
        """A new policy, or another configuration of one, with its alarms anew."""
        check_dimension(members)
        target, name, now_s = target_of(context, members), members["PolicyName"], self._clock.now()

        def work(tx: CatalogTransaction) -> Members:
            need_target(tx, target)
            others = belonging(tx, POLICIES, target)
            before = others.pop(name, None)
            configuration = _checked(members, before)
            if any(_metric_of(other["Configuration"]) == _metric_of(configuration) for other in others.values()):
                raise validation("Only one TargetTrackingScaling policy for a given metric specification is allowed.")
            if before is None and len(others) >= POLICIES_MAX:
                raise too_many("scaling policies of a scalable target", POLICIES_MAX)
            document = {
                "Id": before["Id"] if before is not None else str(uuid.uuid4()),
                "CreationTime": before["CreationTime"] if before is not None else now_s,
                "Configuration": configuration,
                "Alarms": [f"TargetTracking-{target.resource_id}-{kind}-{uuid.uuid4()}" for kind in _ALARMS],
            }
            tx.put_document(POLICIES, *target.place, target.key(name), document)
            return document

        document = await self._catalog.transact(work)
        return {"PolicyARN": target.arn_of_policy(document["Id"], name), "Alarms": _alarms(target, document)}

    async def delete(self, context: RequestContext, members: Members) -> Members:
        check_dimension(members)
        target, name = target_of(context, members), members["PolicyName"]
        await delete_belonging(self._catalog, POLICIES, target, name, no_policy(target.resource_id, name))
        return {}

    async def describe(self, context: RequestContext, members: Members) -> Members:
        found = [_shown(*each) for each in chosen(self._catalog, POLICIES, context, members, "PolicyNames")]
        return paged(found, lambda each: f"{each['ResourceId']}/{each['PolicyName']}", members, "ScalingPolicies")


def tracking_of(name: str, document: Members) -> Tracking:
    """What decides of a policy's document. Cooldowns are 0 s by default for Lambda."""
    configuration = document["Configuration"]
    return Tracking(
        name=name,
        target=configuration["TargetValue"],
        out_cooldown_s=configuration.get("ScaleOutCooldown") or 0,
        in_cooldown_s=configuration.get("ScaleInCooldown") or 0,
        scales_in=not configuration.get("DisableScaleIn"),
    )


def alarm_of(document: Members, kind: str) -> str:
    """The name of a policy's alarm "High" or "Low"."""
    return str(document["Alarms"][_ALARMS.index(f"Alarm{kind}")])


def _checked(members: Members, before: Members | None) -> Members:
    """The configuration that is asked for. Raises AwsError ValidationException."""
    kind = members.get("PolicyType") or (TRACKING if before is not None or members.get(_CONFIGURATION) else None)
    if kind != TRACKING:  # as AWS's page of PutScalingPolicy says of Lambda
        what = "A policy type must be specified" if kind is None else f"Policy type {kind} is not supported"
        raise validation(f"{what} for service namespace {NAMESPACE}: it takes {TRACKING} only.")
    given = members.get(_CONFIGURATION)
    if given is None:
        if before is None:
            raise validation(f"{_CONFIGURATION} must be specified for policy type {TRACKING}.")
        kept: Members = before["Configuration"]
        return kept
    configuration: Members = _plain(given)
    if not configuration["TargetValue"] > 0:
        raise validation("TargetValue must be greater than 0.")
    for cooldown in ("ScaleInCooldown", "ScaleOutCooldown"):
        if (configuration.get(cooldown) or 0) < 0:
            raise validation(f"{cooldown} must be greater than or equal to 0.")
    _check_metric(configuration)
    return configuration


def _check_metric(configuration: Members) -> None:
    given = [name for name in _METRICS if configuration.get(name) is not None]
    if len(given) != 1:
        raise validation(f"Exactly one of {_METRICS[0]} and {_METRICS[1]} must be specified.")
    metric = configuration[given[0]]
    if given[0] == "PredefinedMetricSpecification":
        kind = metric["PredefinedMetricType"]
        if kind != UTILISATION:
            raise validation(f"Predefined metric type {kind} is not supported for scalable dimension {DIMENSION}.")
        if metric.get("ResourceLabel"):
            raise validation(f"A resource label cannot be specified for predefined metric type {kind}.")
    elif metric.get("Metrics"):
        raise validation("Metric math is not offered by this server: specify one metric by its name.")
    elif not all(metric.get(name) for name in ("MetricName", "Namespace", "Statistic")):
        raise validation("MetricName, Namespace and Statistic must be specified for a customized metric.")


def _metric_of(configuration: Members) -> Any:
    return [configuration.get(name) for name in _METRICS]


def _plain(value: Any) -> Any:
    """JSON without members that are None."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in present(value).items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _alarms(target: Target, document: Members) -> list[Members]:
    arn = f"arn:aws:cloudwatch:{target.region}:{target.account_id}:alarm"
    return [{"AlarmName": name, "AlarmARN": f"{arn}:{name}"} for name in document["Alarms"]]


def _shown(target: Target, name: str, document: Members) -> Members:
    return {
        "PolicyARN": target.arn_of_policy(document["Id"], name),
        "PolicyName": name,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": target.resource_id,
        "ScalableDimension": DIMENSION,
        "PolicyType": TRACKING,
        _CONFIGURATION: document["Configuration"],
        "Alarms": _alarms(target, document),
        "CreationTime": moment(document["CreationTime"]),
    }
