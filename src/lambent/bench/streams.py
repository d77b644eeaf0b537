"""Records that a Kinesis stream takes and gives each second over HTTP, each on disk when it is answered.

Four connections put records of 200 bytes in batches of 500 into four shards; then one connection reads a shard from its beginning in
pages of 1,000. The same again when the stream holds ten times as many: depth must not slow it down.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from typing import Any, Final

from lambent.bench.errors import NotMeasured
from lambent.bench.server import Run, Server

CONNECTIONS: Final = 4
SHARDS: Final = 4
BATCH: Final = 500
PAGE: Final = 1000
NAME: Final = "busy"
RECORD_BYTES: Final = 200


class Asker:
    """One kept connection to the server."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(self, operation: str, body: bytes) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Kinesis_20131202.{operation}"}
        self._connection.request("POST", "/", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise NotMeasured(f"{operation}: {answer.status} {content!r}")
        value: dict[str, Any] = json.loads(content) if content else {}
        return value

    def close(self) -> None:
        self._connection.close()


def batch() -> bytes:
    data = base64.b64encode(bytes(RECORD_BYTES)).decode()
    records = [{"Data": data, "PartitionKey": str(number)} for number in range(BATCH)]
    return json.dumps({"StreamName": NAME, "Records": records}).encode()


def put(server: Server, count: int) -> float:
    """Records a second, `count` of them over all connections."""
    body, each = batch(), max(1, count // BATCH // CONNECTIONS)

    def work() -> None:
        asker = Asker(server)
        for _ in range(each):
            asker.ask("PutRecords", body)
        asker.close()

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return each * CONNECTIONS * BATCH / (time.perf_counter() - began_s)


def read(server: Server, count: int) -> float:
    """Records a second, the first `count` of a shard."""
    asker = Asker(server)
    start = {"StreamName": NAME, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = asker.ask("GetShardIterator", json.dumps(start).encode())["ShardIterator"]
    found, began_s = 0, time.perf_counter()
    while found < count:
        page = asker.ask("GetRecords", json.dumps({"ShardIterator": iterator, "Limit": PAGE}).encode())
        if not page["Records"]:
            break
        found += len(page["Records"])
        iterator = page["NextShardIterator"]
    asker.close()
    return found / (time.perf_counter() - began_s)


def measure(run: Run) -> dict[str, Any]:
    """Some twenty seconds; less when quick."""
    count = run.pick(50_000, 8_000)
    with run.server() as server:
        asker = Asker(server)
        asker.ask("CreateStream", json.dumps({"StreamName": NAME, "ShardCount": SHARDS}).encode())
        asker.close()
        shallow, given = put(server, count), read(server, count // SHARDS)
        put(server, count * 8)
        deep = put(server, count)
    return {
        "put_per_s": round(shallow),
        "read_per_s": round(given),
        "put_per_s_at_ten_times_the_depth": round(deep),
        "depth_ratio": round(shallow / deep, 2),
    }
