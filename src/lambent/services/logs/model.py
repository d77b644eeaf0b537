"""CloudWatch Logs' names, tokens, limits and shapes. Pure: values in, values out.

PUT = https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
MODEL = botocore's newest `logs` service model, whose constraints on single members the gateway holds
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs
import msgspec

from lambent.model.errors import AwsError

BATCH_BYTES: Final = 1_048_576  # PUT, the events' sizes together
EVENT_BYTES: Final = 1_048_576  # PUT, "no larger than 1 MB"
BATCH_SPAN_MS: Final = 24 * 3_600_000  # PUT, of its valid events
TOO_OLD_MS: Final = 14 * 24 * 3_600_000  # PUT
TOO_NEW_MS: Final = 2 * 3_600_000  # PUT
DAY_MS: Final = 24 * 3_600_000
DESCRIBE_LIMIT: Final = 50  # MODEL, DescribeLimit
EVENTS_LIMIT: Final = 10_000  # MODEL, EventsLimit
TAGS_MAX: Final = 50  # MODEL, Tags
DESCENDING_SINCE_MS: Final = 1_704_067_200_000  # MODEL, FilterLogEvents, startFromHead: 1 January 2024

RETENTION_DAYS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
                         3288, 3653)  # fmt: skip

Position = tuple[int, int]  # milliseconds since the epoch, event id

_ARN: Final = re.compile(
    r"arn:aws[\w-]*:logs:(?P<region>[\w-]+):(?P<account>\d{12}):log-group:(?P<name>[.\-_/#A-Za-z0-9]+)(?::\*)?"
)
_EVENT_TOKEN: Final = re.compile(r"([fb])/(\d{28})(\d{28})/s")


def invalid_parameter(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def group_not_found() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log group does not exist.")


def group_exists() -> AwsError:
    return AwsError("ResourceAlreadyExistsException", "The specified log group already exists")


def stream_not_found() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


def stream_exists() -> AwsError:
    return AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")


def invalid_token() -> AwsError:
    return invalid_parameter("The specified nextToken is invalid.")


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def group_arn(account_id: str, region: str, name: str) -> str:
    """Without the `:*` that IAM policies want."""
    return f"arn:aws:logs:{region}:{account_id}:log-group:{name}"


def stream_arn(account_id: str, region: str, group: str, stream: str) -> str:
    return f"{group_arn(account_id, region, group)}:log-stream:{stream}"


def group_of(account_id: str, region: str, members: Mapping[str, Any]) -> tuple[str, str, str]:
    """(account, region, name) of the group in `logGroupName` or `logGroupIdentifier`, which may be an ARN.

    Raises AwsError ValidationException, InvalidParameterException.
    """
    name, identifier = members.get("logGroupName"), members.get("logGroupIdentifier")
    if name and identifier:
        raise AwsError("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    if name:
        return account_id, region, name
    if not identifier:
        raise invalid_parameter("Exactly one of logGroupName and logGroupIdentifier must be specified.")
    return group_key(account_id, region, identifier)


def group_key(account_id: str, region: str, name_or_arn: str) -> tuple[str, str, str]:
    """(account, region, name). Raises AwsError InvalidParameterException for an ARN of something else."""
    if not name_or_arn.startswith("arn:"):
        return account_id, region, name_or_arn
    found = _ARN.fullmatch(name_or_arn)
    if found is None:
        raise invalid_parameter("The ARN is not that of a log group.")
    return found["account"], found["region"], found["name"]


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def event_token(direction: Literal["f", "b"], position: Position) -> str:
    """GetLogEvents: `f/…` goes on after the position, `b/…` before it."""
    return f"{direction}/{position[0]:028d}{position[1]:028d}/s"


def read_event_token(token: str) -> tuple[bool, Position]:
    """(backward, position). Raises AwsError InvalidParameterException."""
    found = _EVENT_TOKEN.fullmatch(token)
    if found is None:
        raise invalid_token()
    return found[1] == "b", (int(found[2]), int(found[3]))


def event_id(position: Position) -> str:
    """56 digits, as AWS's are; unique in the store and in the order of events."""
    return f"{position[0]:028d}{position[1]:028d}"


def page_token(*values: Any) -> str:
    """Where a list goes on, opaque to clients."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode()


def read_page_token(token: str, *types: type) -> tuple[Any, ...]:
    """The values of `page_token`. Raises AwsError InvalidParameterException."""
    try:
        values = msgspec.json.decode(base64.b64decode(token, altchars=b"-_", validate=True), type=list[Any])
    except (ValueError, msgspec.DecodeError) as error:
        raise invalid_token() from error
    if len(values) != len(types) or not all(type(v) is t for v, t in zip(values, types, strict=True)):
        raise invalid_token()
    return tuple(values)


# ── PutLogEvents ──────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class Admission:
    """Which events of a batch are taken, and what the caller is told of the others."""

    events: Sequence[tuple[int, str]]
    rejected: Mapping[str, int]  # rejectedLogEventsInfo


def admit(
    events: Sequence[Mapping[str, Any]], sizes: Sequence[int], now_ms: int, retention_days: int | None
) -> Admission:
    """`sizes` are the events' as AWS counts them. Raises AwsError InvalidParameterException."""
    times = [event["timestamp"] for event in events]
    _check_batch(times, sizes)
    too_old = sum(time < now_ms - TOO_OLD_MS for time in times)
    expired = 0 if retention_days is None else sum(time < now_ms - retention_days * DAY_MS for time in times)
    first = max(too_old, expired)
    last = sum(time <= now_ms + TOO_NEW_MS for time in times)
    if first < last and times[last - 1] - times[first] > BATCH_SPAN_MS:
        raise invalid_parameter(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )
    rejected = {
        "tooNewLogEventStartIndex": last if last < len(times) else None,
        "tooOldLogEventEndIndex": too_old or None,
        "expiredLogEventEndIndex": expired or None,
    }
    return Admission(
        [(event["timestamp"], event["message"]) for event in events[first:last]],
        {name: index for name, index in rejected.items() if index is not None},
    )


def _check_batch(times: Sequence[int], sizes: Sequence[int]) -> None:
    if any(later < earlier for earlier, later in itertools.pairwise(times)):
        raise invalid_parameter("Log events in a single PutLogEvents request must be in chronological order.")
    if max(sizes) > EVENT_BYTES:
        raise invalid_parameter(f"Log event too large: {max(sizes)} bytes exceeds limit of {EVENT_BYTES}")
    if sum(sizes) > BATCH_BYTES:
        raise invalid_parameter(f"Upload too large: {sum(sizes)} bytes exceeds limit of {BATCH_BYTES}")


def check_retention(days: int) -> None:
    """Raises AwsError InvalidParameterException."""
    if days not in RETENTION_DAYS:
        raise invalid_parameter(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {list(RETENTION_DAYS)}"
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises AwsError TooManyTagsException."""
    if len(tags) > TAGS_MAX:
        raise AwsError("TooManyTagsException", f"A resource can have no more than {TAGS_MAX} tags.")
