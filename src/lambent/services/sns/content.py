"""What is published: checks of messages and their attributes, and the form in which they are kept.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html, https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.services.sns.errors import invalid, invalid_value
from lambent.store.topics import Topic

SIZE_DEFAULT_BYTES: Final = 262_144
SUBJECT_MAX: Final = 100  # characters
_NAME_MAX_BYTES: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]*")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ID: Final = re.compile(r"[!-~]{1,128}")  # alphanumeric and punctuation characters


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as it waits on disk."""

    id: str  # UUID
    at_ms: int
    topic_arn: str
    text: str
    subject: str | None = None
    attributes: dict[str, dict[str, Any]] = {}
    by_protocol: dict[str, str] = {}  # MessageStructure=json: what protocols get instead of `text`
    group_id: str | None = None
    deduplication_id: str | None = None
    signature_version: str = "1"
    trace_header: str | None = None

    def text_for(self, protocol: str) -> str:
        return self.by_protocol.get(protocol, self.text)


def size_bytes(members: Mapping[str, Any]) -> int:
    """The message and its attributes: names, types and values."""
    total = _bytes(members.get("Message") or "")
    for name, attribute in (members.get("MessageAttributes") or {}).items():
        value = attribute.get("BinaryValue")
        total += _bytes(name) + _bytes(attribute.get("DataType") or "")
        total += len(value) if value is not None else _bytes(attribute.get("StringValue") or "")
    return total


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def size_max_bytes(topic: Topic) -> int:
    return int(topic.attributes.get("MaximumMessageSize", SIZE_DEFAULT_BYTES))


@attrs.frozen(kw_only=True)
class Circumstances:
    """What the message itself does not say."""

    at_ms: int
    trace_header: str | None = None


def message_of(topic: Topic, members: Mapping[str, Any], when: Circumstances, place: str = "") -> Message:
    """`members`: of Publish or of a batch's entry, which is at `place` of its request. Raises AwsError."""
    text = members.get("Message")
    if not text:
        raise invalid("Empty message")
    attributes = members.get("MessageAttributes") or {}
    check_attributes(attributes, place)
    if size_bytes(members) > size_max_bytes(topic):
        raise invalid("Message too long")
    subject = members.get("Subject")
    if subject is not None:
        _check_subject(subject)
    structure = members.get("MessageStructure")
    if structure is not None and structure != "json":
        raise invalid("MessageStructure")
    by_protocol = _texts_of(text) if structure == "json" else {}
    group_id, deduplication_id = _check_ids(topic, members, text)
    return Message(
        id=str(uuid.uuid4()), at_ms=when.at_ms, trace_header=when.trace_header, topic_arn=topic.arn,
        text=by_protocol.get("default", text), subject=subject,
        attributes={name: dict(attribute) for name, attribute in attributes.items()},
        by_protocol={protocol: each for protocol, each in by_protocol.items() if protocol != "default"},
        group_id=group_id, deduplication_id=deduplication_id,
        signature_version=topic.attributes.get("SignatureVersion", "1"),
    )  # fmt: skip


def _check_subject(subject: str) -> None:
    if not 1 <= len(subject) <= SUBJECT_MAX or any(ord(c) < 32 or ord(c) == 127 for c in subject):
        raise invalid("Subject")


def _texts_of(text: str) -> dict[str, str]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid("Message Structure - JSON message body failed to parse") from error
    if not isinstance(parsed, dict):
        raise invalid("Message Structure - JSON message body failed to parse")
    texts = {protocol: each for protocol, each in parsed.items() if isinstance(each, str)}
    if "default" not in texts:
        raise invalid("Message Structure - No default entry in JSON message body")
    return texts


def _check_ids(topic: Topic, members: Mapping[str, Any], text: str) -> tuple[str | None, str | None]:
    """Group and deduplication id."""
    group_id, deduplication_id = members.get("MessageGroupId"), members.get("MessageDeduplicationId")
    if topic.is_fifo and not group_id:
        raise invalid("The MessageGroupId parameter is required for FIFO topics")
    if not topic.is_fifo and deduplication_id is not None:
        raise invalid(
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid "
            "for this topic type"
        )
    for name, value in (("MessageGroupId", group_id), ("MessageDeduplicationId", deduplication_id)):
        if value is not None and not _ID.fullmatch(value):
            raise invalid(
                f"{name} Reason: {name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            )
    if topic.is_fifo and deduplication_id is None:
        if topic.attributes.get("ContentBasedDeduplication") != "true":
            raise invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
                "explicitly"
            )
        deduplication_id = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return group_id, deduplication_id


def check_attributes(attributes: Mapping[str, Mapping[str, Any]], place: str = "") -> None:
    """Raises AwsError ParameterValueInvalid, ValidationError."""
    for name, attribute in attributes.items():
        _check_name(name)
        _check_attribute(name, attribute, place)


def _check_name(name: str) -> None:
    if not name:
        raise invalid_value("Message attribute name can not be empty.")
    if _bytes(name) > _NAME_MAX_BYTES:
        raise invalid_value("Length of message attribute name must be less than 256 bytes.")
    if not _NAME.fullmatch(name):
        wrong = next(character for character in name if not _NAME.fullmatch(character))
        raise invalid_value(
            f"Invalid non-alphanumeric character '#x{ord(wrong):X}' was found in the message attribute name. Can only "
            "include alphanumeric characters, hyphens, underscores, or dots."
        )
    if name.startswith("."):
        raise invalid_value("Invalid message attribute name starting with character '.' was found.")
    if name.endswith("."):
        raise invalid_value("Invalid message attribute name ending with character '.' was found.")
    if ".." in name:
        raise invalid_value("Message attribute name can not have successive '.' character.")


def _check_attribute(name: str, attribute: Mapping[str, Any], place: str) -> None:
    data_type = attribute.get("DataType")
    if data_type is None:
        at = f"{place}messageAttributes.{name}.member.dataType"
        message = (
            f"1 validation error detected: Value null at '{at}' failed to satisfy constraint: Member must not be null"
        )
        raise AwsError("ValidationError", message)
    kind = data_type.partition(".")[0]
    if kind not in ("String", "Number", "Binary"):
        raise invalid_value(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes "
            "is Binary, Number, and String."
        )
    field, other = ("BinaryValue", "StringValue") if kind == "Binary" else ("StringValue", "BinaryValue")
    value = attribute.get(field)
    if not value:
        if attribute.get(other):
            raise invalid_value(
                f"The message attribute '{name}' with type '{data_type}' must use field "
                f"'{'Binary' if kind == 'Binary' else 'String'}'."
            )
        raise invalid_value(
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute type "
            f"'{data_type}'."
        )
    if kind == "Number" and not _NUMBER.fullmatch(value):
        raise invalid_value(f"Could not cast message attribute '{name}' value to number.")
