"""Rows of metrics and points. What writes runs on the writer's thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from lambent.model.metrics import Dimensions, Series, Summary
from lambent.store.metrics.values import Listed, MetricKey, Point, StoredPoint

_SUMMARY: Final = "count, total, least, greatest, spread"
_HERE: Final = "metric_id = ? AND period_s = ? AND at_s = ? AND unit = ?"


def put(connection: sqlite3.Connection, points: Iterable[Point]) -> None:
    """Adds to what there is."""
    ids: dict[Series, int] = {}
    latest: dict[int, int] = {}
    for point in points:
        metric_id = ids.get(point.series)
        if metric_id is None:
            metric_id = ids[point.series] = _metric_id(connection, point.series, point.at_s)
        latest[metric_id] = max(latest.get(metric_id, 0), point.at_s)
        _add(connection, (metric_id, point.period_s, point.at_s, point.series.unit), point.summary)
    connection.executemany(
        "UPDATE metrics SET last_s = ?1 WHERE id = ?2 AND last_s < ?1", [(at_s, key) for key, at_s in latest.items()]
    )


def _metric_id(connection: sqlite3.Connection, series: Series, at_s: int) -> int:
    key = (*series[:4], encoded(series.dimensions))
    found = connection.execute(
        "SELECT id FROM metrics WHERE account_id = ? AND region = ? AND namespace = ? AND name = ? AND dimensions = ?",
        key,
    ).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO metrics (account_id, region, namespace, name, dimensions, last_s)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            (*key, at_s),
        ).fetchone()
    metric_id: int = found[0]
    return metric_id


def _add(connection: sqlite3.Connection, place: tuple[int, int, int, str], summary: Summary) -> None:
    present = connection.execute(f"SELECT {_SUMMARY} FROM points WHERE {_HERE}", place).fetchone()
    if present is not None:
        known = _summary(present)
        known.merge(summary)
        summary = known
    connection.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*place, *_columns(summary)))


def points(
    connection: sqlite3.Connection, key: MetricKey, start_s: int, end_s: int, period_max_s: int, with_values: bool
) -> list[StoredPoint]:
    """Those that begin within the time, the end excluded, and are no longer than `period_max_s`; by time."""
    columns = _SUMMARY if with_values else _SUMMARY.replace("spread", "NULL")
    found = connection.execute(
        "SELECT id FROM metrics WHERE account_id = ? AND region = ? AND namespace = ? AND name = ? AND dimensions = ?",
        (*key[:4], encoded(key.dimensions)),
    ).fetchone()
    if found is None:
        return []
    rows = connection.execute(
        f"SELECT at_s, period_s, unit, {columns} FROM points"
        " WHERE metric_id = ? AND period_s IN (1, 60, 300, 3600) AND period_s <= ? AND at_s >= ? AND at_s < ?"
        " ORDER BY at_s, unit",
        (found[0], period_max_s, start_s, end_s),
    )
    return [StoredPoint(row[0], row[1], row[2], _summary(row[3:])) for row in rows]


def metrics(
    connection: sqlite3.Connection,
    account_id: str,
    region: str,
    namespace: str | None,
    name: str | None,
    since_s: int,
    after: Listed | None,
) -> Iterator[Listed]:
    """Those that have a point since then, in order."""
    conditions = ["account_id = ?", "region = ?", "last_s >= ?"]
    values: list[Any] = [account_id, region, since_s]
    for column, value in (("namespace", namespace), ("name", name)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if after is not None:
        conditions.append("(namespace, name, dimensions) > (?, ?, ?)")
        values += [after.namespace, after.name, encoded(after.dimensions)]
    rows = connection.execute(
        f"SELECT namespace, name, dimensions FROM metrics WHERE {' AND '.join(conditions)}"
        " ORDER BY namespace, name, dimensions",
        values,
    )
    for row in rows:
        yield Listed(row[0], row[1], tuple((pair[0], pair[1]) for pair in json.loads(row[2])))


def condense(connection: sqlite3.Connection, period_s: int, before_s: int, into_s: int, limit: int) -> bool:
    """Adds points of one length that begin before that time to longer ones. Whether there may be more."""
    rows = _oldest(connection, period_s, before_s, limit)
    for metric_id, at_s, unit, *rest in rows:
        _add(connection, (metric_id, into_s, at_s - at_s % into_s, unit), _summary(rest))
    _remove(connection, period_s, rows)
    return len(rows) == limit


def forget(connection: sqlite3.Connection, period_s: int, before_s: int, limit: int) -> bool:
    """Takes old points away. Whether there may be more."""
    rows = _oldest(connection, period_s, before_s, limit)
    _remove(connection, period_s, rows)
    return len(rows) == limit


def forget_metrics(connection: sqlite3.Connection, before_s: int, limit: int) -> bool:
    """Takes metrics away whose last point is older than points are kept. Whether there may be more."""
    taken = connection.execute(
        "DELETE FROM metrics WHERE id IN (SELECT id FROM metrics WHERE last_s < ? LIMIT ?)", (before_s, limit)
    )
    return taken.rowcount == limit


def _oldest(connection: sqlite3.Connection, period_s: int, before_s: int, limit: int) -> list[Any]:
    return connection.execute(
        f"SELECT metric_id, at_s, unit, {_SUMMARY} FROM points WHERE period_s = ? AND at_s < ? ORDER BY at_s LIMIT ?",
        (period_s, before_s, limit),
    ).fetchall()


def _remove(connection: sqlite3.Connection, period_s: int, rows: Sequence[Any]) -> None:
    places = [(row[0], period_s, row[1], row[2]) for row in rows]
    connection.executemany(f"DELETE FROM points WHERE {_HERE}", places)


def encoded(dimensions: Dimensions) -> str:
    return json.dumps(dimensions, ensure_ascii=False, separators=(",", ":"))


def _columns(summary: Summary) -> tuple[float, float, float, float, bytes | None]:
    stored = summary.stored()
    spread = None if stored is None else msgspec.msgpack.encode(stored)
    return summary.count, summary.total, summary.least, summary.greatest, spread


def _summary(columns: Sequence[Any]) -> Summary:
    count, total, least, greatest, spread = columns
    return Summary.restored(count, total, least, greatest, None if spread is None else msgspec.msgpack.decode(spread))
