"""What a function that reports batch item failures says of its batch.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html, "Success and failure conditions", and
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html: nothing, `null` and an empty list
are success; what cannot be understood, or names something that was not in the batch, fails the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

REPORTS: Final = "ReportBatchItemFailures"  # among a mapping's FunctionResponseTypes


class BadResponse(Exception):
    """The response is no report: the whole batch has failed. Says why."""


def reports_failures(mapping: Mapping[str, Any]) -> bool:
    return REPORTS in (mapping.get("FunctionResponseTypes") or ())


Identify = Callable[[Any], str | None]
"""An identifier as it is known here, of an entry's `itemIdentifier`; None for what is none."""


def as_text(identifier: Any) -> str | None:
    return identifier if isinstance(identifier, str) and identifier else None


def failed_items(response: bytes, known: Collection[str], identify: Identify = as_text) -> frozenset[str]:
    """The identifiers of the records that failed; `known` are those of the batch. Raises BadResponse."""
    try:
        content = msgspec.json.decode(response) if response.strip() else None
    except (msgspec.DecodeError, RecursionError):
        raise BadResponse("the response is not JSON") from None
    if content is None:
        return frozenset()
    if not isinstance(content, dict):
        raise BadResponse("the response is not an object")
    failures = content.get("batchItemFailures")
    if failures is None:
        return frozenset()
    if not isinstance(failures, list):
        raise BadResponse("batchItemFailures is not a list")
    return frozenset(_identifier(entry, known, identify) for entry in failures)


def _identifier(entry: Any, known: Collection[str], identify: Identify) -> str:
    found = identify(entry.get("itemIdentifier")) if isinstance(entry, dict) else None
    if found is None:
        raise BadResponse("an entry of batchItemFailures has no itemIdentifier")
    if found not in known:
        raise BadResponse(f"itemIdentifier {found[:100]} is not in the batch")
    return found
