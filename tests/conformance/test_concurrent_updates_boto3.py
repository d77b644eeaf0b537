"""Sixteen real clients change one function at the same time: who wins wins whole, and the others are told."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from control_harness import ROLE, Control, zipped
from lambent.front.gateway import Gateway
from lambent.http1.server import Server
from lambent.model.invocation import Invocation, Outcome

CLIENTS = 16
IN_PROGRESS = "The operation cannot be performed at this time. An update is in progress for resource: {}"


class NoRoad:
    async def invoke(self, invocation: Invocation) -> Outcome:
        raise AssertionError("nothing is invoked here")

    def start(self, invocation: Invocation, done: Any) -> None:
        raise AssertionError("nothing is invoked here")


def a_client(url: str) -> Any:
    return boto3.client(
        "lambda", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="123456789012",
        aws_secret_access_key="anything", config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[list[Any]]:
    control = Control(tmp_path)
    control.start_reconciling()
    gateway = Gateway([control.service], NoRoad(), control.catalog)
    server = Server(gateway)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.serve(listener)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    made = await asyncio.to_thread(lambda: [a_client(url) for _ in range(CLIENTS)])
    yield made
    for client in made:
        client.close()
    server.close()
    await gateway.close()
    await control.close()


def all_at_once(clients: list[Any], change: Any) -> list[Any]:
    """What each client was answered, or the error; all begin at one moment."""
    barrier = threading.Barrier(len(clients))

    def one(number: int) -> Any:
        barrier.wait()
        try:
            return change(clients[number], number)
        except ClientError as error:
            return error

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(one, range(len(clients))))


def check_conflicts(results: list[Any], arn: str) -> list[dict[str, Any]]:
    """The winners' answers; everybody else was told that an update is in progress."""
    for error in results:
        if isinstance(error, ClientError):
            assert error.response["Error"]["Code"] == "ResourceConflictException"
            assert error.response["Error"]["Message"] == IN_PROGRESS.format(arn)
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    winners = [result for result in results if isinstance(result, dict)]
    assert winners
    return winners


def create(client: Any, **members: Any) -> str:
    created = client.create_function(
        FunctionName="f", Runtime="python3.13", Handler="app.handler", Role=ROLE, Code={"ZipFile": zipped(app="0")}, **members
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
    arn: str = created["FunctionArn"]
    return arn


async def test_of_concurrent_configurations_one_is_there_whole(clients: list[Any]) -> None:
    def scenario() -> None:
        arn = create(clients[0])

        def change(client: Any, number: int) -> Any:
            return client.update_function_configuration(
                FunctionName="f", Description=str(number), Timeout=number + 1, MemorySize=128 + number,
                Environment={"Variables": {"NUMBER": str(number)}},
            )  # fmt: skip

        winners = check_conflicts(all_at_once(clients, change), arn)
        clients[0].get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
        found = clients[0].get_function_configuration(FunctionName="f")
        number = int(found["Description"])
        assert found["Description"] in {winner["Description"] for winner in winners}
        assert (found["Timeout"], found["MemorySize"]) == (number + 1, 128 + number)
        assert found["Environment"]["Variables"] == {"NUMBER": str(number)}

    await asyncio.to_thread(scenario)


async def test_with_a_revision_exactly_one_of_sixteen_changes_the_function(clients: list[Any]) -> None:
    def scenario() -> None:
        create(clients[0])
        before = clients[0].get_function_configuration(FunctionName="f")
        code = {number: zipped(app=str(number)) for number in range(CLIENTS)}

        def change(client: Any, number: int) -> Any:
            return client.update_function_code(
                FunctionName="f", ZipFile=code[number], Publish=True, RevisionId=before["RevisionId"]
            )

        results = all_at_once(clients, change)
        (won,) = [result for result in results if isinstance(result, dict)]
        codes = {error.response["Error"]["Code"] for error in results if isinstance(error, ClientError)}
        assert codes <= {"PreconditionFailedException", "ResourceConflictException"}
        clients[0].get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
        versions = clients[0].list_versions_by_function(FunctionName="f")["Versions"]
        assert [version["Version"] for version in versions] == ["$LATEST", "1"]
        assert {version["CodeSha256"] for version in versions} == {won["CodeSha256"]}

    await asyncio.to_thread(scenario)


async def test_of_sixteen_creations_of_one_name_one_is_made(clients: list[Any]) -> None:
    def change(client: Any, number: int) -> Any:
        return client.create_function(
            FunctionName="f", Runtime="python3.13", Handler="app.handler", Role=ROLE, Description=str(number),
            Code={"ZipFile": zipped(app=str(number))},
        )  # fmt: skip

    def scenario() -> None:
        results = all_at_once(clients, change)
        (won,) = [result for result in results if isinstance(result, dict)]
        messages = {e.response["Error"]["Message"] for e in results if isinstance(e, ClientError)}
        assert messages == {"Function already exist: f"}
        found = clients[0].get_function_configuration(FunctionName="f")
        assert {n: found[n] for n in ("Description", "CodeSha256")} == {
            n: won[n] for n in ("Description", "CodeSha256")
        }

    await asyncio.to_thread(scenario)
