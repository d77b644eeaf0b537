"""What a mapping tells of its events, where its MetricsConfig asks for it.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from lambent.model.metrics import Series
from lambent.ports import Telemetry

EVENT_COUNT: Final = "EventCount"  # the kind of metrics in MetricsConfig

EventMetric = Literal[
    "PolledEventCount",  # read from the source
    "FilteredOutEventCount",
    "InvokedEventCount",  # with each attempt
    "FailedInvokeEventCount",  # with each attempt; of a batch that failed in part, those that did
    "DroppedEventCount",  # given up, and not sent to a destination
    "OnFailureDestinationDeliveredEventCount",
    "DeletedEventCount",  # done with, and deleted from their queue
]


class MappingFigures:
    def __init__(self, mapping: Mapping[str, Any], account_id: str, region: str, telemetry: Telemetry) -> None:
        self._is_asked = EVENT_COUNT in ((mapping.get("MetricsConfig") or {}).get("Metrics") or ())
        self._telemetry = telemetry
        self._place = (account_id, region, "AWS/Lambda")
        self._dimensions = (("EventSourceMappingUUID", str(mapping["UUID"])),)

    def count(self, metric: EventMetric, events: int) -> None:
        if self._is_asked:
            self._telemetry.observe(Series(*self._place, metric, self._dimensions, "Count"), events)
