"""What rules and schedules may call on a server that enforces: only what policies let them, and the rest is a dead letter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import boto3
import pytest

from live_server import REGION, RUNNING_PYTHON, LiveServer, environ, package, running, until

ACCOUNT = "000000000000"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
SOON_S = 30.0
CODE = """
import boto3
def handler(event, context):
    return None
"""


@attrs.define
class World:
    server: LiveServer
    keys: dict[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(service, REGION, endpoint_url=self.server.url, **self.keys)

    def queue(self, name: str, policy: Any = None) -> str:
        attributes = {"Policy": json.dumps(policy)} if policy else {}
        url: str = self.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def received(self, url: str) -> list[dict[str, Any]]:
        """With their attributes."""
        sqs = self.client("sqs")
        found: list[dict[str, Any]] = sqs.receive_message(
            QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=1
        ).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def codes(self, url: str) -> list[str]:
        """Of the dead letters."""
        return [message["MessageAttributes"]["ERROR_CODE"]["StringValue"] for message in self.received(url)]


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def letting(service: str, queue: str, source: str) -> dict[str, Any]:
    return policy(
        {
            "Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": QUEUE + queue, "Condition": {"ArnLike": {"aws:SourceArn": source}},
        }
    )  # fmt: skip


def gathered(look: Callable[[], list[str]], count: int = 2) -> list[str]:
    """What several looks find together."""
    found: list[str] = []

    def enough() -> bool:
        found.extend(look())
        return len(found) >= count

    until(enough, SOON_S)
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("enforced") / "data"
    with running(data, "--auth", "enforce") as server:
        done = subprocess.run(
            [sys.executable, "-m", "lambent", "credentials", "--json", "--data", str(data), "--account", ACCOUNT],
            env=environ(), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        printed = json.loads(done.stdout)
        world = World(
            server,
            {
                "aws_access_key_id": printed["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": printed["AWS_SECRET_ACCESS_KEY"],
            },
        )
        trust = policy(
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        )  # fmt: skip
        world.client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(trust))
        client = world.client("lambda")
        client.create_function(
            FunctionName="f", Runtime=RUNNING_PYTHON, Role=ROLE, Handler="app.handler",
            Code={"ZipFile": package({"app.py": CODE})},
        )  # fmt: skip
        client.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
        yield world


def test_a_rule_needs_the_functions_permission(world: World) -> None:
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/calls"
    letters = world.queue("letters", letting("events", "letters", rule))
    done = world.queue("done")
    events, functions = world.client("events"), world.client("lambda")
    for_done = policy({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": QUEUE + "done"})
    world.client("iam").put_role_policy(RoleName="worker", PolicyName="done", PolicyDocument=json.dumps(for_done))
    functions.put_function_event_invoke_config(
        FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": QUEUE + "done"}}
    )
    events.put_rule(Name="calls", EventPattern='{"source": ["shop"]}')
    target = {"Id": "1", "Arn": FUNCTION, "DeadLetterConfig": {"Arn": QUEUE + "letters"}}
    events.put_targets(Rule="calls", Targets=[target])
    entry = {"Source": "shop", "DetailType": "t", "Detail": "{}"}
    events.put_events(Entries=[entry])
    assert until(lambda: world.codes(letters), SOON_S) == ["NO_PERMISSIONS"]
    functions.add_permission(
        FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal="events.amazonaws.com",
        SourceArn=rule,
    )  # fmt: skip
    events.put_events(Entries=[entry])
    assert len(until(lambda: world.received(done), SOON_S)) == 1
    assert world.codes(letters) == []


def test_a_rule_needs_the_queues_policy(world: World) -> None:
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/sends"
    closed, opened = world.queue("closed"), world.queue("opened", letting("events", "opened", rule))
    letters = world.queue("letters2", letting("events", "letters2", rule))
    events = world.client("events")
    events.put_rule(Name="sends", EventPattern='{"source": ["mill"]}')
    targets = [
        {"Id": name, "Arn": QUEUE + name, "DeadLetterConfig": {"Arn": QUEUE + "letters2"}}
        for name in ("closed", "opened")
    ]
    events.put_targets(Rule="sends", Targets=targets)
    events.put_events(Entries=[{"Source": "mill", "DetailType": "t", "Detail": "{}"}])
    assert len(until(lambda: world.received(opened), SOON_S)) == 1
    assert until(lambda: world.codes(letters), SOON_S) == ["NO_PERMISSIONS"]
    assert world.received(closed) == []


def test_a_schedule_may_do_what_its_role_may(world: World) -> None:
    scheduler, iam = world.client("scheduler"), world.client("iam")
    letters = world.queue("letters3")
    only_letters = policy({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": QUEUE + "letters3"})
    iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=json.dumps(only_letters))
    url = world.queue("ticks")
    target = {
        "Arn": QUEUE + "ticks", "RoleArn": ROLE, "Input": "tick", "DeadLetterConfig": {"Arn": QUEUE + "letters3"}
    }  # fmt: skip

    def fire(name: str, **changes: Any) -> None:
        soon = datetime.now(UTC) + timedelta(seconds=1)
        scheduler.create_schedule(
            Name=name, ScheduleExpression=f"at({soon:%Y-%m-%dT%H:%M:%S})", FlexibleTimeWindow={"Mode": "OFF"},
            Target={**target, **changes},
        )  # fmt: skip

    message = json.dumps({"QueueUrl": url, "MessageBody": "universal"})
    universal = {"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "Input": message}
    fire("one")
    fire("two", **universal)
    assert gathered(lambda: world.codes(letters)) == ["NO_PERMISSIONS", "NO_PERMISSIONS"]
    document = policy({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"})
    iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=json.dumps(document))
    fire("three")
    fire("four", **universal)
    assert sorted(gathered(lambda: [message["Body"] for message in world.received(url)])) == ["tick", "universal"]
