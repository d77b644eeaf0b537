"""SNS without a network, over real stores of its own and of queues, and a clock that stands until it is moved."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lambent.model.errors import AwsError, not_found
from lambent.model.invocation import Invocation
from lambent.model.request import RequestContext
from lambent.ports import FunctionResolver
from lambent.services.sns import Deliverer, MaySend, Senders, Signer, SnsService
from lambent.services.sqs import SqsService
from lambent.store.queues import QueueStore
from lambent.store.topics import TopicStore
from queue_clock import HandClock

ACCOUNT, REGION = "111122223333", "eu-west-1"
BASE_URL = "http://here:4566"
SOON_S = 20.0


@functools.cache
def signing_key() -> bytes:
    """One for all tests: making one takes longer than most of them."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def function_arn(name: str, account_id: str = ACCOUNT) -> str:
    return f"arn:aws:lambda:{REGION}:{account_id}:function:{name}"


def queue_arn(name: str, account_id: str = ACCOUNT) -> str:
    return f"arn:aws:sqs:{REGION}:{account_id}:{name}"


def context(account_id: str = ACCOUNT, **changes: Any) -> RequestContext:
    known = {"account_id": account_id, "region": REGION, "request_id": "r", "base_url": BASE_URL, "access_key_id": "k"}
    return RequestContext(**{**known, **changes})


class World:
    """`failures`: what the queues' service answers instead, from its next call on, until it is empty."""

    def __init__(self, folder: Path, clock: HandClock) -> None:
        self.folder = folder
        self.clock = clock
        self.functions: set[str] = set()
        self.invocations: list[Invocation] = []
        self.failures: list[AwsError] = []
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """`ports.Clients`"""
        assert service == "sqs"
        self.calls.append((operation, request))
        if self.failures:
            raise self.failures.pop(0)
        return await self.sqs.operations[operation](context, dict(request))

    async def enqueue(self, invocation: Invocation) -> None:
        self.invocations.append(invocation)

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> None:
        """Of `ports.FunctionResolver`."""
        if name not in self.functions:
            raise not_found(f"Function not found: {name}")

    async def begin(self, may_send: MaySend | None = None) -> None:
        """Starts everything over what is on disk."""
        self.topics = await TopicStore.open(self.folder / "topics.db", self.clock)
        await self.topics.keep_secret("signing-key", signing_key())
        self.queues = await QueueStore.open(self.folder / "queues.db", self.clock)
        self.sqs = SqsService(self.queues)
        senders = Senders(
            Signer(self.topics), self, self.enqueue, cast(FunctionResolver, self), self.folder / "mail", may_send
        )
        self.deliverer = Deliverer(self.topics, senders, self.clock)
        self.service = SnsService(self.topics, self.deliverer.wake)
        await self.deliverer.start()

    async def end(self) -> None:
        await self.deliverer.close()
        await self.topics.close()
        await self.queues.close()

    async def sns(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> dict[str, Any]:
        return await self.service.operations[operation](context(account_id), members)

    async def refused(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> tuple[str, str]:
        """Code and message."""
        with pytest.raises(AwsError) as caught:
            await self.sns(operation, account_id, **members)
        return caught.value.code, caught.value.message

    async def topic(self, name: str = "t", **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes = {"FifoTopic": "true", **attributes}
        arn: str = (await self.sns("CreateTopic", Name=name, Attributes=attributes))["TopicArn"]
        return arn

    async def queue(self, name: str = "q", **attributes: str) -> str:
        """Its ARN."""
        if name.endswith(".fifo"):
            attributes = {"FifoQueue": "true", **attributes}
        await self.sqs.operations["CreateQueue"](context(), {"QueueName": name, "Attributes": attributes})
        return queue_arn(name)

    async def subscribe(self, topic: str, protocol: str, endpoint: str, **attributes: str) -> str:
        answer = await self.sns(
            "Subscribe", TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes,
            ReturnSubscriptionArn=True,
        )  # fmt: skip
        arn: str = answer["SubscriptionArn"]
        return arn

    async def received(self, name: str = "q", count: int = 1) -> list[dict[str, Any]]:
        """Messages of a queue, as soon as there are so many; they are deleted."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(SOON_S):
            while len(found) < count:
                members = {
                    "QueueUrl": name, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"],
                    "AttributeNames": ["All"],
                }  # fmt: skip
                answer = await self.sqs.operations["ReceiveMessage"](context(), members)
                for message in answer.get("Messages", []):
                    found.append(message)
                    handle = {"QueueUrl": name, "ReceiptHandle": message["ReceiptHandle"]}
                    await self.sqs.operations["DeleteMessage"](context(), handle)
                await asyncio.sleep(0.002)
        return found

    async def bodies(self, name: str = "q", count: int = 1) -> list[dict[str, Any]]:
        return [json.loads(message["Body"]) for message in await self.received(name, count)]

    async def idle(self) -> None:
        """Returns when nothing is owed to anybody."""
        await self.until(lambda: not self.deliverer._alarms)
        assert await self.topics.lanes() == []

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(SOON_S):
            while not condition():
                await asyncio.sleep(0.002)


@attrs.define
class Endpoint:
    """A web server that gives the answers that it was told, then 200."""

    url: str = ""
    statuses: list[int] = attrs.field(factory=list)
    requests: list[tuple[dict[str, str], bytes]] = attrs.field(factory=list)
    _server: asyncio.Server | None = None

    async def begin(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/news?a=b"

    async def end(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        headers[":path"] = first.split()[1]
        self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()
