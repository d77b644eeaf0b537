"""What CloudWatch keeps: metrics and their points."""

from lambent.store.metrics.store import MetricStore
from lambent.store.metrics.values import Listed, MetricKey, Point, StoredPoint

__all__ = ["Listed", "MetricKey", "MetricStore", "Point", "StoredPoint"]
