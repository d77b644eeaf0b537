"""How records of a source that is read in order become events, answers and records of failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from lambent.model.batch_response import failed_items
from lambent.model.batching import Encoded, encoded, payload
from lambent.model.stream_failures import timestamp
from lambent.model.stream_records import StreamRecord


class EventFormat(Protocol):
    """`shard` is what is read in order: of Kafka, a topic's partition."""

    @property
    def source(self) -> str:
        """What the log and the timeline call it."""

    @property
    def data_member(self) -> str | None:
        """What filter patterns look into, if it is text."""

    @property
    def tells_age(self) -> bool:
        """Whether AWS has IteratorAge of it."""

    def frame_bytes(self, shard: str) -> int:
        """What is around the records of an event, beyond what `batching.portions` counts itself."""

    def payload(self, shard: str, records: Sequence[StreamRecord], more: Mapping[str, Any] | None = None) -> bytes:
        """The event; `more` are members beside the records."""

    def failed(self, shard: str, response: bytes, records: Sequence[StreamRecord]) -> frozenset[str]:
        """Sequence numbers of those that the function reports. Raises BadResponse."""

    def batch_info(self, shard: str, records: Sequence[StreamRecord]) -> dict[str, Any]:
        """What the record of a batch that is given up says of it. There is one record at least."""


@attrs.frozen(kw_only=True)
class StreamFormat:
    """Kinesis and DynamoDB Streams. Implements `EventFormat`."""

    source: str  # the stream's ARN
    tells_age: bool = True

    @property
    def _is_kinesis(self) -> bool:
        return self.source.split(":")[2] == "kinesis"

    @property
    def data_member(self) -> str | None:
        return "data" if self._is_kinesis else None

    def frame_bytes(self, shard: str) -> int:
        return 0

    def payload(self, shard: str, records: Sequence[StreamRecord], more: Mapping[str, Any] | None = None) -> bytes:
        return payload(encoded_events(records), more)

    def failed(self, shard: str, response: bytes, records: Sequence[StreamRecord]) -> frozenset[str]:
        return failed_items(response, [record.sequence for record in records])

    def batch_info(self, shard: str, records: Sequence[StreamRecord]) -> dict[str, Any]:
        first, last = records[0], records[-1]
        return {
            "KinesisBatchInfo" if self._is_kinesis else "DDBStreamBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": first.sequence,
                "endSequenceNumber": last.sequence,
                "approximateArrivalOfFirstRecord": timestamp(first.arrived_s),
                "approximateArrivalOfLastRecord": timestamp(last.arrived_s),
                "batchSize": len(records),
                "streamArn": self.source,
            }
        }


def encoded_events(records: Sequence[StreamRecord]) -> list[Encoded]:
    return [encoded(record, record.event) for record in records]
