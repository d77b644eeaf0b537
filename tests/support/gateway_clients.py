"""boto3 and the AWS CLI in front of a gateway in this process: its services are real, and no function is behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any

import attrs
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from aws_cli import aws_cli
from invoking import NoRoad
from lambent import ports
from lambent.front.gateway import Gateway
from lambent.http1.server import Server

ACCOUNT, REGION = "111122223333", "eu-west-1"


@contextlib.asynccontextmanager
async def served(services: Iterable[ports.Service]) -> AsyncIterator[str]:
    """The gateway's address."""
    gateway = Gateway(services, NoRoad())
    server = Server(gateway)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    await server.serve(listener)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.close()
        await gateway.close()


def client_of(service: str, url: str, **settings: Any) -> Any:
    """A boto3 client that asks once."""
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=ACCOUNT, aws_secret_access_key="x",
        config=Config(retries={"max_attempts": 0}, **settings),
    )  # fmt: skip


async def aws(url: str, *arguments: str) -> tuple[int, Any, str]:
    """Exit status, its answer, standard error."""
    done = await asyncio.to_thread(
        aws_cli, "--endpoint-url", url, "--output", "json", *arguments,
        AWS_ACCESS_KEY_ID=ACCOUNT, AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION=REGION,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


@attrs.define
class ServiceClients:
    """The clients of one service."""

    url: str
    service: str
    client: Any  # boto3's

    async def boto3(self, operation: str, **members: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self.client, operation), **members)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    async def refused(self, operation: str, **members: Any) -> ClientError:
        with pytest.raises(ClientError) as caught:
            await self.boto3(operation, **members)
        return caught.value

    async def aws(self, *arguments: str) -> tuple[int, Any, str]:
        """The AWS CLI: exit status, its answer, standard error."""
        return await aws(self.url, self.service, *arguments)
