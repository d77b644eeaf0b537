"""Handing one delivery to what it is for. Which service that is, the target's ARN says.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-targets.html
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError, service_fault
from lambent.model.invocation import Invocation
from lambent.model.names import FunctionAddress, parse_function_ref
from lambent.model.request import RequestContext
from lambent.ports import Clients, Enqueue, FunctionResolver
from lambent.services.delivery.permission import Permission
from lambent.services.delivery.queue_sender import QueueSender, trace_attribute
from lambent.store.deliveries import Delivery

Send = Callable[[Delivery, RequestContext], Awaitable[None]]

STREAMS_REMEMBERED: Final = 1_000  # log streams that are there for certain
PARTITION_KEY_MAX_CHARACTERS: Final = 256  # PutRecord, PartitionKey
ATTEMPT_NUMBER: Final = b"<aws.scheduler.attempt-number>"  # in what a schedule sends
LOG_STREAM: Final = "lambent"  # ours: AWS names a stream after each event; one is easier to read


class Targets:
    """Raises AwsError when a delivery was not taken."""

    def __init__(
        self,
        clients: Clients | None,
        enqueue: Enqueue,
        resolver: FunctionResolver,
        permission: Permission | None = None,
    ) -> None:
        """Without `permission` every target may be called."""
        self._clients = clients
        self._enqueue = enqueue
        self._resolver = resolver
        self._permission = permission
        self._queues = QueueSender(self.call)
        self._log_streams: set[tuple[str, str, str]] = set()
        self._senders: dict[str, Send] = {
            "lambda": self._to_function,
            "sqs": self._to_queue,
            "sns": self._to_topic,
            "kinesis": self._to_stream,
            "firehose": self._to_firehose,
            "logs": self._to_log_group,
            "states": self._to_state_machine,
        }

    def add(self, service: str, send: Send) -> None:
        """Somebody else's way to the targets of one service, by the third part of their ARNs."""
        self._senders[service] = send

    @property
    def services(self) -> frozenset[str]:
        return frozenset(self._senders)

    async def send(self, delivery: Delivery) -> None:
        """Returns when the target has taken it. Raises AwsError."""
        about = delivery.about
        parts = delivery.lane.split(":", 5)
        sender = self._senders.get(parts[2]) if len(parts) == 6 else None
        if sender is None:
            raise AwsError("ValidationException", f"{delivery.lane} names nothing that events are sent to.")
        context = RequestContext(
            account_id=parts[4] or about["account"],
            region=parts[3] or about["region"],
            request_id=about["id"],
            base_url="",
        )
        if self._permission is not None:
            await self._permission.check(delivery, context)
        if ATTEMPT_NUMBER in delivery.body:
            number = str(delivery.tries + 1).encode()
            delivery = attrs.evolve(delivery, body=delivery.body.replace(ATTEMPT_NUMBER, number))
        await sender(delivery, context)

    async def invoke(self, request: Mapping[str, Any], delivery: Delivery, context: RequestContext) -> None:
        """Lambda's Invoke as a universal target. Raises AwsError."""
        name = str(request.get("FunctionName") or "")
        ref = parse_function_ref(name)
        account_id, region = ref.account_id or context.account_id, ref.region or context.region
        if account_id != context.account_id:
            raise AwsError("AccessDeniedException", f"{name} belongs to another account", 403)
        address = FunctionAddress(account_id, region, ref.name, ref.qualifier or request.get("Qualifier"))
        payload = request.get("Payload", {})
        body = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
        await self._invoke(address, body, delivery, context)

    async def _to_function(self, delivery: Delivery, context: RequestContext) -> None:
        """As an asynchronous invocation, with the same request id should it be sent twice."""
        ref = parse_function_ref(delivery.lane)
        address = FunctionAddress(context.account_id, context.region, ref.name, ref.qualifier)
        await self._invoke(address, delivery.body, delivery, context)

    async def _invoke(self, address: FunctionAddress, body: bytes, delivery: Delivery, context: RequestContext) -> None:
        self._resolver.resolve(*address.key, address.qualifier, random.random())
        await self._enqueue(
            Invocation(
                request_id=context.request_id,
                account_id=address.account_id,
                region=address.region,
                function_name=address.name,
                qualifier=address.qualifier,
                payload=_json(body),
                trace_header=delivery.about.get("trace_header"),
            )
        )

    async def _to_queue(self, delivery: Delivery, context: RequestContext) -> None:
        about, name = delivery.about, delivery.lane.rsplit(":", 1)[1]
        message: dict[str, Any] = {"MessageBody": delivery.body.decode()}
        group = (about["target"].get("SqsParameters") or {}).get("MessageGroupId")
        if group:
            message["MessageGroupId"] = group
        if name.endswith(".fifo"):
            message["MessageDeduplicationId"] = about["id"]
        if told := about.get("attributes"):
            message["MessageAttributes"] = {
                key: {"DataType": "String", "StringValue": value} for key, value in told.items()
            }
        message |= trace_attribute(about.get("trace_header"))
        await self._queues.send(context, delivery.lane, "SendMessage", message)

    async def _to_topic(self, delivery: Delivery, context: RequestContext) -> None:
        message = {"TopicArn": delivery.lane, "Message": delivery.body.decode()}
        if delivery.lane.endswith(".fifo"):
            group = (delivery.about["target"].get("SqsParameters") or {}).get("MessageGroupId")
            message |= {"MessageGroupId": group or "default", "MessageDeduplicationId": context.request_id}
        await self.call(context, "sns", "Publish", message)

    async def _to_stream(self, delivery: Delivery, context: RequestContext) -> None:
        parameters = delivery.about["target"].get("KinesisParameters") or {}
        key = parameters.get("PartitionKey")  # a schedule's
        if key is None:  # a rule's, found by its PartitionKeyPath
            key = delivery.about.get("partition_key")
        record = {
            "StreamARN": delivery.lane,
            "Data": delivery.body,
            "PartitionKey": (key or context.request_id)[:PARTITION_KEY_MAX_CHARACTERS],
        }
        await self.call(context, "kinesis", "PutRecord", record)

    async def _to_firehose(self, delivery: Delivery, context: RequestContext) -> None:
        name = delivery.lane.rsplit("/", 1)[-1]
        record = {"DeliveryStreamName": name, "Record": {"Data": delivery.body}}
        await self.call(context, "firehose", "PutRecord", record)

    async def _to_log_group(self, delivery: Delivery, context: RequestContext) -> None:
        group = delivery.lane.split(":log-group:", 1)[-1].removesuffix(":*")
        place = (context.account_id, context.region, group)
        if place not in self._log_streams:
            try:
                named = {"logGroupName": group, "logStreamName": LOG_STREAM}
                await self.call(context, "logs", "CreateLogStream", named)
            except AwsError as error:
                if error.code != "ResourceAlreadyExistsException":
                    raise
            if len(self._log_streams) >= STREAMS_REMEMBERED:
                self._log_streams.clear()
            self._log_streams.add(place)
        event = {"timestamp": delivery.accepted_ms, "message": delivery.body.decode()}
        request = {"logGroupName": group, "logStreamName": LOG_STREAM, "logEvents": [event]}
        try:
            await self.call(context, "logs", "PutLogEvents", request)
        except AwsError:
            self._log_streams.discard(place)
            raise

    async def _to_state_machine(self, delivery: Delivery, context: RequestContext) -> None:
        request = {"stateMachineArn": delivery.lane, "name": context.request_id, "input": delivery.body.decode()}
        try:
            await self.call(context, "stepfunctions", "StartExecution", request)
        except AwsError as error:
            if error.code != "ExecutionAlreadyExists":  # it was begun before a crash
                raise

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Raises AwsError as the service answered."""
        if self._clients is None:
            raise service_fault(
                f"{service}:{operation} cannot be called: this server has no clients for other services"
            )
        return await self._clients.call(context, service, operation, request)


def _json(body: bytes) -> bytes:
    """What a function gets is JSON: a text that is none becomes a string."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(body.decode("utf-8", "replace"))
    return body
