"""CloudWatch's operations on metrics: members in, members out, by botocore's names. Its others are the neighbours'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lambent.model.request import RequestContext
from lambent.ports import Clock, Operation
from lambent.services.cloudwatch import listing
from lambent.services.cloudwatch.data import metric_data
from lambent.services.cloudwatch.errors import in_the_words_of_aws
from lambent.services.cloudwatch.putting import Place, points_of
from lambent.services.cloudwatch.reading import Reader
from lambent.store.metrics import MetricStore

Members = dict[str, Any]


class CloudWatchMetrics:
    """`ports.Service` for the operations of `cloudwatch` that put, read and list metrics."""

    name = "cloudwatch"

    def __init__(self, store: MetricStore, clock: Clock, up_to_date: Callable[[], Awaitable[None]]) -> None:
        """`up_to_date` is awaited before anything is read: what Lambent itself has to publish is in the store then."""
        self._store = store
        self._clock = clock
        self._up_to_date = up_to_date
        self._reader = Reader(store)
        self.operations: Mapping[str, Operation] = {
            "PutMetricData": self.put_metric_data,
            "GetMetricData": self.get_metric_data,
            "GetMetricStatistics": self.get_metric_statistics,
            "ListMetrics": self.list_metrics,
        }

    async def put_metric_data(self, context: RequestContext, members: Members) -> Members:
        points = points_of(Place(context.account_id, context.region, self._clock.now()), members)
        with in_the_words_of_aws():
            await self._store.put(points)
        return {}

    async def get_metric_data(self, context: RequestContext, members: Members) -> Members:
        await self._up_to_date()
        return await metric_data(self._store, context, members, self._clock.now())

    async def get_metric_statistics(self, context: RequestContext, members: Members) -> Members:
        await self._up_to_date()
        return await self._reader.statistics(context, members, self._clock.now())

    async def list_metrics(self, context: RequestContext, members: Members) -> Members:
        await self._up_to_date()
        return await listing.list_metrics(self._store, context, members, self._clock.now())
