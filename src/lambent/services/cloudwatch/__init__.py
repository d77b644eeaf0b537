"""CloudWatch's metrics: `CloudWatchMetrics` over `store.metrics`, and Lambent's own figures published into it."""

from lambent.services.cloudwatch.operations import CloudWatchMetrics
from lambent.services.cloudwatch.publisher import Publisher

__all__ = ["CloudWatchMetrics", "Publisher"]
