"""Clients that receive: from queues that nobody else reads, and what is left in queues of dead letters and results."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Final

import attrs

from killing.lives import Lives
from killing.load import Ledger, Worker
from killing.setup import ASYNC_DONE, ASYNC_FAILED, ASYNC_LETTERS, DEAD, OWN_VISIBILITY_S, Setup

OWN: Final = ("own", "own.fifo")
COLLECTED: Final = (*DEAD.values(), ASYNC_DONE, ASYNC_FAILED, ASYNC_LETTERS)
LEFT_PART: Final = 0.03  # of messages are not deleted the first time
CLOCK_GRACE_S: Final = 0.05


@attrs.define
class Seen:
    """What came out of the queues of the harness's own."""

    first: dict[str, list[str]] = attrs.field(factory=lambda: {name: [] for name in OWN})  # tokens as they came first
    asked_s: dict[str, float] = attrs.field(
        factory=dict
    )  # message id → when it was last asked for, by the server's clock
    deleted: set[str] = attrs.field(factory=set)  # message ids
    repeated: int = 0
    lock: Any = attrs.field(factory=threading.Lock)


class Receiver(Worker):
    """Holds the queue to its word: what is given to one is hidden from all others."""

    def __init__(
        self, name: str, lives: Lives, setup: Setup, ledger: Ledger, seen: Seen, choices: random.Random
    ) -> None:
        super().__init__(name, lives)
        self._setup, self._ledger, self._seen, self._choices = setup, ledger, seen, choices

    def step(self) -> None:
        self.take(self._choices.choice(OWN), LEFT_PART)

    def take(self, name: str, left_part: float, wait_s: int = 1) -> int:
        """Receives and deletes; how many messages there were."""
        sqs, url = self.lives.server.client("sqs"), self._setup.urls[name]
        asked_s = self._now_s()
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
        messages = answer.get("Messages", [])
        answered_s = self._now_s()
        with self._seen.lock:
            for message in messages:
                self._note(name, message, asked_s, answered_s)
        done = [message for message in messages if self._choices.random() >= left_part]
        if done:
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(done)]
            answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            with self._seen.lock:
                self._seen.deleted |= {done[int(entry["Id"])]["MessageId"] for entry in answer.get("Successful", [])}
        return len(messages)

    def _note(self, name: str, message: dict[str, Any], asked_s: float, answered_s: float) -> None:
        seen, token = self._seen, message["Body"].strip('"')
        message_id = message["MessageId"]
        assert self._ledger.is_known(token, name), f"{token} was never sent to {name}"
        assert message_id not in seen.deleted, f"{token} came again after it was deleted"
        if message_id in seen.asked_s:
            seen.repeated += 1
            since_s = answered_s - seen.asked_s[message_id]
            assert since_s > OWN_VISIBILITY_S - CLOCK_GRACE_S, f"{token} was shown twice within {since_s} s"
        seen.asked_s[message_id] = asked_s
        if token not in self._seen.first[name]:
            self._seen.first[name].append(token)

    def _now_s(self) -> float:
        return time.time() + self.lives.turned_s


@attrs.define
class Collected:
    """Bodies, by queue; those of deliveries that were repeated are there as often."""

    bodies: dict[str, list[str]] = attrs.field(factory=lambda: {name: [] for name in COLLECTED})


class Collector(Worker):
    """Takes dead letters and results."""

    def __init__(self, lives: Lives, setup: Setup, collected: Collected, choices: random.Random) -> None:
        super().__init__("collector", lives)
        self._setup, self._collected, self._choices = setup, collected, choices

    def step(self) -> None:
        if not self.take(self._choices.choice(COLLECTED)):
            time.sleep(0.02)

    def take(self, name: str) -> int:
        sqs, url = self.lives.server.client("sqs"), self._setup.urls[name]
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        if messages:
            self._collected.bodies[name] += [message["Body"] for message in messages]
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        return len(messages)
