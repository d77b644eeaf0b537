"""Limits of concurrency, held against invocations that really run at the same time, and environments that are there before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer, running, until

SLEEPER = """
    import os, time
    imported_at = time.time()

    def handler(event, context):
        time.sleep(event.get("sleep_s", 0))
        if event.get("end"):
            os._exit(1)
        return {"how": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "imported_at": imported_at}
"""


def at_once(server: LiveServer, name: str, events: Sequence[dict[str, Any]], **members: Any) -> list[Any]:
    """What came of invocations that were begun together: the decoded payload, or the error."""

    def invoke(event: dict[str, Any]) -> Any:
        try:
            answer = server.client().invoke(FunctionName=name, Payload=json.dumps(event), **members)
        except ClientError as error:
            return error
        return json.loads(answer["Payload"].read())

    server.client()
    with ThreadPoolExecutor(len(events)) as threads:
        return list(threads.map(invoke, events))


def throttles(outcomes: Sequence[Any]) -> list[ClientError]:
    return [outcome for outcome in outcomes if isinstance(outcome, ClientError)]


def check_throttle(error: ClientError, reason: str) -> None:
    response: Any = error.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Error"] == {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
    assert (response["Reason"], response["Type"]) == (reason, "User")
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"


def test_a_function_runs_as_often_at_once_as_it_has_reserved(live: LiveServer) -> None:
    name = live.create(SLEEPER)
    live.client().put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    outcomes = at_once(live, name, [{"sleep_s": 1.0}] * 3)
    refused = throttles(outcomes)
    assert len(refused) == 2, outcomes
    for error in refused:
        check_throttle(error, "ReservedFunctionConcurrentInvocationLimitExceeded")
    assert throttles(at_once(live, name, [{}])) == []
    live.client().delete_function_concurrency(FunctionName=name)
    assert throttles(at_once(live, name, [{"sleep_s": 0.3}] * 3)) == []


def test_a_function_that_reserves_nothing_is_stopped(live: LiveServer) -> None:
    name = live.create(SLEEPER)
    live.client().put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    (error,) = throttles(at_once(live, name, [{}]))
    check_throttle(error, "ReservedFunctionConcurrentInvocationLimitExceeded")


def test_an_account_runs_as_much_at_once_as_the_server_is_told(tmp_path: Path) -> None:
    config = tmp_path / "lambent.toml"
    config.write_text("account_concurrency = 2\n")
    with running(tmp_path / "data", "--config", str(config)) as server:
        limits = server.client().get_account_settings()["AccountLimit"]
        assert (limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]) == (2, 2)
        name = server.create(SLEEPER)
        (error,) = throttles(at_once(server, name, [{"sleep_s": 1.5}] * 3))
        check_throttle(error, "ConcurrentInvocationLimitExceeded")


def status(server: LiveServer, name: str, qualifier: str) -> dict[str, Any]:
    answer: dict[str, Any] = server.client().get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    return answer


def until_status(server: LiveServer, name: str, qualifier: str, wanted: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        answer = status(server, name, qualifier)
        return answer if answer["Status"] == wanted else None

    return until(reached, 30.0)


@pytest.fixture
def provisioned(live: LiveServer) -> str:
    """A function whose alias `live` has two environments provisioned."""
    name = live.create(SLEEPER)
    client = live.client()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    made = client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=2
    )
    assert made["Status"] == "IN_PROGRESS"
    ready = until_status(live, name, "live", "READY")
    assert ready["AvailableProvisionedConcurrentExecutions"] == ready["AllocatedProvisionedConcurrentExecutions"] == 2
    return name


def test_provisioned_environments_are_there_before_they_are_asked_for(live: LiveServer, provisioned: str) -> None:
    outcomes = at_once(live, provisioned, [{"sleep_s": 1.0}] * 3, Qualifier="live")
    assert sorted(outcome["how"] for outcome in outcomes) == [
        "on-demand", "provisioned-concurrency", "provisioned-concurrency",
    ], outcomes  # fmt: skip
    ahead = [outcome["imported_at"] for outcome in outcomes if outcome["how"] != "on-demand"]
    behind = [outcome["imported_at"] for outcome in outcomes if outcome["how"] == "on-demand"]
    assert max(ahead) < min(behind)


def test_a_provisioned_environment_that_ends_is_replaced(live: LiveServer, provisioned: str) -> None:
    at_once(live, provisioned, [{"end": True}, {"end": True}], Qualifier="live")
    until_status(live, provisioned, "live", "READY")
    outcomes = at_once(live, provisioned, [{"sleep_s": 0.5}] * 2, Qualifier="live")
    assert {outcome["how"] for outcome in outcomes} == {"provisioned-concurrency"}


def test_what_is_not_wanted_any_more_is_ended(live: LiveServer, provisioned: str) -> None:
    client = live.client()
    client.put_provisioned_concurrency_config(
        FunctionName=provisioned, Qualifier="live", ProvisionedConcurrentExecutions=1
    )
    until_status(live, provisioned, "live", "READY")
    outcomes = at_once(live, provisioned, [{"sleep_s": 0.5}] * 2, Qualifier="live")
    assert sorted(outcome["how"] for outcome in outcomes) == ["on-demand", "provisioned-concurrency"]
    client.delete_provisioned_concurrency_config(FunctionName=provisioned, Qualifier="live")
    (outcome,) = at_once(live, provisioned, [{}], Qualifier="live")
    assert outcome["how"] == "on-demand"


def test_an_alias_takes_its_environments_along(live: LiveServer, provisioned: str) -> None:
    client = live.client()
    client.update_function_configuration(FunctionName=provisioned, Timeout=5)
    live.until_ready(provisioned)
    client.publish_version(FunctionName=provisioned)
    client.update_alias(FunctionName=provisioned, Name="live", FunctionVersion="2")
    ready = until_status(live, provisioned, "live", "READY")
    assert ready["AvailableProvisionedConcurrentExecutions"] == 2
    outcomes = at_once(live, provisioned, [{"sleep_s": 0.5}] * 2, Qualifier="2")
    assert {outcome["how"] for outcome in outcomes} == {"provisioned-concurrency"}
    (outcome,) = at_once(live, provisioned, [{}], Qualifier="1")
    assert outcome["how"] == "on-demand"


def test_a_function_whose_init_fails_cannot_be_provisioned(live: LiveServer) -> None:
    name = live.create("raise RuntimeError('no')")
    live.client().publish_version(FunctionName=name)
    live.client().put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    failed = until_status(live, name, "1", "FAILED")
    assert failed["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert failed["AvailableProvisionedConcurrentExecutions"] == 0


@pytest.mark.long
def test_a_provisioned_environment_may_take_longer_to_initialise(live: LiveServer) -> None:
    name = live.create("import time\ntime.sleep(12)\n" + SLEEPER.replace("\n    ", "\n"))
    live.client().publish_version(FunctionName=name)
    live.client().put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    until_status(live, name, "1", "READY")
    (outcome,) = at_once(live, name, [{}], Qualifier="1")
    assert outcome["how"] == "provisioned-concurrency"
