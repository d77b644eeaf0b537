"""Lambent's own figures: from where they are told to CloudWatch's metrics and the page that Prometheus reads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Final

from lambent.app.presence import Presence
from lambent.app.stores import Stores
from lambent.invoke.admission import Admission, provisioned_of
from lambent.model.concurrency import Peaks
from lambent.model.metrics import Series
from lambent.model.names import FunctionAddress
from lambent.ports import Catalog, Clock
from lambent.services.cloudwatch import CloudWatchMetrics, Publisher
from lambent.services.logs.metrics import LogMetrics
from lambent.services.sqs.figures import QueueLevels
from lambent.telemetry.exposition import exposition
from lambent.telemetry.metrics import LAMBDA, Metrics

FORGET_EVERY_S: Final = 60.0  # Prometheus' own scrape_interval, unless it is told another


class Metering:
    """`telemetry` is told; `service` is CloudWatch's; `start` gives what runs beside them, by name."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._admission: Admission | None = None
        self._peaks: set[Series] = set()  # that were told at the last look
        self.telemetry = Metrics(self._allocated_to)

    def begin(self, stores: Stores, admission: Admission, real: Clock, clock: Clock) -> CloudWatchMetrics:
        """Once there are stores and a road. CloudWatch lives by `clock`, as what watches metrics does; logs by `real`."""
        self._catalog = stores.catalog
        self._admission = admission
        self._presence = Presence(stores)
        self._publisher = Publisher(self.telemetry, stores.metrics, clock, self._look)
        self._lines = LogMetrics(stores.logs, real.now, self._publisher.add)
        stores.logs.on_stored = self._lines.stored
        self._levels = QueueLevels(stores.queues, clock, self.telemetry.gauge)
        return CloudWatchMetrics(stores.metrics, clock, self._publisher.flush)

    def start(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "metrics": self._publisher.run(),
            "levels of queues": self._levels.run(),
            "figures of what is gone": self._forget(),
        }

    def page(self) -> str:
        self._look()
        return exposition(self.telemetry.totals(), self.telemetry.gauges())

    async def close(self) -> None:
        """Keeps what was told last."""
        await self._publisher.flush()

    async def _forget(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(FORGET_EVERY_S)
            self.telemetry.forget(self._presence.of)

    def _look(self) -> None:
        """How much ran at the same time since the last look; what filters of logs say of minutes that are over."""
        assert self._admission is not None
        self._lines.settle()
        told = {
            series: value
            for (account_id, region), peaks in self._admission.take_peaks().items()
            for series, value in self._of_peaks(account_id, region, peaks)
        }
        for series in self._peaks - told.keys():
            self.telemetry.gauge(series, None)
        for series, value in told.items():
            self.telemetry.gauge(series, value)
        self._peaks = set(told)

    def _of_peaks(self, account_id: str, region: str, peaks: Peaks) -> Iterator[tuple[Series, float]]:
        def series(name: str, *dimensions: tuple[str, str]) -> Series:
            return Series(account_id, region, LAMBDA, name, dimensions, "Count")

        if not peaks.all:
            return
        yield series("ConcurrentExecutions"), peaks.all
        yield series("UnreservedConcurrentExecutions"), peaks.unreserved
        for name, most in peaks.functions.items():
            yield series("ConcurrentExecutions", ("FunctionName", name)), most
        for (name, version), most in peaks.provisioned.items():
            of_version = (("FunctionName", name), ("Resource", f"{name}:{version}"))
            yield series("ProvisionedConcurrentExecutions", *of_version), most
            if allocated := self._allocated_to(FunctionAddress(account_id, region, name, version)):
                yield series("ProvisionedConcurrencyUtilization", *of_version), most / allocated

    def _allocated_to(self, version: FunctionAddress) -> int:
        """How many environments are provisioned for a version, by its number or by aliases."""
        if self._catalog is None or version.qualifier is None:
            return 0
        return provisioned_of(self._catalog, version).get(version.qualifier, 0)
