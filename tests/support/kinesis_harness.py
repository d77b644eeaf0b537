"""Kinesis's operations without a network, over a real store and a clock that stands until it is moved."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.services.kinesis import KinesisService
from lambent.store.streams import StreamStore
from queue_clock import HandClock

ACCOUNT, REGION = "111122223333", "eu-west-1"
ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
SHARD = "shardId-000000000000"


@attrs.frozen
class Kinesis:
    service: KinesisService
    clock: HandClock
    store: StreamStore

    async def call(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> dict[str, Any]:
        context = RequestContext(account_id=account_id, region=REGION, request_id="r", base_url="http://here:4566")
        return await self.service.operations[operation](context, members)

    async def refused(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> tuple[str, str]:
        """Code and message."""
        with pytest.raises(AwsError) as caught:
            await self.call(operation, account_id, **members)
        return caught.value.code, caught.value.message

    async def stream(self, name: str = "s", shards: int = 1, **members: Any) -> str:
        """The ARN of a new stream."""
        await self.call("CreateStream", StreamName=name, ShardCount=shards, **members)
        return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"

    async def put(self, *data: str, key: str = "k", name: str = "s") -> list[str]:
        """Sequence numbers."""
        records = [{"Data": text.encode(), "PartitionKey": key} for text in data]
        answer = await self.call("PutRecords", StreamName=name, Records=records)
        return [record["SequenceNumber"] for record in answer["Records"]]

    async def iterator(self, kind: str = "TRIM_HORIZON", shard: str = SHARD, **members: Any) -> str:
        found: str = (
            await self.call("GetShardIterator", StreamName="s", ShardId=shard, ShardIteratorType=kind, **members)
        )["ShardIterator"]
        return found

    async def get(self, iterator: str, **members: Any) -> tuple[list[str], dict[str, Any]]:
        """Data, and the answer."""
        answer = await self.call("GetRecords", ShardIterator=iterator, **members)
        return [record["Data"].decode() for record in answer["Records"]], answer

    async def read(self, kind: str = "TRIM_HORIZON", shard: str = SHARD, **members: Any) -> list[str]:
        return (await self.get(await self.iterator(kind, shard, **members)))[0]

    async def shards(self, **members: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.call("ListShards", StreamName="s", **members))["Shards"]
        return found

    async def open_ranges(self) -> list[tuple[int, int]]:
        """Hash keys of the shards that are open, in order."""
        ranges = [shard["HashKeyRange"] for shard in await self.shards(ShardFilter={"Type": "AT_LATEST"})]
        return sorted((int(r["StartingHashKey"]), int(r["EndingHashKey"])) for r in ranges)
