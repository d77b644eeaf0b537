"""Messages of RabbitMQ as functions see them.

https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html, "Example event". AWS's poller is RabbitMQ's Java client behind a
JSON writer that knows nothing of AMQP, and that is where the forms of headers and times come from.
"""

from __future__ import annotations

import base64
import decimal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import msgspec

from lambent.model.batching import Encoded, joined
from lambent.model.limits import SYNC_PAYLOAD_MAX_BYTES

# The members of basicProperties, and AMQP's names for them.
_PROPERTIES: Final = (
    ("contentType", "content_type"), ("contentEncoding", "content_encoding"), ("headers", "headers"),
    ("deliveryMode", "delivery_mode"), ("priority", "priority"), ("correlationId", "correlation_id"),
    ("replyTo", "reply_to"), ("expiration", "expiration"), ("messageId", "message_id"), ("timestamp", "timestamp"),
    ("type", "message_type"), ("userId", "user_id"), ("appId", "app_id"), ("clusterId", "cluster_id"),
)  # fmt: skip
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_END: Final = b"]}}"


@attrs.frozen(eq=False)
class RabbitMessage:
    """One delivery. `properties` are AMQP's, by its own names with underscores; what is not set may be missing."""

    delivery_tag: int
    redelivered: bool
    properties: Mapping[str, Any]
    body: bytes


def rabbit_record(message: RabbitMessage) -> dict[str, Any]:
    properties = {name: _shown(message.properties.get(own)) for name, own in _PROPERTIES}
    properties["bodySize"] = len(message.body)
    return {
        "basicProperties": properties,
        "redelivered": message.redelivered,
        "data": base64.b64encode(message.body).decode(),
    }


def filtered_record(record: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """What filter patterns look at: the data as text, if it is text."""
    try:
        return {**record, "data": body.decode()}
    except UnicodeDecodeError:
        return {**record, "data": None}


@attrs.frozen
class RabbitFrame:
    """An event without its messages: those of one queue of one virtual host."""

    broker_arn: str
    queue: str
    virtual_host: str

    @property
    def _beginning(self) -> bytes:
        about = {"eventSource": "aws:rmq", "eventSourceArn": self.broker_arn}
        queue = msgspec.json.encode(f"{self.queue}::{self.virtual_host}")
        return msgspec.json.encode(about)[:-1] + b',"rmqMessagesByQueue":{' + queue + b":["

    @property
    def records_max_bytes(self) -> int:
        """What there is room for, in the sense of `batching.portions`."""
        return SYNC_PAYLOAD_MAX_BYTES - len(self._beginning) - len(_END)

    def payload(self, records: Sequence[Encoded]) -> bytes:
        return self._beginning + joined(records) + _END


def _shown(value: Any) -> Any:
    """A property or a header. Long strings, which is what clients make of text in headers, are objects with bytes."""
    match value:
        case datetime():
            return _time(value)
        case dict():
            return {str(name): _header(item) for name, item in value.items()}
        case _:
            return value


def _header(value: Any) -> Any:
    match value:
        case str():
            return {"bytes": signed_bytes(value.encode())}
        case bytes():
            return {"bytes": signed_bytes(value)}
        case bytearray():  # of the type "byte array", which is no string
            return signed_bytes(bytes(value))
        case datetime():
            return _time(value)
        case decimal.Decimal():
            return float(value)
        case dict():
            return {str(name): _header(item) for name, item in value.items()}
        case list() | tuple():
            return [_header(item) for item in value]
        case _:
            return value


def signed_bytes(data: bytes) -> list[int]:
    """As Java counts them: from -128 to 127."""
    return [byte - 256 if byte > 127 else byte for byte in data]


def _time(time: datetime) -> str:
    """Java's medium date and time of the United States, in UTC: "Jan 1, 1970, 12:33:41 AM"."""
    time = time.astimezone(UTC) if time.tzinfo is not None else time
    hour = time.hour % 12 or 12
    half = "PM" if time.hour >= 12 else "AM"
    return f"{_MONTHS[time.month - 1]} {time.day}, {time.year}, {hour}:{time.minute:02}:{time.second:02} {half}"
