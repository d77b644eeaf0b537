"""What a message is made of: checks, sizes and the digests that clients compare.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from lambent.model import lineage
from lambent.model.errors import AwsError
from lambent.services.sqs.errors import invalid_parameter, invalid_value, missing_parameter
from lambent.store.queues import NewMessage, Queue

Attribute = Mapping[str, Any]  # DataType, and StringValue or BinaryValue

MESSAGE_MAX_BYTES: Final = 1_048_576  # also of a whole batch: SendMessageBatch's page
ATTRIBUTES_MAX: Final = 10
DELAY_MAX_S: Final = 900
_NAME_MAX_BYTES: Final = 256  # of attributes and of their types
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ID: Final = re.compile(r"[!-~]{1,128}")  # alphanumeric and punctuation characters
_ATTRIBUTE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRACE_HEADER: Final = "AWSTraceHeader"
_LENGTH: Final = struct.Struct(">I")


def message_of(
    queue: Queue, members: Mapping[str, Any], sender_id: str, entry: str = "", *, trace_header: str | None = None
) -> NewMessage:
    """`members`: of SendMessage or of a batch's entry, which then names its parameters: `SendMessageBatchRequestEntry.1.`

    `trace_header` is the request's: the message keeps it, unless it has one of its own. Raises AwsError.
    """
    body = members.get("MessageBody")
    if not body:
        raise missing_parameter(f"{entry}MessageBody")
    check_characters(body)
    delay_s = members.get("DelaySeconds")
    _check_delay(queue, delay_s)
    group_id, deduplication_id = _check_ids(queue, members, body)
    attributes = members.get("MessageAttributes") or {}
    check_attributes(attributes)
    own_trace = _check_system_attributes(members.get("MessageSystemAttributes") or {})
    if size_bytes(members) > queue.message_max_bytes:
        raise invalid_parameter(
            f"One or more parameters are invalid. Reason: Message must be shorter than {queue.message_max_bytes} bytes."
        )
    return NewMessage(
        body=body,
        body_md5=md5_of_text(body),
        sender_id=sender_id,
        attributes=msgspec.msgpack.encode(attributes) if attributes else None,
        trace_header=own_trace or lineage.of_message(trace_header),
        group_id=group_id,
        deduplication_id=deduplication_id,
        delay_s=None if queue.is_fifo else delay_s,
    )


def size_bytes(members: Mapping[str, Any]) -> int:
    """Body and attributes: names, types and values."""
    total = len((members.get("MessageBody") or "").encode("utf-8", "surrogatepass"))
    for name, attribute in (members.get("MessageAttributes") or {}).items():
        total += len(name.encode("utf-8", "surrogatepass"))
        total += len((attribute.get("DataType") or "").encode("utf-8", "surrogatepass"))
        value = attribute.get("BinaryValue")
        total += len(value or (attribute.get("StringValue") or "").encode("utf-8", "surrogatepass"))
    return total


def check_characters(body: str) -> None:
    """Raises AwsError InvalidMessageContents."""
    found = _FORBIDDEN.search(body)
    if found is not None:
        raise AwsError(
            "InvalidMessageContents",
            f"Invalid binary character '#x{ord(found[0]):X}' was found in the message body, the set of allowed "
            "characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF].",
        )


def _check_delay(queue: Queue, delay_s: int | None) -> None:
    if delay_s is None:
        return
    if queue.is_fifo:
        if delay_s:
            reason = "The request include parameter that is not valid for this queue type."
            raise invalid_value("DelaySeconds", delay_s, reason)
    elif not 0 <= delay_s <= DELAY_MAX_S:
        raise invalid_value("DelaySeconds", delay_s, "DelaySeconds must be >= 0 and <= 900.")


def _check_ids(queue: Queue, members: Mapping[str, Any], body: str) -> tuple[str | None, str | None]:
    """Group and deduplication id."""
    group_id, deduplication_id = members.get("MessageGroupId"), members.get("MessageDeduplicationId")
    if queue.is_fifo and not group_id:
        raise missing_parameter("MessageGroupId")
    for name, value in (("MessageGroupId", group_id), ("MessageDeduplicationId", deduplication_id)):
        if value is not None and not _ID.fullmatch(value):
            reason = f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
            raise invalid_value(name, value, reason)
    if not queue.is_fifo:
        if deduplication_id is not None:
            reason = "The request include parameter that is not valid for this queue type."
            raise invalid_value("MessageDeduplicationId", deduplication_id, reason)
        return group_id, None
    if deduplication_id is None:
        if queue.attributes.get("ContentBasedDeduplication") != "true":
            raise invalid_parameter(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
                "explicitly"
            )
        deduplication_id = hashlib.sha256(body.encode()).hexdigest()
    return group_id, deduplication_id


def check_attributes(attributes: Mapping[str, Attribute]) -> None:
    """Raises AwsError InvalidParameterValue."""
    if len(attributes) > ATTRIBUTES_MAX:
        raise invalid_parameter(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{ATTRIBUTES_MAX}]."
        )
    for name, attribute in attributes.items():
        _check_attribute_name(name)
        _check_attribute(name, attribute)


def _check_attribute_name(name: str) -> None:
    if not name:
        raise invalid_parameter("The request must contain non-empty message (user) attribute names.")
    if len(name.encode("utf-8", "surrogatepass")) > _NAME_MAX_BYTES:
        raise invalid_parameter("Message (user) attribute name must be shorter than 256 bytes.")
    if name.lower().startswith(("aws.", "amazon.")):
        raise invalid_parameter(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. These strings are reserved for "
            "internal use."
        )
    if not _ATTRIBUTE_NAME.fullmatch(name):
        wrong = next(character for character in name if not _ATTRIBUTE_NAME.fullmatch(character))
        raise invalid_parameter(
            f"Invalid non-alphanumeric character '#x{ord(wrong):X}' was found in the message attribute name. Can only "
            "include alphanumeric characters, hyphens, underscores, or dots."
        )
    if name.startswith(".") or name.endswith(".") or ".." in name:
        raise invalid_parameter(
            "You can't use message attribute names beginning or ending with a dot, or with dots in succession."
        )


def _check_attribute(name: str, attribute: Attribute) -> None:
    data_type = attribute.get("DataType")
    if attribute.get("StringListValues") or attribute.get("BinaryListValues"):
        raise AwsError(
            "UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported."
        )
    if not data_type:
        raise invalid_parameter(
            f"The message (user) attribute '{name}' must contain a non-empty message attribute type."
            if attribute
            else f"The message (user) attribute '{name}' must contain a non-empty message attribute value."
        )
    if len(data_type.encode("utf-8", "surrogatepass")) > _NAME_MAX_BYTES:
        raise invalid_parameter("Message (user) attribute type must be shorter than 256 bytes.")
    kind = data_type.partition(".")[0]
    if kind not in ("String", "Number", "Binary"):
        raise invalid_parameter(
            f"The type of message (user) attribute '{name}' is invalid. You must use only the following supported type "
            "prefixes: Binary, Number, String."
        )
    value = attribute.get("BinaryValue" if kind == "Binary" else "StringValue")
    if not value:
        raise invalid_parameter(f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'.")
    if kind == "Number" and not _NUMBER.fullmatch(value):
        raise invalid_parameter(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    if kind == "String":
        check_characters(value)


def _check_system_attributes(attributes: Mapping[str, Attribute]) -> str | None:
    """The trace header, the only one there is."""
    for name, attribute in attributes.items():
        if name != _TRACE_HEADER:
            raise invalid_parameter(f"Message system attribute name '{name}' is invalid.")
        if attribute.get("DataType") != "String" or not attribute.get("StringValue"):
            raise invalid_parameter(
                f"Message system attribute '{name}' must contain a non-empty value of type 'String'."
            )
        value: str = attribute["StringValue"]
        check_characters(value)
        return value
    return None


# Digests.


def md5_of_text(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Attribute]) -> str:
    """Of names, types and values, each with its length, by name in order."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        binary = attribute.get("BinaryValue")
        value = (attribute.get("StringValue") or "").encode() if binary is None else binary
        for part in (name.encode(), attribute["DataType"].encode()):
            digest.update(_LENGTH.pack(len(part)) + part)
        digest.update((b"\x01" if binary is None else b"\x02") + _LENGTH.pack(len(value)) + value)
    return digest.hexdigest()


def md5_of_system_attributes(trace_header: str) -> str:
    return md5_of_attributes({_TRACE_HEADER: {"DataType": "String", "StringValue": trace_header}})


def chosen(stored: bytes | None, names: Iterable[str]) -> dict[str, Any]:
    """The attributes that a receiver asks for: by name, by prefix (`bar.*`), or all (`All`, `.*`)."""
    if stored is None:
        return {}
    wanted = list(names)
    if not wanted:
        return {}
    attributes: dict[str, Any] = msgspec.msgpack.decode(stored)
    if "All" in wanted or ".*" in wanted:
        return attributes
    prefixes = tuple(name.removesuffix("*").removesuffix(".") for name in wanted if name.endswith(".*"))
    return {n: a for n, a in attributes.items() if n in wanted or (prefixes and n.startswith(prefixes))}
