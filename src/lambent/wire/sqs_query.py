"""SQS as it spoke before 2023: the query protocol, whose names its newest model has lost.

Older SDKs, and programs that fill in forms, still speak it. What is repeated bears the singular of its member's name, as the
examples of each operation's page show: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/
"""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from lambent.model.errors import AwsError
from lambent.wire.shapes import Operation, Raw, Service

NAMESPACE: Final = "http://queue.amazonaws.com/doc/2012-11-05/"
API_VERSION: Final = "2012-11-05"

# What SQS says otherwise in this protocol, by code.
_WORDS: Final = {"QueueDoesNotExist": "The specified queue does not exist for this wsdl version."}

# List → the name of its items. A batch's list has its items' own: SendMessageBatchRequestEntryList.
_ITEMS: Final = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BinaryList": "BinaryListValue",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
}
_MAPS: Final = {
    "MessageBodyAttributeMap": ("Name", "Value"),
    "MessageBodySystemAttributeMap": ("Name", "Value"),
    "MessageSystemAttributeMap": ("Name", "Value"),
    "QueueAttributeMap": ("Name", "Value"),
    "TagMap": ("Key", "Value"),
}
# Members of any structure; all of them are maps or lists.
_MEMBERS: Final = {
    "Attributes": "Attribute",
    "BinaryListValues": "BinaryListValue",
    "MessageAttributes": "MessageAttribute",
    "MessageSystemAttributes": "MessageSystemAttribute",
    "StringListValues": "StringListValue",
    "Tags": "Tag",
    "tags": "Tag",
}

_services: WeakKeyDictionary[Service, Service] = WeakKeyDictionary()  # by what each was made from


def named(operation: Operation) -> Operation:
    """The operation with the query protocol's names, if it is one of SQS; else itself."""
    service = operation.service
    if service.name != "sqs":
        return operation
    if service not in _services:
        _services[service] = service.renamed(_shape, NAMESPACE)
    return _services[service].operation(operation.name)


def words(error: AwsError) -> str:
    """The message that goes with an error of SQS in this protocol."""
    return _WORDS.get(error.code, error.message)


def _shape(name: str, raw: Raw) -> Raw:
    changed: dict[str, Any] = dict(raw)
    if raw["type"] == "list":
        item = _ITEMS.get(name, name.removesuffix("List"))
        changed["member"] = {**raw["member"], "locationName": item}
    elif raw["type"] == "map":
        key, value = _MAPS[name]
        changed["key"] = {**raw["key"], "locationName": key}
        changed["value"] = {**raw["value"], "locationName": value}
    elif raw["type"] == "structure" and not raw.get("exception"):
        changed["members"] = {
            member: {**reference, "locationName": _MEMBERS[member]} if member in _MEMBERS else reference
            for member, reference in raw["members"].items()
        }
    return changed
