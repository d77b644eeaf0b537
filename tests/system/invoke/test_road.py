"""What AWS promises of an invocation, kept with real processes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.model.errors import AwsError


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_a_function_answers_and_its_environment_is_used_again(road: Any) -> None:
    road.define("echo", "import os\ndef handle(event, request_id): return [event, os.getpid()]")
    first = await road.invoke("echo", b'{"a": 1}')
    second = await road.invoke("echo", b'{"a": 2}')
    assert first.function_error is None
    event, pid = json.loads(first.payload)
    assert event == {"a": 1}
    assert json.loads(second.payload) == [{"a": 2}, pid]
    assert first.executed_version == "$LATEST"


async def test_start_end_and_report_frame_what_the_function_prints(road: Any) -> None:
    road.define("talk", "def handle(event, request_id): print('hello', flush=True)")
    outcome = await road.invoke("talk", want_log_tail=True)
    tail = outcome.log_tail.decode().splitlines()
    assert tail[0] == f"START RequestId: {outcome.request_id} Version: $LATEST"
    assert tail[1] == "hello"
    assert tail[2] == f"END RequestId: {outcome.request_id}"
    assert re.fullmatch(
        rf"REPORT RequestId: {outcome.request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\t",
        tail[3],
    )
    second = await road.invoke("talk", want_log_tail=True)
    assert "Init Duration" not in second.log_tail.decode()


async def test_requests_at_once_run_at_once_each_in_its_own_environment(road: Any, tmp_path: Path) -> None:
    """Each answers only when all three run."""
    met = tmp_path / "met"
    met.mkdir()
    code = f"""
        def handle(event, request_id):
            open(os.path.join({str(met)!r}, str(os.getpid())), "w").close()
            while len(os.listdir({str(met)!r})) < 3:
                time.sleep(0.01)
            return os.getpid()
    """
    road.define("together", code, timeout_s=60)
    outcomes = await asyncio.gather(*(road.invoke("together") for _ in range(3)))
    assert len({outcome.payload for outcome in outcomes}) == 3


async def test_a_function_error_is_an_outcome(road: Any) -> None:
    road.define("bad", "def handle(event, request_id): raise ValueError('no')")
    outcome = await road.invoke("bad")
    assert outcome.function_error == "Unhandled"
    assert json.loads(outcome.payload) == {"errorType": "ValueError", "errorMessage": "no"}


async def test_a_timeout_ends_the_environment_and_says_so(road: Any) -> None:
    road.define("sleepy", "def handle(event, request_id): time.sleep(event['s'])", timeout_s=1)
    outcome = await road.invoke("sleepy", b'{"s": 60}', want_log_tail=True)
    assert outcome.function_error == "Unhandled"
    error = json.loads(outcome.payload)
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"] == f"RequestId: {outcome.request_id} Error: Task timed out after 1.00 seconds"
    assert f"{outcome.request_id} Task timed out after 1.00 seconds" in outcome.log_tail.decode()
    assert "Status: timeout" in outcome.log_tail.decode()
    await until(lambda: not road.environments("sleepy"))
    assert (await road.invoke("sleepy", b'{"s": 0}')).function_error is None


async def test_a_runtime_that_exits_is_reported_and_replaced(road: Any) -> None:
    road.define("quit", "def handle(event, request_id): os._exit(event) if event else 0")
    outcome = await road.invoke("quit", b"3", want_log_tail=True)
    assert json.loads(outcome.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {outcome.request_id} Error: Runtime exited with error: exit status 3",
    }
    assert "Status: error\tError Type: Runtime.ExitError" in outcome.log_tail.decode()
    assert (await road.invoke("quit", b"0")).function_error is None


async def test_a_runtime_that_dies_between_invocations_is_replaced_unnoticed(road: Any) -> None:
    road.define("mortal", "def handle(event, request_id): return os.getpid()")
    first = await road.invoke("mortal")
    [environment] = road.environments("mortal")
    import os

    os.kill(int(first.payload), 9)
    await until(lambda: not environment.usable)
    second = await road.invoke("mortal")
    assert second.function_error is None
    assert second.payload != first.payload


async def test_an_init_that_fails_runs_again_inside_the_first_invocation(road: Any) -> None:
    road.define("broken", "print('init code', flush=True)\nsys.exit(7)")
    outcome = await road.invoke("broken", want_log_tail=True)
    assert json.loads(outcome.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {outcome.request_id} Error: Runtime exited with error: exit status 7",
    }
    assert road.log.lines.count("init code") == 2
    assert any("INIT_REPORT" in line and "Phase: init" in line for line in road.log.lines)
    assert any("INIT_REPORT" in line and "Phase: invoke" in line for line in road.log.lines)


async def test_an_updated_function_leaves_its_old_environments_behind(road: Any) -> None:
    road.define("changing", "def handle(event, request_id): return 1")
    assert (await road.invoke("changing")).payload == b"1"
    [old] = road.environments("changing")
    road.define("changing", "def handle(event, request_id): return 2")
    assert (await road.invoke("changing")).payload == b"2"
    await until(lambda: not old.usable)


async def test_an_unknown_function_is_refused(road: Any) -> None:
    with pytest.raises(AwsError) as caught:
        await road.invoke("nobody")
    assert caught.value.code == "ResourceNotFoundException"


async def test_six_megabytes_travel_both_ways_and_seven_are_refused(road: Any) -> None:
    road.define("big", "def handle(event, request_id): return 'x' * event if isinstance(event, int) else len(event)")
    payload = json.dumps("y" * (6 * 1024 * 1024 - 2)).encode()
    assert (await road.invoke("big", payload)).payload == str(6 * 1024 * 1024 - 2).encode()
    six = await road.invoke("big", str(6 * 1024 * 1024 - 2).encode())
    assert six.function_error is None
    assert len(six.payload) == 6 * 1024 * 1024
    seven = await road.invoke("big", str(7 * 1024 * 1024).encode())
    assert json.loads(seven.payload)["errorType"] == "Function.ResponseSizeTooLarge"
    assert (await road.invoke("big", b"1")).payload == b'"x"'


async def test_an_idle_environment_is_reaped(road: Any) -> None:
    road.pools._idle_environment_s = 0.1
    road.define("brief", "def handle(event, request_id): return 1")
    await road.invoke("brief")
    await until(lambda: not road.environments("brief"))


async def test_a_caller_that_goes_away_does_not_end_the_function(road: Any) -> None:
    road.define("patient", "def handle(event, request_id):\n    time.sleep(0.5)\n    print('finished', flush=True)")
    call = asyncio.create_task(road.invoke("patient"))
    await until(lambda: any(line.startswith("START") for line in road.log.lines))
    call.cancel()
    await until(lambda: any(line.startswith("REPORT") for line in road.log.lines))
    assert "finished" in road.log.lines
    assert (await road.invoke("patient")).function_error is None
    assert len(road.environments("patient")) == 1


async def test_the_store_keeps_what_live_environments_show_and_no_more(road: Any) -> None:
    code = "def handle(event, request_id): return 1"
    first = road.define("shown", code)
    await road.invoke("shown")
    assert road.pools.directories() == {Path(first.code_digest)}
    second = road.define("shown", code)
    await road.invoke("shown")
    await until(lambda: road.pools.directories() == {Path(second.code_digest)})


async def test_an_environment_that_is_too_old_is_replaced(ageing_road: Any) -> None:
    ageing_road.define("echo", "import os\ndef handle(event, request_id): return os.getpid()")
    first = await ageing_road.invoke("echo")
    (environment,) = ageing_road.environments("echo")
    await until(lambda: environment.expired)
    assert (await ageing_road.invoke("echo")).payload != first.payload


async def test_callers_who_wait_for_one_that_grew_too_old_are_served_all_the_same(ageing_road: Any) -> None:
    ageing_road.define("slow", "def handle(event, request_id):\n    time.sleep(0.2)\n    return 1")
    outcomes = await asyncio.gather(*(ageing_road.invoke("slow") for _ in range(4)))
    again = await asyncio.gather(*(ageing_road.invoke("slow") for _ in range(4)))
    assert [outcome.payload for outcome in [*outcomes, *again]] == [b"1"] * 8
