"""What all batches have in common: up to ten entries, each with its own outcome."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.services.sqs.errors import missing_parameter

ENTRIES_MAX: Final = (
    10  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")

# In batches' entries errors have the codes of the older protocol.
_ENTRY_CODES: Final = {
    "InvalidParameterValueException": "InvalidParameterValue",
    "MissingRequiredParameterException": "MissingParameter",
}


def entries_of(members: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """`kind`: "SendMessageBatchRequestEntry". Raises AwsError."""
    entries: list[dict[str, Any]] | None = members.get("Entries")
    if not entries:
        raise AwsError("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > ENTRIES_MAX:
        raise AwsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {ENTRIES_MAX}. You have sent {len(entries)}.",
        )
    seen: set[str] = set()
    for position, entry in enumerate(entries, 1):
        identifier = entry.get("Id")
        if identifier is None:
            raise missing_parameter(f"{kind}.{position}.Id")
        if not _ID.fullmatch(identifier):
            raise AwsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most "
                "80 letters long.",
            )
        if identifier in seen:
            raise AwsError("BatchEntryIdsNotDistinct", f"Id {identifier} repeated.")
        seen.add(identifier)
    return entries


def failed(entry: dict[str, Any], error: AwsError) -> dict[str, Any]:
    return {
        "Id": entry["Id"],
        "Code": _ENTRY_CODES.get(error.code, error.code),
        "Message": error.message,
        "SenderFault": not error.is_server_fault,
    }


def outcome(successful: Sequence[dict[str, Any]], failures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Empty lists are left out, as they are in AWS's answers."""
    lists = {"Successful": list(successful), "Failed": list(failures)}
    return {name: entries for name, entries in lists.items() if entries}
