"""EventBridge on a real server: from PutEvents to functions and queues, also after a kill."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer, running, start, until

REGION, ACCOUNT = "us-east-1", "000000000000"
SOON_S = 30.0
FUNCTION = """
import json
def handler(event, context):
    print("GOT " + json.dumps(event))
"""


@attrs.define
class Bridge:
    server: LiveServer

    @property
    def events(self) -> Any:
        return self.server.client("events")

    @property
    def sqs(self) -> Any:
        return self.server.client("sqs")

    def queue(self, name: str) -> tuple[str, str]:
        """Address and ARN."""
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def rule(self, name: str, target: str, **members: Any) -> None:
        pattern = {"source": ["shop"]}
        self.events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target, **members}])

    def put(self, *numbers: int, source: str = "shop") -> list[str]:
        entries = [{"Source": source, "DetailType": "order", "Detail": json.dumps({"number": n})} for n in numbers]
        answer = self.events.put_events(Entries=entries)
        assert answer["FailedEntryCount"] == 0
        return [entry["EventId"] for entry in answer["Entries"]]

    def received(self, url: str) -> list[Any]:
        found = []
        for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))
        return found

    def printed(self, function: str) -> list[str]:
        """What the function said that it got."""
        with contextlib.suppress(ClientError):  # until it has run there is no log group
            return [line for line in self.server.log_of(function).splitlines() if line.startswith("GOT")]
        return []


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with running(tmp_path_factory.mktemp("events") / "data", "--isolation", "process", "--virtual-clock") as server:
        yield Bridge(server)


def test_an_event_reaches_a_function_and_a_queue(bridge: Bridge) -> None:
    function = bridge.server.create(FUNCTION)
    url, queue = bridge.queue("orders")
    bridge.rule("to-queue", queue)
    bridge.rule("to-function", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}", InputPath="$.detail")
    (event_id,) = bridge.put(7)
    bridge.put(8, source="elsewhere")
    (event,) = until(lambda: bridge.received(url), SOON_S)
    assert event["id"] == event_id
    assert event["account"] == ACCOUNT
    assert event["detail"] == {"number": 7}
    assert until(lambda: bridge.printed(function), SOON_S) == ['GOT {"number": 7}']


def test_accepted_events_survive_kills(tmp_path: Path) -> None:
    data = tmp_path / "data"
    accepted: list[str] = []
    seen: set[str] = set()
    with running(data, "--isolation", "process") as server:
        bridge = Bridge(server)
        bridge.queue("orders")
        bridge.rule("orders", f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders")
    for _ in range(2):
        server = start(data, "--isolation", "process")
        bridge = Bridge(server)
        accepted += bridge.put(*range(10))
        accepted += bridge.put(*range(10))
        server.kill()
    with running(data, "--isolation", "process") as server:
        bridge = Bridge(server)
        url = bridge.sqs.get_queue_url(QueueName="orders")["QueueUrl"]

        def all_seen() -> bool:
            seen.update(event["id"] for event in bridge.received(url))
            return seen >= set(accepted)

        until(all_seen, SOON_S)
    assert len(accepted) == 40
