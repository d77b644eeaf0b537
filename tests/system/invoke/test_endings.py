"""Environments that end while something else happens: nobody waits in vain, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.model.errors import AwsError
from lambent.model.function import LayerReference

PROMPT_S = 5.0  # far below the limits that would end the wait otherwise
EXTENSION = "#!/bin/sh\nexec sleep 1000\n"
# A runtime that answers by itself, and then does something before it asks for the next event.
ANSWER = """
def answer(request_id):
    ask("POST", f"invocation/{request_id}/response", '"answered"')
"""
REGISTER = """
connection.request("POST", "/2020-01-01/extension/register", '{"events":[]}', {"Lambda-Extension-Name": "inner"})
me = connection.getresponse()
me.read()
def wait_as_extension():
    other = http.client.HTTPConnection(host)
    header = {"Lambda-Extension-Identifier": me.headers["Lambda-Extension-Identifier"]}
    other.request("GET", "/2020-01-01/extension/event/next", headers=header)
    other.getresponse()
import threading
threading.Thread(target=wait_as_extension, daemon=True).start()
"""
NAPPER = """
import signal
def nap(*_):
    print("terminated", flush=True)
    time.sleep(5)
    print("slept", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, nap)
def handle(event, request_id): return os.getpid()
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def started(road: Any) -> bool:
    return any(line.startswith("START") for line in road.log.lines)


async def test_an_answer_counts_although_the_runtime_ends_right_after_it(road: Any) -> None:
    road.define("last", ANSWER + "def handle(event, request_id):\n    answer(request_id)\n    os._exit(4)")
    for log_type_tail in (False, True):
        outcome = await road.invoke("last", want_log_tail=log_type_tail)
        assert (outcome.payload, outcome.function_error) == (b'"answered"', None)
        await until(lambda: not road.environments("last"))
    reports = [line for line in road.log.lines if line.startswith("REPORT")]
    assert len(reports) == 2
    assert all("Error Type: Runtime.ExitError" in report and "Init Duration" in report for report in reports)


async def test_a_runtime_that_ends_in_the_moment_it_is_ready_is_noticed(road: Any) -> None:
    road.define("brief", 'connection.request("GET", "/2018-06-01/runtime/invocation/next")\nos._exit(3)', timeout_s=60)
    began = time.monotonic()
    outcome = await road.invoke("brief")
    assert json.loads(outcome.payload)["errorType"] == "Runtime.ExitError"
    assert time.monotonic() - began < PROMPT_S


async def test_a_caller_who_goes_away_while_the_log_tail_is_awaited_ends_nothing(road: Any) -> None:
    road.define("slow", ANSWER + "def handle(event, request_id):\n    answer(request_id)\n    time.sleep(0.5)")
    call = asyncio.create_task(road.invoke("slow", want_log_tail=True))
    await until(lambda: started(road))
    [environment] = road.environments("slow")
    await until(lambda: environment.finishing)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: any(line.startswith("REPORT") for line in road.log.lines))
    assert road.environments("slow") == [environment]
    assert environment.usable


async def test_what_a_runtime_posts_under_the_platforms_name_is_passed_on(road: Any) -> None:
    code = """
        headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ExitError"}
        ask("POST", "init/error", b"no JSON", headers)
    """
    road.define("liar", code)
    outcome = await road.invoke("liar")
    assert (outcome.function_error, outcome.payload) == ("Unhandled", b"no JSON")
    await until(lambda: not road.environments("liar"))


async def test_a_server_that_ends_tells_those_who_wait(road: Any) -> None:
    road.define("busy", "def handle(event, request_id): time.sleep(60)", timeout_s=100)
    road.define("starting", "time.sleep(60)", timeout_s=100)
    calls = [asyncio.create_task(road.invoke(name)) for name in ("busy", "starting")]
    await until(lambda: started(road) and len(road.environments("starting")) == 1)
    began = time.monotonic()
    await road.pools.close()
    for call in calls:
        with pytest.raises(AwsError) as refused:
            await call
        assert refused.value.code == "ServiceException"
    with pytest.raises(AwsError):
        await road.invoke("busy")
    assert road.pools.environments == []
    assert time.monotonic() - began < PROMPT_S


async def test_a_server_may_end_while_an_init_is_tried_again(road: Any, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
        with open({str(pids)!r}, "a") as file:
            print(os.getpid(), file=file)
        if len(open({str(pids)!r}).readlines()) == 1:
            sys.exit(1)
        time.sleep(60)
    """
    road.define("second", code, timeout_s=100)
    call = asyncio.create_task(road.invoke("second"))
    await until(lambda: pids.exists() and len(pids.read_text().splitlines()) == 2)
    began = time.monotonic()
    await road.pools.close()
    with pytest.raises(AwsError):
        await call
    assert time.monotonic() - began < PROMPT_S
    assert not [pid for pid in pids.read_text().split() if is_alive(int(pid))]


async def test_an_environment_that_dies_while_idle_leaves_nothing(road: Any) -> None:
    road.define("mortal", "def handle(event, request_id): return os.getpid()")
    outcome = await road.invoke("mortal")
    os.kill(int(outcome.payload), 9)
    await until(lambda: not road.environments("mortal"))
    assert road.pools.directories() == set()


async def test_init_has_a_limit_and_then_the_invocations_own(impatient_road: Any, tmp_path: Path) -> None:
    """The extension never registers; AWS's limit of ten seconds is shortened here."""
    road = impatient_road
    (tmp_path / "layer" / "extensions").mkdir(parents=True)
    extension = tmp_path / "layer" / "extensions" / "silent"
    extension.write_text(EXTENSION)
    extension.chmod(0o755)
    layer = LayerReference(arn="a", code_sha256="", code_size_bytes=0, digest=str(tmp_path / "layer"))
    road.define("waiting", "def handle(event, request_id): return 1", layers=(layer,), timeout_s=1)
    outcome = await road.invoke("waiting")
    error = json.loads(outcome.payload)
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"] == f"RequestId: {outcome.request_id} Error: Task timed out after 1.00 seconds"
    inits = [line for line in road.log.lines if line.startswith("INIT_REPORT")]
    assert ["Phase: init\tStatus: timeout" in line for line in inits] == [True, False]
    assert "Phase: invoke\tStatus: timeout" in inits[1]


async def test_without_extensions_a_runtime_is_ended_at_once(road: Any) -> None:
    road.define("napper", NAPPER)
    pid = int((await road.invoke("napper")).payload)
    road.define("napper", NAPPER)  # a new version: the old one's environment ends
    await until(lambda: not is_alive(pid))
    assert "terminated" not in road.log.lines


async def test_with_an_internal_extension_a_runtime_has_half_a_second(road: Any) -> None:
    road.define("napper", REGISTER + NAPPER)
    pid = int((await road.invoke("napper")).payload)
    began = time.monotonic()
    road.define("napper", NAPPER)
    await until(lambda: not is_alive(pid))
    assert 0.4 < time.monotonic() - began < 4.0  # less than its nap
    assert "terminated" in road.log.lines
    assert "slept" not in road.log.lines


async def test_no_environment_serves_two_tenants(road: Any) -> None:
    isolated = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}
    road.define("shared", "def handle(event, request_id): return os.getpid()", extra=isolated)
    pids = [(await road.invoke("shared", tenant_id=tenant)).payload for tenant in ("blue", "green", "blue")]
    assert pids[0] == pids[2] != pids[1]
    with pytest.raises(AwsError, match="Add a valid tenant ID"):
        await road.invoke("shared")
    road.define("plain", "def handle(event, request_id): return 1")
    with pytest.raises(AwsError, match="Remove the tenant ID"):
        await road.invoke("plain", tenant_id="blue")
