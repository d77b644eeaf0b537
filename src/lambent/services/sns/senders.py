"""Handing messages to endpoints, by protocol."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError, LambentError, service_fault
from lambent.model.invocation import Invocation
from lambent.model.names import parse_function_ref
from lambent.model.request import RequestContext
from lambent.ports import Clients, Enqueue, FunctionResolver
from lambent.services.delivery.queue_sender import QueueSender
from lambent.services.sns import envelope, http_endpoint, mail
from lambent.services.sns.attributes import effective_policy, is_raw
from lambent.services.sns.content import Message, size_bytes
from lambent.services.sns.delivery_policy import CONTENT_TYPE
from lambent.services.sns.names import account_in, region_in
from lambent.services.sns.notices import Notice
from lambent.services.sns.permissions import MaySend
from lambent.services.sns.signing import Signer
from lambent.store.topics import Subscription, Topic

USER_AGENT: Final = "Amazon Simple Notification Service Agent"
_AGAIN: Final = ("Throttl", "TooManyRequests", "OverLimit", "LimitExceeded")


class Refused(LambentError):
    """The endpoint did not take a message. A final refusal is not tried again: AWS calls it a client-side error."""

    def __init__(self, code: str, message: str, is_final: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.is_final = is_final


@attrs.frozen(kw_only=True)
class Parcel:
    """One message for one subscription."""

    topic: Topic
    subscription: Subscription
    content: Message | Notice
    sequence: int | None


class Letter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a queue gets: members of SendMessage, but for the queue. Dead letters wait on disk in this form."""

    body: str
    attributes: dict[str, dict[str, Any]] = {}
    group_id: str | None = None
    deduplication_id: str | None = None
    trace_header: str | None = None

    @property
    def size_bytes(self) -> int:
        """As the queue counts it."""
        return size_bytes({"Message": self.body, "MessageAttributes": self.attributes})


class Senders:
    """Each method returns when the endpoint has taken it, and raises Refused when it has not."""

    def __init__(
        self,
        signer: Signer,
        clients: Clients | None,
        enqueue: Enqueue,
        resolver: FunctionResolver,
        mail_folder: Path,
        may_send: MaySend | None = None,
    ) -> None:
        """Without `may_send` every queue and function may be sent to."""
        self._signer = signer
        self._clients = clients
        self._enqueue = enqueue
        self._resolver = resolver
        self._mail_folder = mail_folder
        self._may_send = may_send
        self._queues = QueueSender(self._call)

    # --- queues

    async def letters(self, parcels: Sequence[Parcel]) -> list[Letter]:
        """The same for all: as a queue, or its dead letters, would get them."""
        await self._signer.ready()
        return await asyncio.to_thread(lambda: [self._letter(parcel) for parcel in parcels])

    def _letter(self, parcel: Parcel) -> Letter:
        content = parcel.content
        if isinstance(content, Message) and is_raw(parcel.subscription):
            body, attributes = content.text_for(parcel.subscription.protocol), content.attributes
        else:
            body, attributes = envelope.text_of(self._fields(parcel)), {}
        if isinstance(content, Notice):
            return Letter(body=body)
        return Letter(
            body=body, attributes=attributes, group_id=content.group_id, deduplication_id=content.deduplication_id,
            trace_header=content.trace_header,
        )  # fmt: skip

    def _fields(self, parcel: Parcel, version: str | None = None) -> dict[str, Any]:
        content, subscription = parcel.content, parcel.subscription
        if isinstance(content, Message):
            return envelope.notification(content, subscription, parcel.sequence, self._signer, version)
        wanted = version or parcel.topic.attributes.get("SignatureVersion", "1")
        return envelope.confirmation(content, subscription, self._signer, wanted)

    async def to_queue(self, queue_arn: str, topic_arn: str, letters: Sequence[Letter]) -> list[Refused | None]:
        """Up to ten, in their order; for each None or why it was not taken. Raises Refused for all of them."""
        context = RequestContext(
            account_id=account_in(queue_arn), region=region_in(queue_arn), request_id=str(uuid.uuid4()), base_url=""
        )
        entries = [_entry(queue_arn, number, letter) for number, letter in enumerate(letters)]
        try:
            if self._may_send is not None:
                self._may_send.check_queue(queue_arn, topic_arn)
            answer = await self._queues.send(context, queue_arn, "SendMessageBatch", {"Entries": entries})
        except AwsError as error:
            raise _refused(error) from error
        outcomes: list[Refused | None] = [None] * len(letters)
        for failed in answer.get("Failed", ()):
            outcomes[int(failed["Id"])] = Refused(
                failed["Code"], failed.get("Message") or "", bool(failed.get("SenderFault"))
            )
        return outcomes

    async def _call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if self._clients is None:
            raise service_fault("This server has no clients for other services.")
        return await self._clients.call(context, service, operation, request)

    # --- functions

    async def to_function(self, parcel: Parcel) -> None:
        """As an asynchronous invocation, which has an id of its own for each message and subscription."""
        arn, content = parcel.subscription.endpoint, parcel.content
        ref = parse_function_ref(arn)
        place = (account_in(arn), region_in(arn))
        await self._signer.ready()
        # AWS signs what functions get by the first version, whatever the topic says.
        fields = await asyncio.to_thread(self._fields, parcel, "1")
        try:
            if self._may_send is not None:
                self._may_send.check_function(arn, parcel.topic.arn)
            self._resolver.resolve(*place, ref.name, ref.qualifier, 0.0)
            await self._enqueue(
                Invocation(
                    request_id=_request_id(content.id, parcel.subscription.id), account_id=place[0], region=place[1],
                    function_name=ref.name, qualifier=ref.qualifier,
                    payload=envelope.event_of(fields, parcel.subscription),
                    trace_header=content.trace_header if isinstance(content, Message) else None,
                )
            )  # fmt: skip
        except AwsError as error:
            raise _refused(error) from error

    # --- HTTP

    async def to_http(self, parcel: Parcel) -> None:
        """https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html"""
        content, subscription = parcel.content, parcel.subscription
        await self._signer.ready()
        content_type = CONTENT_TYPE
        kind = content.type if isinstance(content, Notice) else "Notification"
        headers = {
            "x-amz-sns-message-type": kind,
            "x-amz-sns-message-id": content.id,
            "x-amz-sns-topic-arn": subscription.topic_arn,
        }
        if kind != "SubscriptionConfirmation":
            headers["x-amz-sns-subscription-arn"] = subscription.arn
        if isinstance(content, Message):
            content_type = effective_policy(parcel.topic, subscription)["requestPolicy"]["headerContentType"]
        if isinstance(content, Message) and is_raw(subscription):
            headers["x-amz-sns-rawdelivery"] = "true"
            text = content.text_for(subscription.protocol)
        else:
            text = envelope.text_of(await asyncio.to_thread(self._fields, parcel))
        headers |= {"Content-Type": content_type, "User-Agent": USER_AGENT}
        body = text.encode("utf-8", "replace")
        try:
            status = await http_endpoint.post(subscription.endpoint, headers, body)
        except http_endpoint.Forbidden as error:
            raise Refused("Forbidden", str(error), is_final=True) from error
        except http_endpoint.Unreachable as error:
            raise Refused("Unreachable", str(error), is_final=False) from error
        if not 200 <= status < 300:
            raise Refused(f"HTTP {status}", "", is_final=300 <= status < 500 and status != 429)

    # --- mail

    async def to_mail(self, parcel: Parcel) -> None:
        await self._signer.ready()
        fields = await asyncio.to_thread(self._fields, parcel)
        name = parcel.topic.attributes.get("DisplayName", "") if isinstance(parcel.content, Message) else ""
        try:
            await asyncio.to_thread(mail.write, self._mail_folder, parcel.subscription, fields, name)
        except (OSError, ValueError) as error:
            raise Refused("MailFolder", str(error), is_final=isinstance(error, ValueError)) from error


def _entry(queue_arn: str, number: int, letter: Letter) -> dict[str, Any]:
    """Of SendMessageBatch. A standard queue knows groups, and no deduplication."""
    entry: dict[str, Any] = {"Id": str(number), "MessageBody": letter.body}
    if letter.attributes:
        entry["MessageAttributes"] = letter.attributes
    if letter.group_id is not None:
        entry["MessageGroupId"] = letter.group_id
    if letter.deduplication_id is not None and queue_arn.endswith(".fifo"):
        entry["MessageDeduplicationId"] = letter.deduplication_id
    if (letter.trace_header or "").startswith("Root="):  # what else a caller may have sent is not taken by SQS
        trace = {"DataType": "String", "StringValue": letter.trace_header}
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
    return entry


def _refused(error: AwsError) -> Refused:
    is_throttle = error.status == 429 or any(part in error.code for part in _AGAIN)
    is_final = error.code == "NotImplemented" or not (error.is_server_fault or is_throttle)
    return Refused(error.code, error.message, is_final)


def _request_id(message_id: str, subscription_id: str) -> str:
    """The same when it has to be sent again."""
    digest = hashlib.sha256(f"{message_id}/{subscription_id}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
