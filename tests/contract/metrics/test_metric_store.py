"""Metrics on disk: added up, found again, condensed with age."""

from __future__ import annotations

from pathlib import Path

from lambent.model.metrics import Dimensions, Series, Summary
from lambent.store.metrics import MetricKey, MetricStore, Point
from queue_clock import BEGIN_S, HandClock

MINUTE = int(BEGIN_S) - int(BEGIN_S) % 3600
HOUR_S, DAY_S = 3600, 86_400


def series(name: str = "m", *, unit: str = "Count", dimensions: Dimensions = (), region: str = "r") -> Series:
    return Series("1", region, "App", name, dimensions, unit)


def point(of: Series, at_s: int, *values: float, period_s: int = 60) -> Point:
    summary = Summary()
    for value in values:
        summary.add(value)
    return Point(of, at_s, period_s, summary)


def key(name: str = "m", dimensions: Dimensions = ()) -> MetricKey:
    return MetricKey("1", "r", "App", name, dimensions)


async def totals(store: MetricStore, period_max_s: int = 3600, start_s: int = 0) -> list[tuple[int, int, float, float]]:
    found = await store.points(key(), start_s, MINUTE + DAY_S, period_max_s)
    return [(p.at_s - MINUTE, p.period_s, p.summary.count, p.summary.total) for p in found]


async def test_points_of_the_same_time_are_added_up(store: MetricStore) -> None:
    await store.put([point(series(), MINUTE, 1, 2), point(series(), MINUTE + 60, 5)])
    await store.put([point(series(), MINUTE, 4)])
    assert await totals(store) == [(0, 60, 3, 7), (60, 60, 1, 5)]
    (first, _) = await store.points(key(), MINUTE, MINUTE + 61, 60)
    assert first.summary.values == {1: 1, 2: 1, 4: 1}
    assert await totals(store, period_max_s=1) == []


async def test_units_regions_and_dimensions_are_kept_apart(store: MetricStore) -> None:
    a = (("x", "1"), ("y", 'ü"'))
    await store.put(
        [
            point(series(), MINUTE, 1),
            point(series(unit="Bytes"), MINUTE, 2),
            point(series(dimensions=a), MINUTE, 3),
            point(series(region="s"), MINUTE, 4),
        ]
    )
    found = await store.points(key(), MINUTE, MINUTE + 60, 60)
    assert [(p.unit, p.summary.total) for p in found] == [("Bytes", 2), ("Count", 1)]
    assert [p.summary.total for p in await store.points(key(dimensions=a), MINUTE, MINUTE + 60, 60)] == [3]


async def test_what_was_put_is_there_when_the_file_is_opened_again(
    store: MetricStore, tmp_path: Path, clock: HandClock
) -> None:
    many = [float(n) for n in range(1000)]
    await store.put([point(series(), MINUTE, *many), Point(series("u"), MINUTE, 60, Summary.aggregated(3, 9, 1, 5))])
    (before,) = await store.points(key(), MINUTE, MINUTE + 60, 60)
    await store.close()
    again = await MetricStore.open(tmp_path / "metrics.db", clock)
    (after,) = await again.points(key(), MINUTE, MINUTE + 60, 60)
    assert after.summary.stored() == before.summary.stored()
    (unknown,) = await again.points(key("u"), MINUTE, MINUTE + 60, 60)
    assert (unknown.summary.count, unknown.summary.values) == (3, None)
    await again.close()


async def test_points_are_condensed_and_at_last_forgotten(store: MetricStore, clock: HandClock) -> None:
    of_seconds = [point(series(), MINUTE + n, 1, period_s=1) for n in range(0, 600, 7)]
    await store.put(of_seconds)
    count = len(of_seconds)
    seen = {}
    for age_s in (HOUR_S, 4 * HOUR_S, 16 * DAY_S, 64 * DAY_S, 456 * DAY_S):
        clock.now_s = MINUTE + age_s
        await store.sweep()
        found = await totals(store)
        seen[age_s] = {period_s for _, period_s, _, _ in found}
        if found:
            assert sum(n for _, _, n, _ in found) == count
            assert all(at_s % period_s == 0 for at_s, period_s, _, _ in found)
    assert list(seen.values()) == [{1}, {60}, {300}, {3600}, set()]
    assert await store.metrics("1", "r", limit=10) == []


async def test_metrics_are_listed_in_order_and_by_pages(store: MetricStore) -> None:
    names = [f"m{n:02d}" for n in range(7)]
    await store.put([point(series(name), MINUTE - n * HOUR_S, 1) for n, name in enumerate(names)])
    first = await store.metrics("1", "r", limit=4)
    rest = await store.metrics("1", "r", after=first[-1], limit=4)
    assert [m.name for m in [*first, *rest]] == names
    assert [m.name for m in await store.metrics("1", "r", since_s=MINUTE - HOUR_S, limit=9)] == names[:2]
    assert [m.name for m in await store.metrics("1", "r", name="m03", namespace="App", limit=9)] == ["m03"]
    assert await store.metrics("1", "r", namespace="Other", limit=9) == []
    assert await store.metrics("2", "r", limit=9) == []
