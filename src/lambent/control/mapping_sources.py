"""Asks whether an event source is there and the function's role may read it, as AWS does before it takes a mapping."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.control.role_rights import RoleRights
from lambent.model.errors import AwsError, invalid_parameter
from lambent.model.event_source import QUEUES, STREAMS, SourceArn, SourceKind, parse_source_arn
from lambent.model.function import FunctionVersion
from lambent.model.request import RequestContext
from lambent.ports import Clients

log = logging.getLogger(__name__)

_NO_QUEUE: Final = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"})
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, "Execution role permissions", and its like of
# streams. ListStreams is among AWS's words, but not about one stream.
_QUEUE_ACTIONS: Final = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
_STREAM_ACTIONS: Final = ("GetRecords", "GetShardIterator", "DescribeStream")
_ACTIONS: Final[Mapping[SourceKind, tuple[str, ...]]] = {
    **dict.fromkeys(QUEUES, _QUEUE_ACTIONS),
    **dict.fromkeys(STREAMS, _STREAM_ACTIONS),
    SourceKind.MQ: ("DescribeBroker",),
}


class SourceChecks:
    """Sources of services that cannot be asked are taken to exist; without `rights` every role may read them."""

    def __init__(self, clients: Clients | None, rights: RoleRights | None = None) -> None:
        self._clients = clients
        self._rights = rights

    async def check(
        self, context: RequestContext, kind: SourceKind, mapping: Mapping[str, Any], function: FunctionVersion
    ) -> None:
        """Raises AwsError InvalidParameterValueException for a source that is not there, is elsewhere, or cannot fit."""
        await self._check_secrets(mapping, function)
        arn = parse_source_arn(mapping.get("EventSourceArn") or "")
        if arn is None:
            return
        if arn.region != context.region:
            raise invalid_parameter(
                f"The event source must be in the same region as the function: it is in {arn.region}, not {context.region}."
            )
        await self._check_role(kind, mapping["EventSourceArn"], function)
        there = attrs.evolve(context, account_id=arn.account_id)
        if kind in QUEUES:
            await self._check_queue(there, arn, function)
        elif kind is SourceKind.KINESIS:
            await self._check_stream(
                there, "kinesis", "DescribeStreamSummary", {"StreamARN": mapping["EventSourceArn"]}
            )
        elif kind is SourceKind.KINESIS_CONSUMER:
            await self._check_stream(
                there, "kinesis", "DescribeStreamConsumer", {"ConsumerARN": mapping["EventSourceArn"]}
            )
        elif kind is SourceKind.DYNAMODB:
            await self._check_stream(
                there, "dynamodbstreams", "DescribeStream", {"StreamArn": mapping["EventSourceArn"]}
            )

    async def _check_secrets(self, mapping: Mapping[str, Any], function: FunctionVersion) -> None:
        """Its poller reads them for the function, so a mapping must not give away what the function may not read."""
        for item in mapping.get("SourceAccessConfigurations") or []:
            secret = item.get("URI") or ""
            if self._rights is None or ":secretsmanager:" not in secret:
                continue
            if not await self._rights.may(function.role, function.name, "secretsmanager:GetSecretValue", secret):
                raise invalid_parameter(
                    "The provided execution role does not have permissions to call GetSecretValue on Secrets Manager"
                )

    async def _check_role(self, kind: SourceKind, arn: str, function: FunctionVersion) -> None:
        if self._rights is None:
            return
        actions = _ACTIONS.get(kind, ())
        service, stream = arn.split(":")[2], arn.split("/consumer/")[0]
        for action in actions:
            if await self._rights.may(function.role, function.name, f"{service}:{action}", stream):
                continue
            if kind not in STREAMS:
                raise invalid_parameter(
                    f"The provided execution role does not have permissions to call {action} on {service.upper()}"
                )
            raise invalid_parameter(
                f"Cannot access stream {arn}. Please ensure the role can perform the GetRecords, GetShardIterator, "
                "DescribeStream, and ListStreams Actions on your stream in IAM."
            )

    async def _check_queue(self, context: RequestContext, arn: SourceArn, function: FunctionVersion) -> None:
        try:
            url = (await self._ask(context, "sqs", "GetQueueUrl", {"QueueName": arn.resource})).get("QueueUrl")
            wanted = {"QueueUrl": url, "AttributeNames": ["VisibilityTimeout"]}
            attributes = (await self._ask(context, "sqs", "GetQueueAttributes", wanted)).get("Attributes") or {}
        except _CannotAsk:
            return
        except AwsError as error:
            if error.code not in _NO_QUEUE:
                raise
            raise invalid_parameter(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
                f"SQS Error Message: {error.message}"
            ) from error
        visibility_s = attributes.get("VisibilityTimeout")
        if visibility_s is not None and int(visibility_s) < function.timeout_s:
            raise invalid_parameter(
                f"Queue visibility timeout: {visibility_s} seconds is less than "
                f"Function timeout: {function.timeout_s} seconds"
            )

    async def _check_stream(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, str]
    ) -> None:
        try:
            await self._ask(context, service, operation, request)
        except _CannotAsk:
            return
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            (arn,) = request.values()
            raise invalid_parameter(f"Stream not found: {arn}") from error

    async def _ask(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Raises AwsError as the service answered it, _CannotAsk when there is none that could."""
        if self._clients is None:
            raise _CannotAsk
        try:
            return await self._clients.call(context, service, operation, request)
        except AwsError as error:
            if not error.is_server_fault:
                raise
            log.info("%s cannot be asked by %s: %s", service, operation, error.message)
            raise _CannotAsk from error


class _CannotAsk(Exception):
    pass
