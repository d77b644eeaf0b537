"""kill -9: what PutMetricData has answered is there afterwards, once."""

from __future__ import annotations

import datetime
from pathlib import Path

from live_server import start


def test_points_that_were_answered_survive(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    now, hour = datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    try:
        put = server.client("cloudwatch").put_metric_data
        for number in range(20):
            put(Namespace="App", MetricData=[{"MetricName": "m", "Value": number, "Timestamp": now}])
        server.kill()
        server = start(tmp_path / "data")
        answer = server.client("cloudwatch").get_metric_statistics(
            Namespace="App", MetricName="m", StartTime=now - hour, EndTime=now + hour, Period=60,
            Statistics=["Sum", "SampleCount"], ExtendedStatistics=["p50"],
        )  # fmt: skip
        (point,) = answer["Datapoints"]
        assert (point["SampleCount"], point["Sum"], point["ExtendedStatistics"]["p50"]) == (20, sum(range(20)), 9)
    finally:
        server.stop()
