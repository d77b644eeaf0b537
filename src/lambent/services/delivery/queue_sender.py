"""Sending to a queue that is known by its ARN."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext

Call = Callable[[RequestContext, str, str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""`call(context, service, operation, members)`; raises AwsError."""

QUEUES_REMEMBERED: Final = 1_000  # addresses of queues, so that each is asked for once


class QueueSender:
    """Remembers the queues' addresses."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._urls: dict[str, str] = {}

    async def send(
        self, context: RequestContext, queue_arn: str, operation: str, members: Mapping[str, Any]
    ) -> dict[str, Any]:
        """SendMessage or SendMessageBatch, with the QueueUrl added. Raises AwsError."""
        try:
            url = await self._url(context, queue_arn)
            return await self._call(context, "sqs", operation, {"QueueUrl": url, **members})
        except AwsError:
            self._urls.pop(queue_arn, None)  # it may have been deleted and made again
            raise

    async def _url(self, context: RequestContext, queue_arn: str) -> str:
        url = self._urls.get(queue_arn)
        if url is None:
            found = await self._call(context, "sqs", "GetQueueUrl", {"QueueName": queue_arn.rsplit(":", 1)[1]})
            if len(self._urls) >= QUEUES_REMEMBERED:
                self._urls.clear()
            url = self._urls[queue_arn] = found["QueueUrl"]
        return url


def trace_attribute(trace_header: str | None) -> dict[str, Any]:
    """The member of SendMessage that says which trace it belongs to; what else a caller may have sent is not taken by SQS."""
    if not (trace_header or "").startswith("Root="):
        return {}
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": trace_header}}}
