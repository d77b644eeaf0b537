"""How measured values become figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, median and 95th percentile, in the values' own unit."""
    ordered = sorted(values)
    return {
        "min": round(ordered[0], 3),
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[int(len(ordered) * 0.95)], 3),
    }


def ratio(values: Sequence[float], yardstick: Sequence[float]) -> float:
    """Of medians."""
    return round(statistics.median(values) / statistics.median(yardstick), 4)


def timed_ms(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return (time.perf_counter() - begun) * 1000
