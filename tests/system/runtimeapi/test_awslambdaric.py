"""AWS's own Python runtime client, unchanged, against this Runtime API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lambent.runtimeapi.logframes import FrameDecoder
from lambent.runtimeapi.values import InitFailed, RuntimeCall

CLIENT = "awslambdaric==4.2.2"
HANDLERS = """
import logging

def echo(event, context):
    logging.getLogger().warning("said\\nin two lines")
    return {
        "event": event,
        "request": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "tenant": context.tenant_id,
        "app": context.client_context.client.app_title if context.client_context else None,
        "identity": context.identity.cognito_identity_id,
        "left": context.get_remaining_time_in_millis(),
    }

def fail(event, context):
    raise ValueError("no good")

def large(event, context):
    return "x" * (7 * 1024 * 1024)
"""


@pytest.fixture(scope="session")
def ric_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with AWS's client, and nothing of this project's."""
    directory = tmp_path_factory.mktemp("awslambdaric")
    options = ["-q", "--only-binary=:all:", "--retries=1", "--disable-pip-version-check", f"--target={directory}"]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *options, CLIENT], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"{CLIENT} cannot be installed here: {done.stderr[-300:]}")
    return directory


class Function:
    """AWS's client with one handler, in a process of its own; what it logs is decoded frames."""

    def __init__(self, world: Any, process: asyncio.subprocess.Process, log_fd: int) -> None:
        self.world = world
        self.process = process
        self._log_fd = log_fd
        self._decoder = FrameDecoder()

    async def invoke(self, payload: bytes, **more: Any) -> Any:
        call = RuntimeCall(
            request_id="8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            deadline_ms=int(time.time() * 1000) + 5_000,
            invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:sample:live",
            payload=payload,
            **more,
        )
        pending = self.world.api.invoke(call)
        response = await pending
        await pending.runtime_done()
        return response

    def logged(self) -> list[str]:
        return [record.text for record in self._decoder.feed(os.read(self._log_fd, 65_536))]

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()
        os.close(self._log_fd)


@pytest_asyncio.fixture
async def start(world: Any, ric_directory: Path, tmp_path: Path) -> AsyncIterator[Callable[[str], Any]]:
    functions: list[Function] = []

    async def begin(handler: str) -> Function:
        (tmp_path / "app.py").write_text(HANDLERS)
        log_fd, inner_fd = os.pipe()
        os.set_blocking(log_fd, False)
        environment = {
            "AWS_LAMBDA_RUNTIME_API": world.address,
            "PYTHONPATH": str(ric_directory),
            "LAMBDA_TASK_ROOT": str(tmp_path),
            "_HANDLER": handler,
            "_LAMBDA_TELEMETRY_LOG_FD": str(inner_fd),
            "AWS_LAMBDA_FUNCTION_NAME": "sample",
            "AWS_LAMBDA_FUNCTION_VERSION": "7",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-m", "awslambdaric", handler, cwd=tmp_path, env=environment, pass_fds=(inner_fd,)
        )
        os.close(inner_fd)
        functions.append(Function(world, process, log_fd))
        return functions[-1]

    yield begin
    for function in functions:
        await function.end()


async def test_it_serves_one_event_after_another(start: Any) -> None:
    function = await start("app.echo")
    await function.world.api.initialised()
    first = await function.invoke(
        '{"key":"é"}'.encode(),
        client_context='{"client": {"app_title": "mine"}}',
        cognito_identity='{"cognitoIdentityId":"who","cognitoIdentityPoolId":"where"}',
        tenant_id="blue",
    )
    assert first.error is None
    answer = json.loads(first.payload)
    assert 0 < answer.pop("left") <= 5_000
    assert answer == {
        "event": {"key": "é"},
        "request": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:sample:live",
        "tenant": "blue",
        "app": "mine",
        "identity": "who",
    }
    (line,) = function.logged()
    assert line.startswith("[WARNING]")
    assert line.endswith("8476a536-e9f4-11e8-9739-2dfe598c3fcd\tsaid\nin two lines")
    assert json.loads((await function.invoke(b"[2]")).payload)["event"] == [2]


async def test_an_exception_is_an_error_and_the_environment_goes_on(start: Any) -> None:
    function = await start("app.fail")
    await function.world.api.initialised()
    for _ in range(2):
        response = await function.invoke(b"{}")
        assert response.error is not None
        posted = json.loads(response.error.payload)
        assert (posted["errorMessage"], posted["errorType"]) == ("no good", "ValueError")
        assert posted["stackTrace"]


async def test_seven_megabytes_are_too_large(start: Any) -> None:
    function = await start("app.large")
    await function.world.api.initialised()
    call = RuntimeCall(
        request_id="8476a536-e9f4-11e8-9739-2dfe598c3fcd", deadline_ms=1, invoked_function_arn="a", payload=b"{}"
    )
    response = await function.world.api.invoke(call)
    assert response.error is not None
    assert response.error.error_type == "Function.ResponseSizeTooLarge"


async def test_a_handler_that_cannot_be_imported_is_an_init_error(start: Any) -> None:
    function = await start("missing.handler")
    with pytest.raises(InitFailed) as failed:
        await function.world.api.initialised()
    assert failed.value.error_type == "Runtime.ImportModuleError"
    assert "No module named 'missing'" in json.loads(failed.value.payload)["errorMessage"]
