"""Shards: listing them, splitting and merging, scaling.

QUOTAS = https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.kinesis.describing import description, shard_members
from lambent.services.kinesis.errors import in_the_words_of_aws, invalid_argument, limit_exceeded, on_demand
from lambent.services.kinesis.finding import Finder, shard_of
from lambent.services.kinesis.iterators import Sealer
from lambent.services.kinesis.resharding import Resharding, check_merge, check_split
from lambent.store.streams import Shard, Stream, StreamKey, StreamMissing, StreamStore

Members = dict[str, Any]

DESCRIBED_DEFAULT: Final = 100  # DescribeStream's page
LISTED_DEFAULT: Final = 1000  # ListShards' page
ACCOUNT_SHARDS_MAX: Final = 20_000  # QUOTAS: of the largest regions
STREAM_SHARDS_MAX: Final = 10_000  # UpdateShardCount's page
SCALINGS_MAX: Final = 10  # of a stream within a day: UpdateShardCount's page
DAY_MS: Final = 24 * 3_600_000
LIMITS_PAGE: Final = "http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html"


def check_room(store: StreamStore, account_id: str, region: str, more: int) -> None:
    """Raises AwsError LimitExceededException."""
    used = sum(len(stream.open_shards) for stream in store.streams_of(account_id, region))
    if used + more > ACCOUNT_SHARDS_MAX:
        raise limit_exceeded(
            f"This request would exceed the shard limit for the account {account_id} in {region}. Current shard count "
            f"for the account: {used}. Limit: {ACCOUNT_SHARDS_MAX}. Number of additional shards that would have "
            f"resulted from this request: {more}. Refer to the AWS Service Limits page ({LIMITS_PAGE}) for current "
            "limits and how to request higher limits."
        )


class Shards:
    def __init__(self, store: StreamStore, finder: Finder, sealer: Sealer) -> None:
        self._store = store
        self._finder = finder
        self._sealer = sealer
        self.operations: Mapping[str, Operation] = {
            "DescribeStream": self.describe_stream,
            "ListShards": self.list_shards,
            "MergeShards": self.merge_shards,
            "SplitShard": self.split_shard,
            "UpdateShardCount": self.update_shard_count,
        }

    async def describe_stream(self, context: RequestContext, members: Members) -> Members:
        stream = self._finder.stream(context, members, "DescribeStream")
        after = members.get("ExclusiveStartShardId")
        shards = [shard for shard in stream.shards if after is None or shard.name > after]
        page = shards[: members.get("Limit") or DESCRIBED_DEFAULT]
        return {"StreamDescription": description(stream, page, len(page) < len(shards))}

    async def list_shards(self, context: RequestContext, members: Members) -> Members:
        stream, after, wanted = self._listing(context, members)
        shards = [
            shard for shard in stream.shards if shard.name > after and _is_wanted(stream, shard, wanted, self._now_ms())
        ]
        page = shards[: members.get("MaxResults") or LISTED_DEFAULT]
        answer: Members = {"Shards": [shard_members(shard) for shard in page]}
        if len(page) < len(shards):
            answer["NextToken"] = self._sealer.token(
                "shards", self._now_ms(), stream.id, stream.arn, page[-1].name, wanted
            )
        return answer

    def _listing(self, context: RequestContext, members: Members) -> tuple[Stream, str, Members]:
        """The stream, the shard after which the page begins, and the filter. Raises AwsError."""
        token = members.get("NextToken")
        if token is None:
            if members.get("StreamName") is None and members.get("StreamARN") is None:
                raise invalid_argument("Either NextToken or StreamName should be provided.")
            stream = self._finder.stream(context, members, "ListShards")
            wanted = _filter(members.get("ShardFilter"))
            return stream, members.get("ExclusiveStartShardId") or wanted.get("ShardId", ""), wanted
        for name in ("StreamName", "StreamARN", "StreamCreationTimestamp", "ExclusiveStartShardId", "ShardFilter"):
            if members.get(name) is not None:
                raise invalid_argument(f"NextToken and {name} cannot be provided together.")
        stream_id, _, after, wanted_again = self._sealer.read_token("shards", token, self._now_ms())
        try:
            stream = self._store.by_id(int(str(stream_id)))
        except StreamMissing as error:
            raise invalid_argument("Invalid NextToken.") from error
        self._finder.stream(context, {"StreamARN": stream.arn}, "ListShards")
        return stream, str(after), dict(wanted_again)  # type: ignore[call-overload]

    # ── resharding ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def split_shard(self, context: RequestContext, members: Members) -> Members:
        at_hash = int(members["NewStartingHashKey"])

        def split(stream: Stream, change: Resharding) -> None:
            shard = shard_of(stream, members["ShardToSplit"])
            check_split(stream, shard, at_hash)
            change.split(shard, at_hash)

        key = self._finder.stream(context, members, "SplitShard").key
        check_room(self._store, key[0], key[1], 1)
        await self._reshard(key, split)
        return {}

    async def merge_shards(self, context: RequestContext, members: Members) -> Members:
        def merge(stream: Stream, change: Resharding) -> None:
            shard = shard_of(stream, members["ShardToMerge"])
            adjacent = shard_of(stream, members["AdjacentShardToMerge"])
            check_merge(stream, shard, adjacent)
            change.merge(shard, adjacent)

        await self._reshard(self._finder.stream(context, members, "MergeShards").key, merge)
        return {}

    async def update_shard_count(self, context: RequestContext, members: Members) -> Members:
        target: int = members["TargetShardCount"]
        stream = self._finder.stream(context, members, "UpdateShardCount")
        before = len(stream.open_shards)

        def scale(current: Stream, change: Resharding) -> None:
            _check_target(len(current.open_shards), target)
            change.to_uniform(target)

        check_room(self._store, stream.account_id, stream.region, target - before)
        await self._reshard(stream.key, scale, is_scaling=True)
        return {
            "StreamName": stream.name,
            "CurrentShardCount": before,
            "TargetShardCount": target,
            "StreamARN": stream.arn,
        }

    async def _reshard(self, key: StreamKey, decide: Any, is_scaling: bool = False) -> None:
        """`decide(stream, resharding)` does it. Raises AwsError."""
        now_ms = self._now_ms()

        def change(stream: Stream) -> Stream:
            if stream.settings.on_demand:
                raise on_demand(stream)
            recent = [at_ms for at_ms in stream.settings.scaled_ms if now_ms - at_ms < DAY_MS]
            if is_scaling and len(recent) >= SCALINGS_MAX:
                raise limit_exceeded(
                    f"UpdateShardCount can be called at most {SCALINGS_MAX} times for a stream in 24 hours."
                )
            resharding = Resharding(stream, now_ms)
            decide(stream, resharding)
            return resharding.stream.with_settings(scaled_ms=[*recent, now_ms] if is_scaling else recent)

        with in_the_words_of_aws(key):
            await self._store.change(key, change)

    def _now_ms(self) -> int:
        return self._store.now_ms()


def _check_target(current: int, target: int) -> None:
    """Raises AwsError LimitExceededException."""
    counts = f"Current open shard count: {current}, Target shard count: {target}"
    if target > STREAM_SHARDS_MAX:
        raise limit_exceeded(
            f"Target shard count or number of open shards cannot be greater than {STREAM_SHARDS_MAX}. {counts}"
        )
    if target > current * 2:
        raise limit_exceeded(f"UpdateShardCount cannot scale up over double your current open shard count. {counts}")
    if target < current / 2:
        raise limit_exceeded(f"UpdateShardCount cannot scale down below half your current open shard count. {counts}")


def _filter(given: Members | None) -> Members:
    """A ShardFilter as page tokens keep it. Raises AwsError InvalidArgumentException."""
    wanted: Members = dict(given or {"Type": "FROM_TRIM_HORIZON"})
    kind, timestamp = wanted["Type"], wanted.pop("Timestamp", None)
    if kind == "AFTER_SHARD_ID" and "ShardId" not in wanted:
        raise invalid_argument("ShardFilter of type AFTER_SHARD_ID needs a ShardId.")
    if kind != "AFTER_SHARD_ID" and "ShardId" in wanted:
        raise invalid_argument(f"ShardFilter of type {kind} takes no ShardId.")
    needs_time = kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP")
    if needs_time != isinstance(timestamp, datetime.datetime):
        raise invalid_argument(f"ShardFilter of type {kind} {'needs a' if needs_time else 'takes no'} Timestamp.")
    if isinstance(timestamp, datetime.datetime):
        wanted["at_ms"] = int(timestamp.timestamp() * 1000)
    return wanted


def _is_wanted(stream: Stream, shard: Shard, wanted: Members, now_ms: int) -> bool:
    """https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ShardFilter.html"""
    horizon_ms = max(stream.created_ms, now_ms - stream.retention_ms)
    at_ms = max(wanted.get("at_ms", 0), horizon_ms)
    ends_later = shard.closed_ms is None or shard.closed_ms >= at_ms
    match wanted["Type"]:
        case "AT_LATEST":
            return shard.is_open
        case "AT_TRIM_HORIZON" | "AT_TIMESTAMP":
            return shard.opened_ms <= at_ms and ends_later
        case _:
            return ends_later
