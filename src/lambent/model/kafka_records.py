"""Records of Kafka as functions see them.

https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html, "Example event"; kafka-retry-configurations.html on what
functions report; kafka-on-failure.html on batches that are given up.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from lambent.model.batch_response import failed_items
from lambent.model.batching import joined
from lambent.model.event_format import encoded_events
from lambent.model.rabbit_records import signed_bytes
from lambent.model.stream_failures import timestamp
from lambent.model.stream_records import StreamRecord

# Kafka's protocol, "Record Batch": the attributes' fourth bit.
TIMESTAMP_TYPES: Final = {0: "CREATE_TIME", 1: "LOG_APPEND_TIME"}
_END: Final = b"]}}"


def partition_name(topic: str, partition: int) -> str:
    return f"{topic}-{partition}"


def kafka_record(
    topic: str,
    partition: int,
    offset: int,
    *,
    timestamp_ms: int,
    timestamp_type: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
) -> StreamRecord:
    event: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp_ms,
        "timestampType": TIMESTAMP_TYPES.get(timestamp_type, "NO_TIMESTAMP_TYPE"),
    }
    if key is not None:
        event["key"] = base64.b64encode(key).decode()
    if value is not None:
        event["value"] = base64.b64encode(value).decode()
    event["headers"] = [{name: None if data is None else signed_bytes(data)} for name, data in headers]
    size_bytes = len(key or b"") + len(value or b"")
    return StreamRecord(str(offset), topic, timestamp_ms / 1000, event, {**event, "value": _text(value)}, size_bytes)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


@attrs.frozen(kw_only=True)
class KafkaFormat:
    """A topic's of a self-managed cluster. Implements `EventFormat`; shards are partitions, by `partition_name`."""

    topic: str
    bootstrap_servers: str  # host:port, separated by commas
    data_member: str | None = "value"
    tells_age: bool = False

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> KafkaFormat:
        servers = mapping["SelfManagedEventSource"]["Endpoints"]["KAFKA_BOOTSTRAP_SERVERS"]
        return cls(topic=mapping["Topics"][0], bootstrap_servers=",".join(servers))  # AWS's model: there is one topic

    @property
    def source(self) -> str:
        return f"kafka://{self.bootstrap_servers}/{self.topic}"

    def _beginning(self, shard: str) -> bytes:
        about = {"eventSource": "aws:SelfManagedKafka", "bootstrapServers": self.bootstrap_servers}
        return msgspec.json.encode(about)[:-1] + b',"records":{' + msgspec.json.encode(shard) + b":["

    def frame_bytes(self, shard: str) -> int:
        return len(self._beginning(shard)) + len(_END)

    def payload(self, shard: str, records: Sequence[StreamRecord], more: Mapping[str, Any] | None = None) -> bytes:
        assert not more  # windows are for streams
        return self._beginning(shard) + joined(encoded_events(records)) + _END

    def failed(self, shard: str, response: bytes, records: Sequence[StreamRecord]) -> frozenset[str]:
        def identify(identifier: Any) -> str | None:
            match identifier:
                case {"partition": str(partition), "offset": int(offset)} if not isinstance(offset, bool):
                    return str(offset) if partition == shard else f"{partition} {offset}"
            return None

        return failed_items(response, [record.sequence for record in records], identify)

    def batch_info(self, shard: str, records: Sequence[StreamRecord]) -> dict[str, Any]:
        first, last = records[0], records[-1]
        info = {
            shard: {
                "firstRecordOffset": first.sequence,
                "lastRecordOffset": last.sequence,
                "firstRecordTimestamp": timestamp(first.arrived_s),
                "lastRecordTimestamp": timestamp(last.arrived_s),
            }
        }
        return {"KafkaBatchInfo": {**self._about(shard, records), "recordsInfo": info}}

    def record_info(self, shard: str, record: StreamRecord) -> dict[str, Any]:
        """The same of a single record, for a topic, which gets the record too."""
        info = {"offset": record.sequence, "timestamp": timestamp(record.arrived_s)}
        return {
            "KafkaBatchInfo": {**self._about(shard, [record]), "recordInfo": info},
            "payload": msgspec.Raw(self.payload(shard, [record])),
        }

    def _about(self, shard: str, records: Sequence[StreamRecord]) -> dict[str, Any]:
        return {
            "batchSize": len(records),
            "bootstrapServers": self.bootstrap_servers,
            "payloadSize": len(self.payload(shard, records)),
        }
