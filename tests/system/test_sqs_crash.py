"""kill -9 at any moment: every message that was accepted is there after the restart, unless its deletion was accepted."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from live_server import LiveServer, start, until

GROUPS = ("a", "b", "c")
SOON_S = 60.0


@attrs.define
class Told:
    """What the server said of one queue, over all of its lives."""

    accepted: set[str] = attrs.field(factory=set)  # bodies
    doubtful: set[str] = attrs.field(factory=set)  # sent when the server was killed
    deleted: set[str] = attrs.field(factory=set)
    deleting: set[str] = attrs.field(factory=set)
    order: dict[str, list[int]] = attrs.field(factory=lambda: {group: [] for group in GROUPS})  # as first received
    numbers: Iterator[int] = attrs.field(factory=itertools.count)
    operations: int = 0


class Client(threading.Thread):
    """Repeats `step` until the server is gone."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._step = step
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                self._step()
        except BotoCoreError:
            return  # the server is gone
        except (ClientError, AssertionError) as problem:
            self.problem = problem


@attrs.define
class Work:
    sqs: Any
    url: str
    is_fifo: bool
    told: Told

    def send(self) -> None:
        numbers = list(itertools.islice(self.told.numbers, 6))
        entries = [{"Id": str(n), "MessageBody": f"{GROUPS[n % len(GROUPS)]}-{n}"} for n in numbers]
        if self.is_fifo:
            entries = [e | {"MessageGroupId": e["MessageBody"][0], "MessageDeduplicationId": e["Id"]} for e in entries]
        bodies = {entry["MessageBody"] for entry in entries}
        self.told.doubtful |= bodies
        sent = self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        assert "Failed" not in sent
        self.told.doubtful -= bodies
        self.told.accepted |= bodies
        self.told.operations += 1

    def take(self) -> int:
        """Receives and deletes a batch; how many there were."""
        told = self.told
        received = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        messages = received.get("Messages", [])
        for message in messages:
            body = message["Body"]
            assert body in told.accepted | told.doubtful
            assert body not in told.deleted, f"{body} came again after it was deleted"
            group, number = body.split("-")
            if int(number) not in told.order[group]:
                told.order[group].append(int(number))
        if messages:
            bodies = {m["Body"] for m in messages}
            told.deleting |= bodies
            entries = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
            answer = self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
            gone = {entry["Id"] for entry in answer.get("Successful", [])}
            told.deleting -= bodies
            told.deleted |= gone
        told.operations += 1
        return len(messages)


@contextlib.contextmanager
def served(data: Path) -> Iterator[LiveServer]:
    server = start(data, "--isolation", "process")
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["q", "q.fifo"])
def test_messages_survive_kills(tmp_path: Path, name: str) -> None:
    data, told = tmp_path / "data", Told()
    for life, operations in enumerate((1, 12, 40)):
        with served(data) as server:
            work = work_on(server, name, told, create=life == 0)
            enough = told.operations + operations
            clients = [Client(work.send), Client(lambda work=work: work.take() and None)]  # type: ignore[misc]
            for client in clients:
                client.start()
            until(lambda enough=enough: told.operations >= enough, SOON_S)  # type: ignore[misc]
            server.kill()
            for client in clients:
                client.join(SOON_S)
                assert client.problem is None, client.problem
    with served(data) as server:
        work = work_on(server, name, told, create=False)
        until(lambda: not work.take() and told.accepted <= told.deleted | told.deleting, SOON_S)
    if name.endswith(".fifo"):
        for numbers in told.order.values():
            assert numbers == sorted(numbers)


def work_on(server: LiveServer, name: str, told: Told, create: bool) -> Work:
    sqs = server.client("sqs")
    if create:
        attributes = {"VisibilityTimeout": "2", **({"FifoQueue": "true"} if name.endswith(".fifo") else {})}
        sqs.create_queue(QueueName=name, Attributes=attributes)
    return Work(sqs, sqs.get_queue_url(QueueName=name)["QueueUrl"], name.endswith(".fifo"), told)
