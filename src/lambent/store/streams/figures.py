"""What streams tell of themselves, by CloudWatch's names. https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html"""

from __future__ import annotations

from collections.abc import Sequence

from lambent.model.metrics import Series
from lambent.ports import Telemetry
from lambent.store.streams.values import NewRecord, Page, Stream


class StreamFigures:
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def put(self, stream: Stream, records: Sequence[NewRecord]) -> None:
        self._tell(stream, "IncomingRecords", len(records))
        self._tell(stream, "IncomingBytes", sum(len(record.data) for record in records), "Bytes")

    def read(self, stream: Stream, page: Page, now_ms: int) -> None:
        """Polling that finds nothing is told of as well, as somebody who has caught up."""
        self._tell(stream, "GetRecords.Records", len(page.records))
        self._tell(stream, "GetRecords.Bytes", sum(len(record.data) for record in page.records), "Bytes")
        age_ms = max(0, now_ms - page.records[-1].arrived_ms) if page.records else 0
        self._tell(stream, "GetRecords.IteratorAgeMilliseconds", age_ms, "Milliseconds")

    def _tell(self, stream: Stream, name: str, value: float, unit: str = "Count") -> None:
        dimensions = (("StreamName", stream.name),)
        self._telemetry.observe(Series(stream.account_id, stream.region, "AWS/Kinesis", name, dimensions, unit), value)
