"""kill -9 between Publish and delivery: the message reaches each subscription after the restart."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from live_server import REGION, LiveServer, start, until

SOON_S = 60.0
ACCOUNT = "000000000000"


@contextlib.contextmanager
def served(data: Path) -> Iterator[LiveServer]:
    server = start(data, "--isolation", "process")
    try:
        yield server
    finally:
        server.stop()


def make(server: LiveServer, queues: list[str], suffix: str) -> None:
    sns, sqs = server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name=f"t{suffix}", Attributes={"FifoTopic": "true"} if suffix else {})["TopicArn"]
    for queue in queues:
        sqs.create_queue(QueueName=queue, Attributes={"FifoQueue": "true"} if suffix else {})
        sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
            Attributes={"RawMessageDelivery": "true"},
        )  # fmt: skip


def test_a_kill_between_the_answer_and_the_delivery_loses_nothing(tmp_path: Path) -> None:
    """The queue's disk is held by somebody else, so nothing can be delivered before the server is killed."""
    data = tmp_path / "data"
    with served(data) as server:
        make(server, ["one", "two"], "")
        with contextlib.closing(sqlite3.connect(data / "queues.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
            published = server.client("sns").publish(TopicArn=topic, Message="m")
            assert published["MessageId"]
            server.kill()
            holder.execute("ROLLBACK")
    with served(data) as server:
        sqs = server.client("sqs")
        for queue in ("one", "two"):
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            (message,) = until(
                lambda url=url: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages"),  # type: ignore[misc]
                SOON_S,
            )
            assert message["Body"] == "m"


def test_a_function_gets_what_was_accepted_before_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(data) as server:
        # It returns only when its line is on disk (every 200 ms): one that a kill takes along is not printed again.
        code = "import time\ndef handler(event, context):\n    print('GOT', event['Records'][0]['Sns']['Message'])\n    time.sleep(1)\n"
        name = server.create(code, FunctionName="reader")
        sns = server.client("sns")
        topic = sns.create_topic(Name="t")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
        for n in range(20):
            sns.publish(TopicArn=topic, Message=json.dumps({"n": n}))
        server.kill()
    with served(data) as server:
        groups = server.client("logs")

        def has_all() -> bool:
            if not groups.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]:
                return False
            log = server.log_of(name)
            return all(f'GOT {{"n": {n}}}\n' in log for n in range(20))

        until(has_all, SOON_S)
