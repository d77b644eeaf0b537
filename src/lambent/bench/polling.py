"""Event source mappings: how fast queues and streams are emptied by a function that does nothing, and what idle ones cost.

Messages and records are there before the mapping is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lambent.bench.errors import NotMeasured
from lambent.bench.functions import create, python
from lambent.bench.server import RUNNING_PYTHON, Run, Server

IDLE_MAPPINGS: Final = 200
BATCH: Final = 10  # messages of a batch: a queue's default
STREAM_SHARDS: Final = 2
PUT_AT_ONCE: Final = 500
SENT_SINGLY: Final = 50  # messages whose way is timed
PATIENCE_S: Final = 120.0
# Prints what `measure` counts: how many records it was given, and how long a message's way was that has a time in it.
CODE: Final = """
import time

def handler(event, context):
    print("RECORDS", len(event["Records"]))
    for record in event["Records"]:
        if record.get("body", "").startswith("sent "):
            print("WAY", time.time() - float(record["body"].split()[1]))
"""


class Bench:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._server.client(service)
        return self._clients[service]

    def function(self, name: str) -> str:
        """A new one, which has run once."""
        create(self.client("lambda"), [name], python(RUNNING_PYTHON, CODE), Timeout=30)
        self.client("lambda").invoke(FunctionName=name, Payload=b'{"Records": []}')
        return name

    def queue(self, name: str) -> tuple[str, str]:
        """Its address and its ARN."""
        url = self.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        return url, f"arn:aws:sqs:us-east-1:000000000000:{name}"

    def map(self, function: str, arn: str, **members: Any) -> None:
        self.client("lambda").create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **members)

    def logged(self, function: str, word: str) -> Iterator[float]:
        """The numbers behind this word."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
        for page in pages:
            for event in page["events"]:
                for line in event["message"].splitlines():
                    if line.startswith(word + " "):
                        yield float(line.split()[1])

    def seconds_until(self, function: str, count: int) -> float:
        """From now until the function was given so many records, by the last of its log's times."""
        begun_s, begun = time.time(), time.monotonic()
        while sum(self.logged(function, "RECORDS")) < count:
            if time.monotonic() - begun > PATIENCE_S:
                raise NotMeasured(f"{function} has not had {count} records in {PATIENCE_S:g} s")
            time.sleep(0.2)
        events = self.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{function}")["logStreams"]
        return float(max(stream["lastEventTimestamp"] for stream in events) / 1000 - begun_s)

    def queue_messages_per_s(self, count: int) -> float:
        url, arn = self.queue("full")
        for first in range(0, count, BATCH):
            entries = [{"Id": str(n), "MessageBody": f"message {first + n}"} for n in range(BATCH)]
            self.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
        function = self.function("queue")
        self.map(function, arn)
        return count / self.seconds_until(function, count)

    def stream_records_per_s(self, count: int) -> float:
        kinesis = self.client("kinesis")
        kinesis.create_stream(StreamName="full", ShardCount=STREAM_SHARDS)
        kinesis.get_waiter("stream_exists").wait(StreamName="full", WaiterConfig={"Delay": 1})
        for first in range(0, count, PUT_AT_ONCE):
            records = [{"Data": b"x" * 100, "PartitionKey": str(first + n)} for n in range(PUT_AT_ONCE)]
            kinesis.put_records(StreamName="full", Records=records)
        function = self.function("stream")
        self.map(function, "arn:aws:kinesis:us-east-1:000000000000:stream/full", StartingPosition="TRIM_HORIZON")
        return count / self.seconds_until(function, count)

    def ways_ms(self) -> Sequence[float]:
        """From before a message is sent until its handler has it, the queue being empty."""
        url, arn = self.queue("empty")
        function = self.function("way")
        self.map(function, arn)
        time.sleep(1)
        for _ in range(SENT_SINGLY):
            self.client("sqs").send_message(QueueUrl=url, MessageBody=f"sent {time.time()}")
            time.sleep(0.02)
        self.seconds_until(function, SENT_SINGLY)
        return [way_s * 1000 for way_s in self.logged(function, "WAY")]

    def idle_core_share(self, seconds: float) -> float:
        """Of one core, by the server's own process, with so many more mappings of empty queues."""
        for number in range(IDLE_MAPPINGS):
            self.map("queue", self.queue(f"idle-{number}")[1])
        time.sleep(2)
        before_s = self._processor_s()
        time.sleep(seconds)
        return (self._processor_s() - before_s) / seconds

    def _processor_s(self) -> float:
        """That the server's own threads had so far; finer than clock ticks, of which an idle server has few."""
        tasks = Path(f"/proc/{self._server.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def measure(run: Run) -> dict[str, Any]:
    """Some thirty seconds; less when quick."""
    with run.server() as server:
        bench = Bench(server)
        return {
            "queue_messages_per_s": round(bench.queue_messages_per_s(run.pick(30_000, 1_000))),
            "stream_records_per_s": round(bench.stream_records_per_s(run.pick(100_000, 5_000))),
            "send_to_handler_p50_ms": round(statistics.median(bench.ways_ms()), 1),
            "idle_core_share": round(bench.idle_core_share(float(run.pick(20, 2))), 4),
        }
