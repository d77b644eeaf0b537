"""What rules and schedules tell of their deliveries, by CloudWatch's names.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lambent.model.metrics import Dimensions, Series
from lambent.ports import Telemetry
from lambent.store.deliveries import NewDelivery


class DeliveryFigures:
    """Each is told of what a delivery has kept with it (`about`)."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def accepted(self, deliveries: Sequence[NewDelivery]) -> None:
        """A rule is triggered once by an event, however many targets it has."""
        triggered = {
            (each.about["owner"], each.about.get("event_id")): each.about
            for each in deliveries
            if each.about["kind"] == "rule"
        }
        for about in triggered.values():
            self._tell(about, "TriggeredRules")

    def attempted(self, about: Mapping[str, Any]) -> None:
        if about["kind"] == "schedule":
            self._tell(about, "InvocationAttemptCount")

    def sent(self, about: Mapping[str, Any]) -> None:
        match about["kind"], about.get("service"):
            case "rule", _:
                self._tell(about, "Invocations")
            case "dead-letter", "rule":
                self._tell(about, "InvocationsSentToDlq")
            case "dead-letter", _:
                self._tell(about, "InvocationsSentToDeadLetterCount")

    def refused(self, about: Mapping[str, Any]) -> None:
        if about["kind"] == "schedule":
            self._tell(about, "TargetErrorCount")

    def given_up(self, about: Mapping[str, Any]) -> None:
        match about["kind"], about.get("service"):
            case "rule", _:
                self._tell(about, "Invocations")
                self._tell(about, "FailedInvocations")
            case "schedule", _:
                self._tell(about, "InvocationDroppedCount")
            case "dead-letter", "rule":
                self._tell(about, "InvocationsFailedToBeSentToDlq")
            case "dead-letter", _:
                self._tell(about, "InvocationsFailedToBeSentToDeadLetterCount")

    def _tell(self, about: Mapping[str, Any], name: str) -> None:
        namespace, dimensions = _whose(about["owner"])
        self._telemetry.observe(Series(about["account"], about["region"], namespace, name, dimensions, "Count"))


def _whose(owner_arn: str) -> tuple[str, Dimensions]:
    """`…:rule/NAME`, `…:rule/BUS/NAME`, `…:schedule/GROUP/NAME`"""
    _, _, service, _, _, resource = owner_arn.split(":", 5)
    parts = resource.split("/")
    if service == "scheduler":
        return "AWS/Scheduler", (("ScheduleGroup", parts[1]),)
    if len(parts) == 2:
        return "AWS/Events", (("RuleName", parts[1]),)
    return "AWS/Events", (("EventBusName", parts[1]), ("RuleName", parts[-1]))
