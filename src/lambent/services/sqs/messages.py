"""Operations on messages: send, receive, delete, change visibility, alone and in batches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError, LambentError
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.sqs import batches
from lambent.services.sqs.content import (
    MESSAGE_MAX_BYTES,
    chosen,
    md5_of_attributes,
    md5_of_system_attributes,
    message_of,
    size_bytes,
)
from lambent.services.sqs.errors import (
    in_the_words_of_aws,
    invalid_parameter,
    invalid_value,
    missing_parameter,
    unknown_attribute,
)
from lambent.services.sqs.names import Resolver
from lambent.store.queues import (
    InvisibleTooLong,
    NewMessage,
    NotInFlight,
    Queue,
    QueueStore,
    Receipt,
    ReceiptExpired,
    ReceiptInvalid,
    Received,
    Sent,
    read_handle,
)

Members = dict[str, Any]

RECEIVE_MAX: Final = 10
WAIT_MAX_S: Final = 20
VISIBILITY_MAX_S: Final = 43_200
SYSTEM_ATTRIBUTES: Final = (
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
)
# ReceiveMessage also takes names of queue attributes, and gives nothing for them.
_ALSO_TAKEN: Final = frozenset({"All", "SqsManagedSseEnabled", *SYSTEM_ATTRIBUTES})
_ATTEMPT_ID: Final = re.compile(r"[!-~]{1,128}")


class Messages:
    def __init__(self, store: QueueStore, queue_of: Resolver) -> None:
        self._store = store
        self._queue_of = queue_of
        self.operations: Mapping[str, Operation] = {
            "SendMessage": self.send_message,
            "SendMessageBatch": self.send_message_batch,
            "ReceiveMessage": self.receive_message,
            "DeleteMessage": self.delete_message,
            "DeleteMessageBatch": self.delete_message_batch,
            "ChangeMessageVisibility": self.change_message_visibility,
            "ChangeMessageVisibilityBatch": self.change_message_visibility_batch,
        }

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def send_message(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue_of(context, members, "SendMessage")
        message = message_of(queue, members, context.account_id, trace_header=context.trace_header)
        with in_the_words_of_aws():
            (sent,) = await self._store.send(queue, [message])
        return _sent(members, message, sent)

    async def send_message_batch(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue_of(context, members, "SendMessage")
        entries = batches.entries_of(members, "SendMessageBatchRequestEntry")
        total_bytes = sum(map(size_bytes, entries))
        if total_bytes > MESSAGE_MAX_BYTES:
            raise AwsError(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MESSAGE_MAX_BYTES} bytes. You have sent {total_bytes} bytes.",
            )
        good: list[tuple[Members, NewMessage]] = []
        failures: list[Members] = []
        for position, entry in enumerate(entries, 1):
            try:
                name = f"SendMessageBatchRequestEntry.{position}."
                message = message_of(queue, entry, context.account_id, name, trace_header=context.trace_header)
                good.append((entry, message))
            except AwsError as error:
                if queue.is_fifo:  # all or none: an order with gaps is no order
                    raise _of_whole_batch(error) from error
                failures.append(batches.failed(entry, error))
        sent: list[Sent] = []
        if good:
            with in_the_words_of_aws():
                sent = await self._store.send(queue, [message for _, message in good])
        answers = [
            {"Id": entry["Id"], **_sent(entry, message, one)} for (entry, message), one in zip(good, sent, strict=True)
        ]
        return batches.outcome(answers, failures)

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def receive_message(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue_of(context, members, "ReceiveMessage")
        count = members.get("MaxNumberOfMessages", 1)
        if not 1 <= count <= RECEIVE_MAX:
            raise invalid_value("MaxNumberOfMessages", count, "Must be between 1 and 10, if provided.")
        wait_s = members.get("WaitTimeSeconds", queue.wait_s)
        if not 0 <= wait_s <= WAIT_MAX_S:
            raise invalid_value("WaitTimeSeconds", wait_s, "Must be >= 0 and <= 20, if provided.")
        invisible_s = members.get("VisibilityTimeout", queue.visibility_timeout_s)
        if not 0 <= invisible_s <= VISIBILITY_MAX_S:
            raise invalid_value("VisibilityTimeout", invisible_s, "Must be >= 0 and <= 43200, if provided.")
        names = {*members.get("AttributeNames", ()), *members.get("MessageSystemAttributeNames", ())}
        for name in sorted(names - _ALSO_TAKEN):
            raise unknown_attribute(name)
        attempt_id = _attempt_id(queue, members.get("ReceiveRequestAttemptId"))
        with in_the_words_of_aws():
            received = await self._store.receive(
                queue, count, invisible_s=invisible_s, wait_s=wait_s, attempt_id=attempt_id
            )
        if not received:
            return {}
        wanted = members.get("MessageAttributeNames", ())
        return {"Messages": [described(message, names, wanted) for message in received]}

    # ── done, or later ────────────────────────────────────────────────────────────────────────────────────────────────

    async def delete_message(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue_of(context, members, "DeleteMessage")
        receipt = receipt_of(queue, members)
        with in_the_words_of_aws():
            (problem,) = await self._store.delete_messages(queue, [receipt])
        if problem is not None:
            raise problem_of(members, problem)
        return {}

    async def delete_message_batch(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue_of(context, members, "DeleteMessage")
        entries = batches.entries_of(members, "DeleteMessageBatchRequestEntry")
        good, failures = _readable(queue, entries, "DeleteMessageBatchRequestEntry")
        problems: Sequence[LambentError | None] = []
        if good:
            with in_the_words_of_aws():
                problems = await self._store.delete_messages(queue, [receipt for _, receipt in good])
        return _settled([entry for entry, _ in good], problems, failures)

    async def change_message_visibility(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue_of(context, members, "ChangeMessageVisibility")
        receipt = receipt_of(queue, members)
        invisible_s = _invisible_s(members)
        with in_the_words_of_aws():
            (problem,) = await self._store.hide_messages(queue, [(receipt, invisible_s)])
        if problem is not None:
            raise problem_of(members, problem)
        return {}

    async def change_message_visibility_batch(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue_of(context, members, "ChangeMessageVisibility")
        kind = "ChangeMessageVisibilityBatchRequestEntry"
        readable, failures = _readable(queue, batches.entries_of(members, kind), kind)
        good: list[tuple[Members, Receipt, int]] = []
        for entry, receipt in readable:
            try:
                good.append((entry, receipt, _invisible_s(entry)))
            except AwsError as error:
                failures.append(batches.failed(entry, error))
        problems: Sequence[LambentError | None] = []
        if good:
            with in_the_words_of_aws():
                problems = await self._store.hide_messages(queue, [(receipt, for_s) for _, receipt, for_s in good])
        return _settled([entry for entry, _, _ in good], problems, failures)


def _of_whole_batch(error: AwsError) -> AwsError:
    if error.code == "MissingRequiredParameterException" and error.message.endswith(" MessageGroupId."):
        return invalid_parameter(error.message)
    return error


def _sent(members: Members, message: NewMessage, sent: Sent) -> Members:
    answer: Members = {"MessageId": sent.message_id, "MD5OfMessageBody": message.body_md5}
    if message.attributes is not None:
        answer["MD5OfMessageAttributes"] = md5_of_attributes(members["MessageAttributes"])
    if message.trace_header is not None and members.get("MessageSystemAttributes"):
        answer["MD5OfMessageSystemAttributes"] = md5_of_system_attributes(message.trace_header)
    if sent.sequence is not None:
        answer["SequenceNumber"] = sent.sequence
    return answer


def _attempt_id(queue: Queue, attempt_id: str | None) -> str | None:
    if not attempt_id:
        return None
    if not queue.is_fifo:
        reason = "The request include parameter that is not valid for this queue type."
        raise invalid_value("ReceiveRequestAttemptId", attempt_id, reason)
    if not _ATTEMPT_ID.fullmatch(attempt_id):
        reason = "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise invalid_value("ReceiveRequestAttemptId", attempt_id, reason)
    return attempt_id


def described(message: Received, names: set[str], wanted: Sequence[str]) -> Members:
    """As ReceiveMessage gives it, with these system attributes and message attributes."""
    answer: Members = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": message.body_md5,
        "Body": message.body,
    }
    if names:
        system = system_attributes(message)
        chosen_system = system if "All" in names else {n: v for n, v in system.items() if n in names}
        if chosen_system:
            answer["Attributes"] = chosen_system
    if attributes := chosen(message.attributes, wanted):
        answer["MessageAttributes"] = attributes
        answer["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
    return answer


def system_attributes(message: Received) -> dict[str, str]:
    """All that the message has, as texts; times are milliseconds since the epoch."""
    found = {
        "SenderId": message.sender_id,
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
        "SequenceNumber": message.sequence,
        "MessageDeduplicationId": message.deduplication_id,
        "MessageGroupId": message.group_id,
        "AWSTraceHeader": message.trace_header,
        "DeadLetterQueueSourceArn": message.dead_letter_source,
    }
    return {name: value for name, value in found.items() if value is not None}


def receipt_of(queue: Queue, members: Members, entry: str = "") -> Receipt:
    """Raises AwsError MissingParameter, ReceiptHandleIsInvalid."""
    handle = members.get("ReceiptHandle")
    if not handle:
        raise missing_parameter(f"{entry}ReceiptHandle")
    try:
        return read_handle(queue.id, handle)
    except ReceiptInvalid as error:
        message = f'The input receipt handle "{handle}" is not a valid receipt handle.'
        raise AwsError("ReceiptHandleIsInvalid", message) from error


def _readable(
    queue: Queue, entries: Sequence[Members], kind: str
) -> tuple[list[tuple[Members, Receipt]], list[Members]]:
    """Entries with a receipt handle of this queue, and the failures of the others."""
    good: list[tuple[Members, Receipt]] = []
    failures: list[Members] = []
    for position, entry in enumerate(entries, 1):
        try:
            good.append((entry, receipt_of(queue, entry, f"{kind}.{position}.")))
        except AwsError as error:
            failures.append(batches.failed(entry, error))
    return good, failures


def _invisible_s(members: Members) -> int:
    found: int | None = members.get("VisibilityTimeout")
    if found is None:
        raise missing_parameter("VisibilityTimeout")
    if not 0 <= found <= VISIBILITY_MAX_S:
        raise invalid_value("VisibilityTimeout", found, "Must be between 0 and 43200, if provided.")
    return found


def problem_of(members: Members, problem: LambentError) -> AwsError:
    """What the store has against a receipt, as AWS says it."""
    handle = members["ReceiptHandle"]
    match problem:
        case ReceiptExpired():
            return invalid_value("ReceiptHandle", handle, "The receipt handle has expired.")
        case NotInFlight():
            reason = "Message does not exist or is not available for visibility timeout change."
            return invalid_value("ReceiptHandle", handle, reason)
        case InvisibleTooLong():
            reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            return invalid_value("VisibilityTimeout", members["VisibilityTimeout"], reason)
        case _:
            raise problem


def _settled(entries: Sequence[Members], problems: Sequence[LambentError | None], failures: list[Members]) -> Members:
    successful = []
    for entry, problem in zip(entries, problems, strict=True):
        if problem is None:
            successful.append({"Id": entry["Id"]})
        else:
            failures.append(batches.failed(entry, problem_of(entry, problem)))
    return batches.outcome(successful, failures)
