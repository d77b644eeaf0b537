"""Where subscriptions send log lines: which destinations are taken, and handing them over.

FORMAT = https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
"""

from __future__ import annotations

import base64
import gzip
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from lambent.model.errors import AwsError
from lambent.model.invocation import Invocation
from lambent.model.names import FunctionAddress, parse_function_ref
from lambent.model.request import RequestContext
from lambent.ports import Clients, Enqueue, FunctionResolver
from lambent.services.logs import model

AllowFunction = Callable[[str, str, FunctionAddress, Mapping[str, str]], None]
"""`(service, action, function, context)`: raises AwsError when the function's policy does not let the service."""

RoleMay = Callable[[str, str, str, str], Awaitable[bool]]
"""`(role ARN, session name, action, resource)`: by the role's own policies. Raises AwsError."""

VENDORS: Final = ("lambda", "kinesis", "firehose")
ACTIONS: Final = {"kinesis": "kinesis:PutRecord", "firehose": "firehose:PutRecord"}
FUNCTION_GROUPS: Final = "/aws/lambda/"
CONTROL_OF: Final = {"kinesis": "Kinesis stream", "firehose": "Firehose"}  # what the control message says it checks
_UNDELIVERABLE: Final = {
    "lambda": "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute "
    "your function.",
    "kinesis": "Could not deliver test message to specified Kinesis stream. Check if the given kinesis stream is in "
    "ACTIVE state.",
    "firehose": "Could not deliver test message to specified Firehose stream. Check if the given Firehose stream is in "
    "ACTIVE state.",
}
_SESSION: Final = "CloudWatchLogs"


class SubscriptionDestinations:
    """Without `allow_function` and `role_may` policies do not decide."""

    def __init__(
        self,
        enqueue: Enqueue,
        resolver: FunctionResolver,
        clients: Clients | None = None,
        allow_function: AllowFunction | None = None,
        role_may: RoleMay | None = None,
    ) -> None:
        self._enqueue = enqueue
        self._resolver = resolver
        self._clients = clients
        self._allow_function = allow_function
        self._role_may = role_may

    async def check(self, key: tuple[str, str, str], document: Mapping[str, Any], now_ms: int) -> None:
        """That a subscription of a group can be made: what AWS finds out by a test message.

        Raises AwsError InvalidParameterException.
        """
        account_id, region, group = key
        arn, role = document["destinationArn"], document.get("roleArn")
        vendor = vendor_of(arn)
        parts = arn.split(":")
        if parts[3] != region or (vendor == "lambda" and parts[4] != account_id):
            raise model.invalid_parameter("destinationArn must be in the account and region of the log group.")
        if vendor == "lambda":
            if role:
                raise model.invalid_parameter("destinationArn for vendor lambda cannot be used with roleArn")
            if group == FUNCTION_GROUPS + _function(arn).name:
                raise model.invalid_parameter(
                    "The log group provided is reserved for the function logs of the destination function."
                )
        elif not role:
            raise model.invalid_parameter(f"destinationArn for vendor {vendor} cannot be used without roleArn")
        try:
            if vendor == "lambda":
                self._find(key, arn)
            else:
                await self.send(key, document, control_message(vendor, now_ms), uuid.uuid4().hex)
        except AwsError as error:
            if error.is_server_fault:
                raise
            raise model.invalid_parameter(_UNDELIVERABLE[vendor]) from error

    async def send(
        self, key: tuple[str, str, str], document: Mapping[str, Any], message: bytes, partition_key: str
    ) -> None:
        """`message` is packed. Returns when the destination has it durably. Raises AwsError."""
        arn = document["destinationArn"]
        vendor = vendor_of(arn)
        if vendor == "lambda":
            function = self._find(key, arn)
            await self._enqueue(
                Invocation(
                    request_id=str(uuid.uuid4()), account_id=function.account_id, region=function.region,
                    function_name=function.name, qualifier=function.qualifier, payload=for_function(message),
                )
            )  # fmt: skip
            return
        if self._role_may is not None and not await self._role_may(document["roleArn"], _SESSION, ACTIONS[vendor], arn):
            raise AwsError("AccessDeniedException", f"{document['roleArn']} may not {ACTIONS[vendor]} {arn}", 403)
        if self._clients is None:
            raise AwsError("ServiceUnavailableException", f"{vendor} cannot be called from here.", 500)
        parts = arn.split(":", 5)
        context = RequestContext(account_id=parts[4], region=parts[3], request_id=str(uuid.uuid4()), base_url="")
        name = arn.rsplit("/", 1)[-1]
        if vendor == "kinesis":
            record = {"StreamName": name, "Data": message, "PartitionKey": partition_key[:256]}
            await self._clients.call(context, "kinesis", "PutRecord", record)
        else:
            request = {"DeliveryStreamName": name, "Record": {"Data": message}}
            await self._clients.call(context, "firehose", "PutRecord", request)

    def _find(self, key: tuple[str, str, str], arn: str) -> FunctionAddress:
        """The function, if it is there and lets CloudWatch Logs. Raises AwsError."""
        function = _function(arn)
        self._resolver.resolve(*function.key, function.qualifier, random.random())
        if self._allow_function is not None:
            account_id, region, group = key
            source = {
                "aws:SourceArn": f"{model.group_arn(account_id, region, group)}:*",
                "aws:SourceAccount": account_id,
            }
            try:
                self._allow_function(f"logs.{region}.amazonaws.com", "lambda:InvokeFunction", function, source)
            except AwsError:  # policies may name the service without its region
                self._allow_function("logs.amazonaws.com", "lambda:InvokeFunction", function, source)
        return function


def vendor_of(arn: str) -> str:
    """Raises AwsError InvalidParameterException for what nothing is sent to."""
    parts = arn.split(":")
    vendor = parts[2] if len(parts) >= 6 and parts[0] == "arn" else ""
    if vendor == "logs":
        raise model.invalid_parameter("Destinations of CloudWatch Logs (PutDestination) are not offered by Lambent.")
    if vendor not in VENDORS:
        raise model.invalid_parameter("Invalid destinationArn: it is neither a function's nor a stream's.")
    return vendor


def data_message(
    owner: str, group: str, stream: str, filters: Sequence[str], events: Sequence[tuple[int, int, str]]
) -> bytes:
    """Packed. Events are (milliseconds, id, message)."""
    return _pack(
        {
            "messageType": "DATA_MESSAGE",
            "owner": owner,
            "logGroup": group,
            "logStream": stream,
            "subscriptionFilters": list(filters),
            "logEvents": [
                {"id": model.event_id((timestamp_ms, event_id)), "timestamp": timestamp_ms, "message": message}
                for timestamp_ms, event_id, message in events
            ],
        }
    )


def control_message(vendor: str, now_ms: int) -> bytes:
    """What streams get when they are subscribed. Packed."""
    said = f"CWL CONTROL MESSAGE: Checking health of destination {CONTROL_OF[vendor]}."
    return _pack(
        {
            "messageType": "CONTROL_MESSAGE",
            "owner": "CloudwatchLogs",
            "logGroup": "",
            "logStream": "",
            "subscriptionFilters": [],
            "logEvents": [{"id": "", "timestamp": now_ms, "message": said}],
        }
    )


def for_function(message: bytes) -> bytes:
    """The event that a function gets."""
    return msgspec.json.encode({"awslogs": {"data": base64.b64encode(message).decode()}})


def _pack(document: dict[str, Any]) -> bytes:
    return gzip.compress(msgspec.json.encode(document), compresslevel=6)


def _function(arn: str) -> FunctionAddress:
    """Raises AwsError InvalidParameterException."""
    try:
        ref = parse_function_ref(arn)
    except AwsError as error:
        raise model.invalid_parameter(_UNDELIVERABLE["lambda"]) from error
    parts = arn.split(":")
    return FunctionAddress(parts[4], parts[3], ref.name, ref.qualifier)
