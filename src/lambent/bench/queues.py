"""Messages that an SQS queue takes, gives and lets go each second over HTTP, in tens, each on disk when it is answered.

Four connections send ten messages, receive ten and delete them, again and again: on an empty queue, and on one that holds 100,000, which
must not slow it down.
"""

from __future__ import annotations

import json
from typing import Any, Final

from lambent.bench.json_asker import JsonAsker, together
from lambent.bench.server import Run, Server

CONNECTIONS: Final = 4
TEN: Final = 10
BODY_BYTES: Final = 1_000
NAME: Final = "busy"


def sqs(server: Server) -> JsonAsker:
    return JsonAsker(server, "AmazonSQS", "1.0")


def ten_messages(url: str) -> bytes:
    entries = [{"Id": str(number), "MessageBody": "x" * BODY_BYTES} for number in range(TEN)]
    return json.dumps({"QueueUrl": url, "Entries": entries}).encode()


def through(server: Server, url: str, count: int) -> float:
    """Messages a second that are sent, received and deleted, `count` of them over all connections."""
    sent, asked = ten_messages(url), json.dumps({"QueueUrl": url, "MaxNumberOfMessages": TEN}).encode()
    each = max(1, count // TEN // CONNECTIONS)

    def work(asker: JsonAsker) -> None:
        for _ in range(each):
            asker.ask("SendMessageBatch", sent)
            given = asker.ask("ReceiveMessage", asked).get("Messages", [])
            entries = [{"Id": message["MessageId"], "ReceiptHandle": message["ReceiptHandle"]} for message in given]
            if entries:
                asker.ask("DeleteMessageBatch", json.dumps({"QueueUrl": url, "Entries": entries}).encode())

    return each * CONNECTIONS * TEN / together(CONNECTIONS, lambda: sqs(server), work)


def fill(server: Server, url: str, count: int) -> None:
    sent, each = ten_messages(url), count // TEN // CONNECTIONS

    def work(asker: JsonAsker) -> None:
        for _ in range(each):
            asker.ask("SendMessageBatch", sent)

    together(CONNECTIONS, lambda: sqs(server), work)


def measure(run: Run) -> dict[str, Any]:
    """Half a minute; less when quick."""
    count, depth = run.pick(20_000, 2_000), run.pick(100_000, 4_000)
    with run.server() as server:
        asker = sqs(server)
        url = asker.ask("CreateQueue", json.dumps({"QueueName": NAME}).encode())["QueueUrl"]
        asker.close()
        through(server, url, count // 10)
        shallow = through(server, url, count)
        fill(server, url, depth)
        deep = through(server, url, count)
    return {
        "through_per_s": round(shallow),
        "through_per_s_at_depth": round(deep),
        "depth": depth,
        "depth_ratio": round(shallow / deep, 2),
    }
