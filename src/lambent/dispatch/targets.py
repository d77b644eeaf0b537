"""Handing a record or a dead letter to what it is for: SQS, SNS, EventBridge, S3, another function."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lambent.model.errors import AwsError, service_fault
from lambent.model.invocation import Invocation
from lambent.model.names import parse_function_ref
from lambent.model.request import RequestContext
from lambent.ports import Clients, Enqueue
from lambent.services.delivery.queue_sender import QueueSender, trace_attribute
from lambent.store.events import Delivery

Send = Callable[[Delivery, RequestContext], Awaitable[None]]


class Targets:
    """Sends one delivery at a time. Raises AwsError when it was not taken."""

    def __init__(self, clients: Clients | None, accept: Enqueue) -> None:
        self._clients = clients
        self._accept = accept
        self._queues = QueueSender(self._call)
        self._senders: Mapping[str, Send] = {
            "sqs": self._to_queue,
            "sns": self._to_topic,
            "lambda": self._to_function,
            "events": self._to_bus,
            "s3": self._to_bucket,
        }

    async def send(self, delivery: Delivery) -> None:
        """Returns when the target has taken it. Raises AwsError."""
        parts = delivery.target.split(":", 5)
        sender = self._senders.get(parts[2]) if len(parts) == 6 else None
        if sender is None:
            raise AwsError("InvalidParameterValueException", f"{delivery.target} names nothing that records go to.")
        context = RequestContext(
            account_id=parts[4] or delivery.function[0],
            region=parts[3] or delivery.function[1],
            request_id=str(uuid.uuid4()),
            base_url="",
            trace_header=delivery.message.get("trace_header"),
        )
        await sender(delivery, context)

    async def _to_queue(self, delivery: Delivery, context: RequestContext) -> None:
        message: dict[str, Any] = {"MessageBody": delivery.body.decode()}
        if "attributes" in delivery.message:
            message["MessageAttributes"] = delivery.message["attributes"]
        message |= trace_attribute(delivery.message.get("trace_header"))
        await self._queues.send(context, delivery.target, "SendMessage", message)

    async def _to_topic(self, delivery: Delivery, context: RequestContext) -> None:
        message: dict[str, Any] = {"TopicArn": delivery.target, "Message": delivery.body.decode()}
        if "attributes" in delivery.message:
            message["MessageAttributes"] = delivery.message["attributes"]
        await self._call(context, "sns", "Publish", message)

    async def _to_function(self, delivery: Delivery, context: RequestContext) -> None:
        """As an asynchronous invocation. https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
        ref = parse_function_ref(delivery.target)
        await self._accept(
            Invocation(
                request_id=context.request_id,
                account_id=context.account_id,
                region=context.region,
                function_name=ref.name,
                qualifier=ref.qualifier,
                payload=delivery.body,
                trace_header=delivery.message.get("trace_header"),
            )
        )

    async def _to_bus(self, delivery: Delivery, context: RequestContext) -> None:
        outcome = "Success" if delivery.message.get("succeeded") else "Failure"
        entry = {
            "EventBusName": delivery.target,
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {outcome}",
            "Detail": delivery.body.decode(),
            "Resources": [delivery.target, delivery.message["function_arn"]],
        }
        answer = await self._call(context, "events", "PutEvents", {"Entries": [entry]})
        if answer.get("FailedEntryCount"):
            failed = answer["Entries"][0]
            raise AwsError(failed.get("ErrorCode", "InternalFailure"), failed.get("ErrorMessage", "not accepted"))

    async def _to_bucket(self, delivery: Delivery, context: RequestContext) -> None:
        bucket = delivery.target.rsplit(":", 1)[1]
        await self._call(
            context,
            "s3",
            "PutObject",
            {
                "Bucket": bucket,
                "Key": delivery.message["s3_key"],
                "Body": delivery.body,
                "ContentType": "application/json",
            },
        )

    async def _call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if self._clients is None:
            raise service_fault(
                f"{service}:{operation} cannot be called: this server has no clients for other services"
            )
        return await self._clients.call(context, service, operation, request)
