"""What the queue store takes and gives."""

from __future__ import annotations

import base64
import binascii
import json
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.errors import LambentError

QueueKey = tuple[str, str, str]  # account, region, name

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
IN_FLIGHT_MAX: Final = 120_000  # of standard and of FIFO queues
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-exactly-once-processing.html
DEDUPLICATION_MS: Final = 5 * 60 * 1000
ATTEMPT_MS: Final = 5 * 60 * 1000  # how long a ReceiveRequestAttemptId counts: ReceiveMessage's page
DELETED_MS: Final = 60 * 1000  # how long a deleted queue's name rests: CreateQueue's page
PURGE_MS: Final = 60 * 1000  # the least time between two purges: PurgeQueue's page
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
INVISIBLE_MAX_MS: Final = 12 * 3600 * 1000  # since it was received
_SEQUENCE_BASE: Final = 10**19  # AWS's sequence numbers have 20 digits
_HANDLE: Final = struct.Struct(">BQQQ")  # format, queue, message, receipt
_HANDLE_FORMAT: Final = 1

DEFAULTS: Final[Mapping[str, str]] = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
}
"""SetQueueAttributes' page, in its units."""


class QueueMissing(LambentError):
    """There is no such queue."""


class QueueExists(LambentError):
    """There is one of this name already: `queue` is it."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.name)
        self.queue = queue


class QueueDeletedRecently(LambentError):
    """The name rests for a minute."""


class PurgeInProgress(LambentError):
    """It was purged less than a minute ago."""


class TooManyInFlight(LambentError):
    """As many messages as a standard queue may have are being worked on."""


class ReceiptInvalid(LambentError):
    """No receipt handle of this queue."""


class ReceiptExpired(LambentError):
    """The message of a FIFO queue was not deleted in time."""


class NotInFlight(LambentError):
    """The message is gone, or somebody else has received it since."""


class InvisibleTooLong(LambentError):
    """It would be invisible for more than twelve hours."""


class MoveTaskRunning(LambentError):
    """One move task at a time for each queue."""


class MoveTaskMissing(LambentError):
    """There is no such running task."""


def _numbers(attributes: Mapping[str, str]) -> Mapping[str, int]:
    return {name: int(attributes.get(name, default)) for name, default in DEFAULTS.items()}


def _redrive_target(attributes: Mapping[str, str]) -> tuple[str, int] | None:
    if not (text := attributes.get("RedrivePolicy")):
        return None
    policy = json.loads(text)
    return policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])


@attrs.frozen(kw_only=True)
class Queue:
    id: int
    bucket: int
    account_id: str
    region: str
    name: str
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    created_ms: int
    modified_ms: int
    purged_ms: int = 0
    is_fifo: bool = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.name.endswith(".fifo"), takes_self=True)
    )
    numbers: Mapping[str, int] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _numbers(self.attributes), takes_self=True)
    )
    redrive_target: tuple[str, int] | None = attrs.field(  # ARN of the dead letters, and after how many receptions
        init=False, default=attrs.Factory(lambda self: _redrive_target(self.attributes), takes_self=True)
    )

    @property
    def key(self) -> QueueKey:
        return self.account_id, self.region, self.name

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{self.region}:{self.account_id}:{self.name}"

    @property
    def visibility_timeout_s(self) -> int:
        return self.numbers["VisibilityTimeout"]

    @property
    def delay_s(self) -> int:
        return self.numbers["DelaySeconds"]

    @property
    def wait_s(self) -> int:
        return self.numbers["ReceiveMessageWaitTimeSeconds"]

    @property
    def retention_s(self) -> int:
        return self.numbers["MessageRetentionPeriod"]

    @property
    def message_max_bytes(self) -> int:
        return self.numbers["MaximumMessageSize"]

    @property
    def deduplicates_by_group(self) -> bool:
        return self.attributes.get("DeduplicationScope") == "messageGroup"


@attrs.frozen(kw_only=True)
class NewMessage:
    """`attributes` is what the caller made of them; the store gives the same bytes back."""

    body: str
    body_md5: str
    sender_id: str
    attributes: bytes | None = None
    trace_header: str | None = None
    group_id: str | None = None
    deduplication_id: str | None = None  # FIFO queues: always
    delay_s: int | None = None  # None: the queue's


@attrs.frozen
class Sent:
    message_id: str
    sequence: str | None  # of FIFO queues


@attrs.frozen(kw_only=True)
class Received:
    message_id: str
    receipt_handle: str
    body: str
    body_md5: str
    attributes: bytes | None
    trace_header: str | None
    sender_id: str
    sent_ms: int
    first_received_ms: int
    receive_count: int
    group_id: str | None
    deduplication_id: str | None
    sequence: str | None
    dead_letter_source: str | None


@attrs.frozen
class DeadLetters:
    """Where messages go that were received `receive_max` times."""

    queue: Queue
    receive_max: int


@attrs.frozen
class Counts:
    visible: int
    in_flight: int
    delayed: int


@attrs.frozen(kw_only=True)
class MoveTask:
    id: str
    source_id: int
    source_arn: str
    destination_arn: str | None
    per_second: int | None
    status: str  # RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED
    moved: int
    to_move: int
    failure: str | None
    started_ms: int


@attrs.frozen
class Receipt:
    """What a receipt handle says."""

    queue_id: int
    message: int
    number: int  # random: nobody guesses a handle

    def handle(self) -> str:
        packed = _HANDLE.pack(_HANDLE_FORMAT, self.queue_id, self.message, self.number)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_handle(queue_id: int, handle: str) -> Receipt:
    """Raises ReceiptInvalid."""
    try:
        packed = base64.b64decode(handle + "=" * (-len(handle) % 4), altchars=b"-_", validate=True)
        form, of_queue, message, number = _HANDLE.unpack(packed)
    except (binascii.Error, struct.error, ValueError) as error:
        raise ReceiptInvalid(handle) from error
    if form != _HANDLE_FORMAT or of_queue != queue_id or max(message, number) >= 2**63:
        raise ReceiptInvalid(handle)
    return Receipt(of_queue, message, number)


def new_receipt() -> int:
    return int.from_bytes(os.urandom(8), "big") >> 1 or 1


def sequence_text(message: int) -> str:
    return str(_SEQUENCE_BASE + message)


class Ids:
    """Numbers for messages: they rise, also over restarts and with a clock that goes back. The writer's thread's own."""

    def __init__(self, last: int) -> None:
        self._last = last

    def next(self, now_ms: int) -> int:
        self._last = max(self._last + 1, now_ms << 12)
        return self._last


Row = Sequence[Any]
