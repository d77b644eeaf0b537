"""Application Auto Scaling on a real server whose clock is turned: provisioned environments follow load and the clock."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from live_server import LiveServer, running, start, until

HOLD = """
    import os, pathlib, time

    def handler(event, context):
        time.sleep(event.get("sleep_s", 0))
        return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
DIMENSION = "lambda:function:ProvisionedConcurrency"
TRACKING = {
    "TargetValue": 0.5,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"},
}
AHEAD, ON_DEMAND = "provisioned-concurrency", "on-demand"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("scaling") / "data", "--virtual-clock") as server:
        yield server


@attrs.define
class Scaled:
    """A function whose alias `live` is a scalable target."""

    server: LiveServer
    name: str

    @property
    def scaling(self) -> Any:
        return self.server.client("application-autoscaling")

    @property
    def target(self) -> dict[str, str]:
        return {
            "ServiceNamespace": "lambda", "ResourceId": f"function:{self.name}:live", "ScalableDimension": DIMENSION,
        }  # fmt: skip

    def register(self, least: int, most: int, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.scaling.register_scalable_target(
            **self.target, MinCapacity=least, MaxCapacity=most, **more
        )
        return answer

    def track(self, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.scaling.put_scaling_policy(
            **self.target, PolicyName="half", PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={**TRACKING, **more},
        )  # fmt: skip
        return answer

    def schedule(self, name: str, expression: str, **members: Any) -> None:
        self.scaling.put_scheduled_action(
            **self.target, ScheduledActionName=name, Schedule=expression, ScalableTargetAction=members
        )

    @property
    def capacity(self) -> int:
        """Environments that are asked for and there; -1 while not all of them are."""
        configs = self.server.client().list_provisioned_concurrency_configs(FunctionName=self.name)
        for found in configs["ProvisionedConcurrencyConfigs"]:
            return int(found["RequestedProvisionedConcurrentExecutions"]) if found["Status"] == "READY" else -1
        return 0

    def until_capacity(self, wanted: int) -> None:
        until(lambda: self.capacity == wanted, 30.0)

    def activities(self, **more: Any) -> list[dict[str, Any]]:
        """All of them done, the newest first."""

        def done() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = self.scaling.describe_scaling_activities(
                ServiceNamespace="lambda", ResourceId=self.target["ResourceId"], **more
            )["ScalingActivities"]
            return None if any(each["StatusCode"] == "InProgress" for each in found) else found

        return until(done)

    @contextmanager
    def busy(self, count: int, seconds: float = 0.5) -> Iterator[list[Future[Any]]]:
        """So many invocations at work."""
        client = self.server.client()

        def invoke() -> Any:
            payload = json.dumps({"sleep_s": seconds})
            return json.loads(
                client.invoke(FunctionName=self.name, Qualifier="live", Payload=payload)["Payload"].read()
            )

        with ThreadPoolExecutor(count) as threads:
            yield [threads.submit(invoke) for _ in range(count)]


def turn(server: LiveServer, seconds: float) -> None:
    body = json.dumps({"advance_s": seconds}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/_lambent/clock", body, method="POST")).close()


def now_of(server: LiveServer) -> float:
    with urllib.request.urlopen(f"{server.url}/_lambent/clock") as answer:
        return float(json.load(answer)["now"])


def scaled(server: LiveServer) -> Scaled:
    name = server.create(HOLD)
    server.client().publish_version(FunctionName=name)
    server.client().create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return Scaled(server, name)


def begin_minute(server: LiveServer) -> None:
    """Turns the clock to just behind the next full minute, so that a step of a test lies in one."""
    turn(server, 61 - now_of(server) % 60)


def at(moment_s: float) -> str:
    return f"at({datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%S})"


def test_load_raises_the_capacity_and_a_quarter_of_an_hour_with_little_lowers_it(server: LiveServer) -> None:
    it = scaled(server)
    it.register(1, 8)
    it.until_capacity(1)
    alarms = [alarm["AlarmName"] for alarm in it.track()["Alarms"]]
    assert [alarm.rpartition("-Alarm")[2].split("-")[0] for alarm in alarms] == ["High", "Low"]
    for busy, capacity in ((2, 2), (2, 4)):
        begin_minute(server)
        with it.busy(busy) as invoked:
            pass
        turn(server, 120)
        assert it.capacity == capacity // 2, "two minutes are not enough"
        turn(server, 60)
        it.until_capacity(capacity)
    assert [each.result() for each in invoked] == [AHEAD, AHEAD]
    begin_minute(server)
    with it.busy(1):
        pass
    turn(server, 900)
    it.until_capacity(2)
    with it.busy(3) as invoked:
        pass
    assert sorted(each.result() for each in invoked) == [ON_DEMAND, AHEAD, AHEAD], "what is too much spills over"
    told = [(each["Description"], each["Cause"], each["StatusMessage"]) for each in reversed(it.activities())]
    assert told == [
        (
            f"Setting desired concurrency to {capacity}.",
            cause,
            f"Successfully set desired concurrency to {capacity}. Change successfully fulfilled by lambda.",
        )
        for capacity, cause in (
            (1, "minimum capacity was set to 1"),
            (2, f"monitor alarm {alarms[0]} in state ALARM triggered policy half"),
            (4, f"monitor alarm {alarms[0]} in state ALARM triggered policy half"),
            (2, f"monitor alarm {alarms[1]} in state ALARM triggered policy half"),
        )
    ]


def test_what_is_still_at_work_counts_in_every_minute(server: LiveServer) -> None:
    it = scaled(server)
    it.register(2, 3)
    it.until_capacity(2)
    it.track()
    begin_minute(server)
    with it.busy(2, seconds=2.0) as invoked:
        until(lambda: all(each.running() for each in invoked))
        until(lambda: len(it.server.log_of(it.name).split("START RequestId")) == 3)
        turn(server, 180)
        it.until_capacity(3)
        assert not any(each.done() for each in invoked)
    (newest, _) = it.activities()
    assert newest["Description"] == "Setting desired concurrency to 3.", "and not the 4 that the maximum forbids"


def test_a_policy_that_may_not_scale_does_not_and_says_why(server: LiveServer) -> None:
    it = scaled(server)
    it.register(1, 1)
    it.until_capacity(1)
    alarms = it.track(DisableScaleIn=True)["Alarms"]

    def load() -> None:
        begin_minute(server)
        with it.busy(1, seconds=0.0):
            pass
        turn(server, 180)

    load()
    reasons = {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 1}
    not_scaled = until(lambda: it.activities(IncludeNotScaledActivities=True)[:-1])
    assert [(each["NotScaledReasons"], each["StatusCode"]) for each in not_scaled] == [([reasons], "Failed")]
    assert alarms[0]["AlarmName"] in not_scaled[0]["Cause"]
    assert len(it.activities()) == 1
    it.register(1, 9, SuspendedState={"DynamicScalingOutSuspended": True})
    load()
    assert it.capacity == 1
    it.register(1, 9, SuspendedState={"DynamicScalingOutSuspended": False})
    load()
    it.until_capacity(2)
    it.scaling.delete_scaling_policy(**it.target, PolicyName="half")
    load()
    assert it.capacity == 2


def test_what_was_before_a_policy_is_not_its_business(server: LiveServer) -> None:
    it = scaled(server)
    it.register(1, 9)
    it.until_capacity(1)
    begin_minute(server)
    with it.busy(1, seconds=0.0):
        pass
    it.track()
    turn(server, 180)
    it.schedule("look", "rate(1 minute)", MaxCapacity=9)  # decisions of that time are over when this is done
    turn(server, 60)
    until(lambda: [each for each in it.activities() if "look" in each["Cause"]])
    assert it.capacity == 1
    assert len(it.activities(IncludeNotScaledActivities=True)) == 2


def test_a_customized_metric_is_read_from_cloudwatch(server: LiveServer) -> None:
    it = scaled(server)
    it.register(2, 10)
    it.until_capacity(2)
    metric = {"Namespace": "shop", "MetricName": "orders", "Dimensions": [{"Name": "shop", "Value": it.name}]}
    it.scaling.put_scaling_policy(
        **it.target, PolicyName="orders", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 10, "CustomizedMetricSpecification": {**metric, "Statistic": "Average"},
        },
    )  # fmt: skip
    begin_minute(server)
    data = {"MetricName": "orders", "Dimensions": metric["Dimensions"], "Value": 35.0, "Timestamp": now_of(server)}
    server.client("cloudwatch").put_metric_data(Namespace="shop", MetricData=[data])
    turn(server, 180)
    it.until_capacity(7)


def test_scheduled_actions_set_the_bounds_and_the_capacity(server: LiveServer) -> None:
    it = scaled(server)
    it.register(0, 5)
    now_s = now_of(server)
    it.schedule("once", at(now_s + 100), MinCapacity=2)
    it.schedule("every", "rate(10 minutes)", MaxCapacity=1, MinCapacity=0)
    it.schedule("late", "cron(0 0 1 1 ? 2100)", MinCapacity=5)
    it.schedule("impossible", at(now_s + 200), MaxCapacity=1)
    assert it.capacity == 0
    turn(server, 110)
    it.until_capacity(2)
    turn(server, 100)
    failed = until(lambda: [each for each in it.activities() if each["StatusCode"] == "Failed"])
    assert failed[0]["Cause"] == "scheduled action name impossible was triggered"
    turn(server, 390)
    it.until_capacity(1)
    (found,) = it.scaling.describe_scalable_targets(
        ServiceNamespace="lambda", ResourceIds=[it.target["ResourceId"]]
    )["ScalableTargets"]  # fmt: skip
    assert (found["MinCapacity"], found["MaxCapacity"]) == (0, 1)
    told = [(each["Description"], each["Cause"]) for each in it.activities()]
    assert told[:2] == [
        ("Setting desired concurrency to 1.", "maximum capacity was set to 1"),
        ("Setting min capacity to 0 and max capacity to 1", "scheduled action name every was triggered"),
    ]
    it.register(0, 1, SuspendedState={"ScheduledScalingSuspended": True})
    it.schedule("once", at(now_of(server) + 10), MaxCapacity=0)
    turn(server, 20)
    assert it.capacity == 1
    it.register(0, 0)
    it.until_capacity(0)


def test_what_was_missed_while_the_server_was_down_is_done_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = start(data, "--virtual-clock")
    try:
        it = scaled(server)
        it.register(1, 5)
        it.track()
        it.until_capacity(1)
        soon = int(time.time() + 2)
        it.schedule("soon", at(soon), MinCapacity=2)
        server.kill()
        until(lambda: time.time() > soon)
        server = it.server = start(data, "--virtual-clock")
        it.until_capacity(2)
        causes = [each["Cause"] for each in it.activities()]
        assert causes.count("scheduled action name soon was triggered") == 1
        assert causes[-1] == "minimum capacity was set to 1", "what was done before is still known"
        begin_minute(server)
        with it.busy(2):
            pass
        turn(server, 180)
        it.until_capacity(4)
    finally:
        server.stop()
