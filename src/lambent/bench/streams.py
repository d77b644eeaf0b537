"""Records that a Kinesis stream takes and gives each second over HTTP, each on disk when it is answered.

Four connections put records of 200 bytes in batches of 500 into four shards; then one connection reads a shard from its beginning in
pages of 1,000. The same again when the stream holds ten times as many: depth must not slow it down.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Final

from lambent.bench.json_asker import JsonAsker, together
from lambent.bench.server import Run, Server

CONNECTIONS: Final = 4
SHARDS: Final = 4
BATCH: Final = 500
PAGE: Final = 1000
NAME: Final = "busy"
RECORD_BYTES: Final = 200


def kinesis(server: Server) -> JsonAsker:
    return JsonAsker(server, "Kinesis_20131202", "1.1")


def batch() -> bytes:
    data = base64.b64encode(bytes(RECORD_BYTES)).decode()
    records = [{"Data": data, "PartitionKey": str(number)} for number in range(BATCH)]
    return json.dumps({"StreamName": NAME, "Records": records}).encode()


def put(server: Server, count: int) -> float:
    """Records a second, `count` of them over all connections."""
    body, each = batch(), max(1, count // BATCH // CONNECTIONS)

    def work(asker: JsonAsker) -> None:
        for _ in range(each):
            asker.ask("PutRecords", body)

    return each * CONNECTIONS * BATCH / together(CONNECTIONS, lambda: kinesis(server), work)


def read(server: Server, count: int) -> float:
    """Records a second, the first `count` of a shard."""
    asker = kinesis(server)
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
        asker = kinesis(server)
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
