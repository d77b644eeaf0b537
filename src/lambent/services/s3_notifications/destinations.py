"""Where S3's notifications go: whether a destination is there and lets S3, and handing it a message."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.invocation import Invocation
from lambent.model.names import FunctionAddress, parse_function_ref
from lambent.model.policy import DocumentKind, Policies
from lambent.model.request import RequestContext
from lambent.ports import Clients, Enqueue, FunctionResolver
from lambent.services.s3_notifications.configuration import Rule

AllowFunction = Callable[[str, str, FunctionAddress, Mapping[str, str]], None]
"""`(service, action, function, context)`: raises AwsError when the function's policy does not let the service."""

PRINCIPAL: Final = "s3.amazonaws.com"
_PARTS: Final = 6  # of a queue's or a topic's ARN


class Destinations:
    """Without `allow_function` policies do not decide, and every destination lets S3."""

    def __init__(
        self,
        clients: Clients,
        enqueue: Enqueue,
        resolver: FunctionResolver,
        allow_function: AllowFunction | None = None,
    ) -> None:
        self._clients = clients
        self._enqueue = enqueue
        self._resolver = resolver
        self._allow_function = allow_function

    async def problem(self, rule: Rule, source: Mapping[str, str]) -> tuple[str, str] | None:
        """Why a destination cannot be used, as S3 names it and says it; None for one that can.

        `source`: aws:SourceArn and aws:SourceAccount.
        """
        try:
            await self._check(rule, source)
        except AwsError as error:
            if rule.kind == "lambda":
                return f"{rule.arn}, null", f"Not authorized to invoke function [{rule.arn}]"
            what = "queue" if rule.kind == "sqs" else "topic"
            if error.status == 403:
                message = (
                    f"Permissions on the destination {what} do not allow S3 to publish notifications from this bucket"
                )
                return rule.arn, message
            return rule.arn, f"The destination {what} does not exist"
        return None

    async def send(
        self, rule: Rule, body: bytes, trace_header: str | None, source: Mapping[str, str], *, is_test: bool = False
    ) -> None:
        """Returns when the destination has it durably. Raises AwsError."""
        context = _context(rule.arn)
        if not is_test and self._allow_function is not None:
            await self._check(rule, source)
        if rule.kind == "lambda":
            await self._to_function(rule.arn, body, trace_header)
        elif rule.kind == "sqs":
            message: dict[str, Any] = {
                "QueueUrl": await self._queue_url(context, rule.arn),
                "MessageBody": body.decode(),
            }
            if trace_header and trace_header.startswith("Root="):
                trace = {"DataType": "String", "StringValue": trace_header}
                message["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
            await self._clients.call(context, "sqs", "SendMessage", message)
        else:
            request = {"TopicArn": rule.arn, "Message": body.decode(), "Subject": "Amazon S3 Notification"}
            await self._clients.call(attrs.evolve(context, trace_header=trace_header), "sns", "Publish", request)

    async def _to_function(self, arn: str, body: bytes, trace_header: str | None) -> None:
        function = _function(arn)
        self._resolver.resolve(*function.key, function.qualifier, random.random())
        await self._enqueue(
            Invocation(
                request_id=str(uuid.uuid4()), account_id=function.account_id, region=function.region,
                function_name=function.name, qualifier=function.qualifier, payload=body, trace_header=trace_header,
            )
        )  # fmt: skip

    async def _check(self, rule: Rule, source: Mapping[str, str]) -> None:
        """That it exists and lets S3. Raises AwsError."""
        if rule.kind == "lambda":
            function = _function(rule.arn)
            self._resolver.resolve(*function.key, function.qualifier, random.random())
            if self._allow_function is not None:
                self._allow_function(PRINCIPAL, "lambda:InvokeFunction", function, source)
            return
        context = _context(rule.arn)
        if rule.kind == "sqs":
            asked = {"QueueUrl": await self._queue_url(context, rule.arn), "AttributeNames": ["Policy"]}
            found = await self._clients.call(context, "sqs", "GetQueueAttributes", asked)
        else:
            found = await self._clients.call(context, "sns", "GetTopicAttributes", {"TopicArn": rule.arn})
        if self._allow_function is not None:
            action = "sqs:SendMessage" if rule.kind == "sqs" else "sns:Publish"
            _decide((found.get("Attributes") or {}).get("Policy"), action, rule.arn, source)

    async def _queue_url(self, context: RequestContext, arn: str) -> str:
        found = await self._clients.call(context, "sqs", "GetQueueUrl", {"QueueName": arn.rsplit(":", 1)[1]})
        return str(found["QueueUrl"])


def _decide(document: str | None, action: str, resource: str, source: Mapping[str, str]) -> None:
    """By the policy of a queue or a topic. Raises AwsError, 403."""
    try:
        compiled = policy.parse_policy(document, DocumentKind.RESOURCE) if document else None
    except policy.MalformedPolicy:
        compiled = None  # a policy that cannot be read lets nobody in
    request = policy.Request(
        principal=policy.service(PRINCIPAL), action=action, resource=resource,
        resource_account_id=resource.split(":")[4],
        context=policy.context_of({**source, "aws:PrincipalServiceName": PRINCIPAL}),
    )  # fmt: skip
    if compiled is None or not policy.evaluate(request, Policies(resource=compiled)).is_allowed:
        raise AwsError(
            "AccessDenied", f"{PRINCIPAL} is not authorized to perform: {action} on resource: {resource}", 403
        )


def _context(arn: str) -> RequestContext:
    parts = arn.split(":", _PARTS - 1)
    return RequestContext(account_id=parts[4], region=parts[3], request_id=str(uuid.uuid4()), base_url="")


def _function(arn: str) -> FunctionAddress:
    """Raises AwsError ValidationException."""
    ref, parts = parse_function_ref(arn), arn.split(":")
    return FunctionAddress(parts[4], parts[3], ref.name, ref.qualifier)
