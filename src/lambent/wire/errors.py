"""What the protocols share about errors: which members of the modelled shape carry what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.wire.messages import Headers
from lambent.wire.shapes import Service, Shape

# The codes that SQS had when it spoke the query protocol, and still sends. Newer models have lost them.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html and each operation's page.
_QUERY_CODES: Final[Mapping[str, Mapping[str, str]]] = {
    "sqs": {
        "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
        "AccessDeniedException": "AccessDenied",
        "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
        "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
        "InvalidParameterValueException": "InvalidParameterValue",
        "MissingRequiredParameterException": "MissingParameter",
        "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
        "PurgeQueueInProgress": "AWS.SimpleQueueService.PurgeQueueInProgress",
        "QueueDeletedRecently": "AWS.SimpleQueueService.QueueDeletedRecently",
        "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
        "QueueNameExists": "QueueAlreadyExists",
        "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
    }
}


@attrs.frozen(kw_only=True)
class ErrorFields:
    """An error laid out over the members of its shape."""

    members: Mapping[str, Shape]
    values: Mapping[str, Any]
    message_name: str | None  # the member that holds the message; None when the model has none


def modelled_fields(error: AwsError, shape: Shape | None) -> ErrorFields:
    """Models disagree on `message` and `Message`, so the shape decides."""
    if shape is None:
        return ErrorFields(members={}, values={}, message_name=None)
    name = next((name for name in shape.members if name.lower() == "message"), None)
    message = {} if name is None else {name: error.message}
    return ErrorFields(members=shape.members, values={**error.fields, **message}, message_name=name)


def fault(error: AwsError) -> str:
    """Whose fault, as the XML protocols say it."""
    return "Receiver" if error.is_server_fault else "Sender"


def query_error_header(error: AwsError, shape: Shape | None, service: Service | None) -> Headers:
    """Services that once spoke the query protocol tell newer clients the old code as well."""
    if service is None or not service.is_query_compatible:
        return []
    return [("x-amzn-query-error", f"{query_code(error, shape, service)};{fault(error)}")]


def query_code(error: AwsError, shape: Shape | None, service: Service | None) -> str:
    """The code that the query protocol has for an error."""
    codes = _QUERY_CODES.get(service.name, {}) if service is not None else {}
    return codes.get(error.code) or (shape.error_code if shape is not None else error.code)
