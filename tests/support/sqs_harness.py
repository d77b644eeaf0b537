"""SQS's operations without a network, over a real store and a clock that stands until it is moved."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.services.sqs import SqsService
from lambent.store.queues import QueueStore
from queue_clock import HandClock

ACCOUNT, REGION = "111122223333", "eu-west-1"


@attrs.frozen
class Sqs:
    service: SqsService
    clock: HandClock
    store: QueueStore

    async def call(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> dict[str, Any]:
        context = RequestContext(account_id=account_id, region=REGION, request_id="r", base_url="http://here:4566")
        return await self.service.operations[operation](context, members)

    async def refused(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> tuple[str, str]:
        """Code and message."""
        with pytest.raises(AwsError) as caught:
            await self.call(operation, account_id, **members)
        return caught.value.code, caught.value.message

    async def queue(self, name: str = "q", **attributes: str) -> str:
        """The address of a new queue."""
        if name.endswith(".fifo"):
            attributes = {"FifoQueue": "true", **attributes}
        url: str = (await self.call("CreateQueue", QueueName=name, Attributes=attributes))["QueueUrl"]
        return url

    async def one(self, url: str, **members: Any) -> dict[str, Any]:
        (message,) = (await self.call("ReceiveMessage", QueueUrl=url, **members))["Messages"]
        found: dict[str, Any] = message
        return found
