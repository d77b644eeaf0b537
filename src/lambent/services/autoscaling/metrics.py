"""What policies look at: a function's own utilisation from the road, other metrics from CloudWatch."""

from __future__ import annotations

import collections
import logging
import math
from typing import Final

from lambent.model.errors import AwsError
from lambent.model.scaling import PERIOD_S, PERIODS_LOW, Points
from lambent.ports import Clients, Provisioning
from lambent.services.autoscaling.names import Members, Target
from lambent.services.events.names import moment, present

log = logging.getLogger(__name__)

_OWN_NAMESPACE: Final = "AWS/Lambda"
_OWN_METRIC: Final = "ProvisionedConcurrencyUtilization"


class Metrics:
    """Remembers the last periods of utilisation of the targets that are `measured` each minute."""

    def __init__(self, clients: Clients, provisioning: Provisioning) -> None:
        self._clients = clients
        self._provisioning = provisioning
        self._used: dict[Target, collections.deque[float | None]] = {}

    def begin(self, target: Target) -> None:
        """From now on it will be measured: what was before is nobody's business."""
        if target not in self._used:
            self._provisioning.utilisation(target.function)
            self._used[target] = collections.deque(maxlen=PERIODS_LOW)

    def measure(self, targets: set[Target], periods: int) -> None:
        """`periods` have ended since the last call; all but the first in one go, when the clock was turned.

        What has been counted since then belongs to the first; during the others nothing was at work but what still is.
        """
        for target in targets:
            used = self._provisioning.utilisation(target.function)
            points = self._used.setdefault(target, collections.deque(maxlen=PERIODS_LOW))
            points.append(used.peak)
            points.extend([used.now] * min(periods - 1, PERIODS_LOW))
        for gone in self._used.keys() - targets:
            del self._used[gone]

    async def points(self, target: Target, configuration: Members, now_s: float) -> Points:
        """Of the metric that a policy's configuration names; all None for one that cannot be read."""
        custom = configuration.get("CustomizedMetricSpecification")
        if custom is None or _is_utilisation(custom, target):
            return list(self._used.get(target, ()))
        return await self._from_cloudwatch(target, custom, now_s)

    async def _from_cloudwatch(self, target: Target, custom: Members, now_s: float) -> Points:
        end_s = math.floor(now_s / PERIOD_S) * PERIOD_S
        begin_s = end_s - PERIODS_LOW * PERIOD_S
        request = present(
            {
                "Namespace": custom["Namespace"],
                "MetricName": custom["MetricName"],
                "Dimensions": custom.get("Dimensions") or [],
                "StartTime": moment(begin_s),
                "EndTime": moment(end_s),
                "Period": PERIOD_S,
                "Statistics": [custom["Statistic"]],
                "Unit": custom.get("Unit"),
            }
        )
        points: list[float | None] = [None] * PERIODS_LOW
        try:
            answer = await self._clients.call(target.context(""), "cloudwatch", "GetMetricStatistics", request)
        except AwsError as error:
            log.warning("the metric by which %s is scaled cannot be read: %s", target.resource_id, error)
            return points
        for point in answer.get("Datapoints") or ():
            at = int((point["Timestamp"].timestamp() - begin_s) // PERIOD_S)
            if 0 <= at < PERIODS_LOW:
                points[at] = float(point[custom["Statistic"]])
        return points


def _is_utilisation(custom: Members, target: Target) -> bool:
    """The target's own utilisation by its name in CloudWatch, its highest value of each minute."""
    function = target.function
    dimensions = {each["Name"]: each["Value"] for each in custom.get("Dimensions") or ()}
    own = {"FunctionName": function.name, "Resource": f"{function.name}:{function.qualifier}"}
    named = (custom["Namespace"], custom["MetricName"], custom["Statistic"])
    return named == (_OWN_NAMESPACE, _OWN_METRIC, "Maximum") and dimensions == own
