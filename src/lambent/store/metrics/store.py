"""The metric store: what PutMetricData has taken is on disk before it says so. Used on one event loop.

Points are condensed with age, as CloudWatch's are.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Final

from lambent.ports import Clock
from lambent.store.database import Database
from lambent.store.metrics import rows
from lambent.store.metrics.values import Listed, MetricKey, Point, StoredPoint
from lambent.store.sweeping import sweep_regularly

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
# How long points of a length are kept as they are, and what they are added to then.
CONDENSED: Final = ((1, 3 * HOUR_S, 60), (60, 15 * DAY_S, 300), (300, 63 * DAY_S, 3_600))
KEPT_S: Final = 455 * DAY_S  # hours
CHUNK: Final = 500  # rows in one transaction
SWEEP_EVERY_S: Final = 600.0

_log = logging.getLogger(__name__)


class MetricStore:
    """All metrics of all accounts. Operations raise sqlite3.Error when the disk refuses, StoreError after `close`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> MetricStore:
        """Opens or creates the file. Raises StoreError."""
        migrations = resources.files("lambent.store.metrics") / "migrations"
        store = cls(await asyncio.to_thread(Database.open, path, migrations), clock)
        store._sweeping = asyncio.get_running_loop().create_task(
            sweep_regularly(store.sweep, store._clock, SWEEP_EVERY_S, _log, "old metrics cannot be condensed")
        )
        return store

    async def close(self) -> None:
        """Safe to call twice."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._database.close()

    async def put(self, points: Sequence[Point]) -> None:
        """Returns when all of them are on disk, together."""
        if points:
            await self._database.write(lambda c: rows.put(c, points))

    async def points(
        self, key: MetricKey, start_s: int, end_s: int, period_max_s: int, *, with_values: bool = True
    ) -> list[StoredPoint]:
        """Those that begin within the time, the end excluded, and are no longer than `period_max_s`; by time.

        Without their values they are read several times as fast.
        """
        return await self._database.read(lambda c: rows.points(c, key, start_s, end_s, period_max_s, with_values))

    async def metrics(
        self,
        account_id: str,
        region: str,
        *,
        namespace: str | None = None,
        name: str | None = None,
        since_s: int = 0,
        after: Listed | None = None,
        wanted: Callable[[Listed], bool] = lambda metric: True,
        limit: int,
    ) -> list[Listed]:
        """At most `limit` that are wanted and have a point since then, in order behind `after`."""

        def work(connection: sqlite3.Connection) -> list[Listed]:
            found = rows.metrics(connection, account_id, region, namespace, name, since_s, after)
            return list(islice(filter(wanted, found), limit))

        return await self._database.read(work)

    async def sweep(self) -> None:
        """Condenses and takes away what has become old enough, a little at a time."""
        now_s = int(self._clock.now())
        steps: list[Callable[[sqlite3.Connection], bool]] = []
        for period_s, age_s, into_s in CONDENSED:
            before_s = now_s - age_s
            before_s -= before_s % into_s  # a longer point is made of all its parts at once
            steps.append(partial(rows.condense, period_s=period_s, before_s=before_s, into_s=into_s, limit=CHUNK))
        steps.append(partial(rows.forget, period_s=3_600, before_s=now_s - KEPT_S, limit=CHUNK))
        steps.append(partial(rows.forget_metrics, before_s=now_s - KEPT_S, limit=CHUNK))
        for step in steps:
            while await self._database.write(step):
                pass
