"""CloudWatch's operations as tests ask for them, without a server."""

from __future__ import annotations

import datetime
from typing import Any

import attrs
import pytest

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.services.cloudwatch import CloudWatchMetrics
from lambent.store.metrics import MetricStore
from queue_clock import HandClock

CONTEXT = RequestContext(account_id="000000000000", region="us-east-1", request_id="r", base_url="")
HOUR_S = 3600


@attrs.define
class CloudWatch:
    service: CloudWatchMetrics
    clock: HandClock
    store: MetricStore

    async def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        return await self.service.operations[operation](CONTEXT, members)

    async def put(self, *data: dict[str, Any], namespace: str = "App") -> None:
        await self("PutMetricData", Namespace=namespace, MetricData=[{"MetricName": "m", **datum} for datum in data])

    async def refused(self, operation: str, **members: Any) -> AwsError:
        with pytest.raises(AwsError) as caught:
            await self(operation, **members)
        return caught.value

    def ago(self, seconds: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.clock.now() - seconds, datetime.UTC)

    async def statistics(self, *names: str, period_s: int = 60, since_s: float = HOUR_S, **members: Any) -> list[Any]:
        """GetMetricStatistics' data points by time, and then by unit."""
        answer = await self(
            "GetMetricStatistics",
            **{
                "Namespace": "App", "MetricName": "m", "StartTime": self.ago(since_s), "EndTime": self.ago(-HOUR_S),
                "Period": period_s, "Statistics": list(names), **members,
            },
        )  # fmt: skip
        return sorted(answer["Datapoints"], key=lambda p: (p["Timestamp"], p["Unit"]))

    def query(self, stat: str = "Sum", name: str = "q", period_s: int = 60, **more: Any) -> dict[str, Any]:
        metric = {"Namespace": "App", "MetricName": more.pop("metric", "m")}
        return {"Id": name, "MetricStat": {"Metric": metric, "Period": period_s, "Stat": stat}, **more}

    async def data(self, *queries: dict[str, Any], **members: Any) -> dict[str, Any]:
        return await self(
            "GetMetricData",
            **{
                "MetricDataQueries": list(queries), "StartTime": self.ago(HOUR_S), "EndTime": self.ago(-HOUR_S),
                **members,
            },
        )  # fmt: skip
