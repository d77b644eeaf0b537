"""Kinesis's operations over the stream store: members in, members out, by botocore's names. This file has those on
whole streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clock, Operation
from lambent.services.kinesis.consumers import Consumers
from lambent.services.kinesis.describing import listed, summary
from lambent.services.kinesis.direct import DirectStream
from lambent.services.kinesis.errors import (
    in_the_words_of_aws,
    in_use,
    invalid_argument,
    limit_exceeded,
    validation,
)
from lambent.services.kinesis.finding import Finder
from lambent.services.kinesis.iterators import Sealer
from lambent.services.kinesis.records import Records
from lambent.services.kinesis.resharding import new_stream
from lambent.services.kinesis.shards import ACCOUNT_SHARDS_MAX, DAY_MS, Shards, check_room
from lambent.services.kinesis.tags import Resources, check_tags
from lambent.services.kinesis.throughput import Throughput
from lambent.store.streams import Settings, Stream, StreamExists, StreamStore

Members = dict[str, Any]

ON_DEMAND_SHARDS: Final = 4  # that a new on-demand stream has
ON_DEMAND_STREAMS_MAX: Final = 50  # https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
RETENTION_MIN_H: Final = 24  # IncreaseStreamRetentionPeriod's page
RETENTION_MAX_H: Final = 8760
LISTED_DEFAULT: Final = 100  # ListStreams' page
SWITCHES_MAX: Final = 2  # between the modes, within a day: UpdateStreamMode's guide
METRICS: Final = (
    "IncomingBytes", "IncomingRecords", "IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords",
    "ReadProvisionedThroughputExceeded", "WriteProvisionedThroughputExceeded",
)  # fmt: skip


class KinesisService:
    """`ports.Service` for `kinesis`."""

    name = "kinesis"

    def __init__(self, store: StreamStore, clock: Clock, *, has_limits: bool = False) -> None:
        """`has_limits`: whether shards are throttled as AWS's are."""
        self._store = store
        self._finder = Finder(store)
        self._sealer = Sealer(store.secret)
        self.operations: Mapping[str, Operation] = {
            "CreateStream": self.create_stream,
            "DecreaseStreamRetentionPeriod": self.decrease_stream_retention_period,
            "DeleteStream": self.delete_stream,
            "DescribeAccountSettings": self.describe_account_settings,
            "DescribeLimits": self.describe_limits,
            "DescribeStreamSummary": self.describe_stream_summary,
            "DisableEnhancedMonitoring": self.disable_enhanced_monitoring,
            "EnableEnhancedMonitoring": self.enable_enhanced_monitoring,
            "IncreaseStreamRetentionPeriod": self.increase_stream_retention_period,
            "ListStreams": self.list_streams,
            "StartStreamEncryption": self.start_stream_encryption,
            "StopStreamEncryption": self.stop_stream_encryption,
            "UpdateMaxRecordSize": self.update_max_record_size,
            "UpdateStreamMode": self.update_stream_mode,
            "UpdateStreamRecordDistributionStrategy": self.update_stream_record_distribution_strategy,
            "UpdateStreamWarmThroughput": self.update_stream_warm_throughput,
            **Shards(store, self._finder, self._sealer).operations,
            **Records(store, self._finder, self._sealer, clock, Throughput() if has_limits else None).operations,
            **Consumers(store, self._finder, self._sealer, clock).operations,
            **Resources(store, self._finder).operations,
        }

    def direct(self, arn: str) -> DirectStream:
        """A stream of this server for others in its process, by its ARN or a consumer's; it need not exist yet."""
        return DirectStream(self._store, arn)

    def policy_of(self, arn: str) -> str | None:
        """The resource policy of a stream or a consumer, where there is one."""
        return self._finder.policy_of(arn)

    # ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_stream(self, context: RequestContext, members: Members) -> Members:
        key = (context.account_id, context.region, members["StreamName"])
        count = members.get("ShardCount")
        mode = (members.get("StreamModeDetails") or {}).get("StreamMode")
        is_on_demand = mode == "ON_DEMAND" or (mode is None and count is None)
        if is_on_demand and count is not None:
            raise validation("ShardCount is not supported for streams in On-Demand mode.")
        if not is_on_demand and count is None:
            raise validation("ShardCount is required for streams in Provisioned mode.")
        if members.get("WarmThroughputMiBps") is not None:
            raise _warm_throughput()
        tags = members.get("Tags") or {}
        check_tags(tags)
        settings = Settings(
            on_demand=is_on_demand,
            tags=tags,
            record_max_kib=members.get("MaxRecordSizeInKiB") or 1024,
            ignores_keys=_ignores_keys(members.get("RecordDistributionStrategy"), is_on_demand),
        )
        shard_count = ON_DEMAND_SHARDS if count is None else count
        self._check_new(key[0], key[1], is_on_demand, shard_count)
        try:
            with in_the_words_of_aws(key):
                await self._store.create(new_stream(key, settings, shard_count, self._store.now_ms()))
        except StreamExists as error:
            raise in_use(f"Stream {key[2]} under account {key[0]} already exists.") from error
        return {}

    def _check_new(self, account_id: str, region: str, is_on_demand: bool, shard_count: int) -> None:
        check_room(self._store, account_id, region, shard_count)
        if is_on_demand and self._on_demand_count(account_id, region) >= ON_DEMAND_STREAMS_MAX:
            raise limit_exceeded(
                f"This request would exceed the on-demand stream limit for the account {account_id} in {region}: "
                f"{ON_DEMAND_STREAMS_MAX}."
            )

    def _on_demand_count(self, account_id: str, region: str) -> int:
        return sum(stream.settings.on_demand for stream in self._store.streams_of(account_id, region))

    async def delete_stream(self, context: RequestContext, members: Members) -> Members:
        key = self._finder.stream(context, members, "DeleteStream").key

        def check(stream: Stream) -> None:
            if stream.settings.consumers and not members.get("EnforceConsumerDeletion"):
                raise in_use(
                    f"DeleteStream can't delete {stream.account_id}:{stream.name} because there are consumers "
                    f"associated with this data stream. To delete {stream.name} anyway, set the "
                    "EnforceConsumerDeletion parameter to true to force the deletion of all the consumers that are "
                    "associated with it."
                )

        with in_the_words_of_aws(key):
            await self._store.delete(key, check)
        return {}

    async def describe_stream_summary(self, context: RequestContext, members: Members) -> Members:
        return {"StreamDescriptionSummary": summary(self._finder.stream(context, members, "DescribeStreamSummary"))}

    async def list_streams(self, context: RequestContext, members: Members) -> Members:
        after = members.get("ExclusiveStartStreamName") or ""
        if token := members.get("NextToken"):
            (named,) = self._sealer.read_token("streams", token, self._store.now_ms())
            after = max(after, str(named))
        streams = [s for s in self._store.streams_of(context.account_id, context.region) if s.name > after]
        page = streams[: members.get("Limit") or LISTED_DEFAULT]
        answer: Members = {
            "StreamNames": [stream.name for stream in page],
            "HasMoreStreams": len(page) < len(streams),
            "StreamSummaries": [listed(stream) for stream in page],
        }
        if answer["HasMoreStreams"]:
            answer["NextToken"] = self._sealer.token("streams", self._store.now_ms(), page[-1].name)
        return answer

    async def describe_limits(self, context: RequestContext, members: Members) -> Members:
        streams = self._store.streams_of(context.account_id, context.region)
        return {
            "ShardLimit": ACCOUNT_SHARDS_MAX,
            "OpenShardCount": sum(len(stream.open_shards) for stream in streams),
            "OnDemandStreamCount": self._on_demand_count(context.account_id, context.region),
            "OnDemandStreamCountLimit": ON_DEMAND_STREAMS_MAX,
        }

    async def describe_account_settings(self, context: RequestContext, members: Members) -> Members:
        return {"MinimumThroughputBillingCommitment": {"Status": "DISABLED"}}

    # ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _set(
        self, context: RequestContext, members: Members, action: str, decide: Callable[[Stream], Members]
    ) -> tuple[Stream, Stream]:
        """The stream before and after; `decide` says which settings change, and to what. Raises AwsError."""
        stream = self._finder.stream(context, members, action)
        with in_the_words_of_aws(stream.key):
            changed = await self._store.change(stream.key, lambda s: s.with_settings(**decide(s)))
        return stream, changed

    async def increase_stream_retention_period(self, context: RequestContext, members: Members) -> Members:
        hours = members["RetentionPeriodHours"]

        def decide(stream: Stream) -> Members:
            _check_retention(hours)
            if hours < stream.settings.retention_h:
                raise _retention_order(stream, hours, "shorter", "Decrease")
            return {"retention_h": hours}

        await self._set(context, members, "IncreaseStreamRetentionPeriod", decide)
        return {}

    async def decrease_stream_retention_period(self, context: RequestContext, members: Members) -> Members:
        hours = members["RetentionPeriodHours"]

        def decide(stream: Stream) -> Members:
            _check_retention(hours)
            if hours > stream.settings.retention_h:
                raise _retention_order(stream, hours, "longer", "Increase")
            return {"retention_h": hours}

        await self._set(context, members, "DecreaseStreamRetentionPeriod", decide)
        return {}

    async def start_stream_encryption(self, context: RequestContext, members: Members) -> Members:
        if members["EncryptionType"] != "KMS":
            raise invalid_argument("EncryptionType must be KMS.")
        await self._set(context, members, "StartStreamEncryption", lambda _: {"key_id": members["KeyId"]})
        return {}

    async def stop_stream_encryption(self, context: RequestContext, members: Members) -> Members:
        if members["EncryptionType"] != "KMS":
            raise invalid_argument("EncryptionType must be KMS.")
        await self._set(context, members, "StopStreamEncryption", lambda _: {"key_id": None})
        return {}

    async def enable_enhanced_monitoring(self, context: RequestContext, members: Members) -> Members:
        named = _metrics(members)
        return await self._monitor(
            context,
            members,
            "EnableEnhancedMonitoring",
            lambda present: [m for m in METRICS if m in {*present, *named}],
        )

    async def disable_enhanced_monitoring(self, context: RequestContext, members: Members) -> Members:
        named = _metrics(members)
        return await self._monitor(
            context, members, "DisableEnhancedMonitoring", lambda present: [m for m in present if m not in named]
        )

    async def _monitor(
        self, context: RequestContext, members: Members, action: str, decide: Callable[[list[str]], list[str]]
    ) -> Members:
        before, after = await self._set(
            context, members, action, lambda stream: {"metrics": decide(list(stream.settings.metrics))}
        )
        return {
            "StreamName": after.name,
            "CurrentShardLevelMetrics": list(before.settings.metrics),
            "DesiredShardLevelMetrics": list(after.settings.metrics),
            "StreamARN": after.arn,
        }

    async def update_max_record_size(self, context: RequestContext, members: Members) -> Members:
        await self._set(
            context, members, "UpdateMaxRecordSize", lambda _: {"record_max_kib": members["MaxRecordSizeInKiB"]}
        )
        return {}

    async def update_stream_mode(self, context: RequestContext, members: Members) -> Members:
        wanted = members["StreamModeDetails"]["StreamMode"] == "ON_DEMAND"
        if members.get("WarmThroughputMiBps") is not None:
            raise _warm_throughput()
        now_ms = self._store.now_ms()

        def decide(stream: Stream) -> Members:
            if stream.settings.on_demand == wanted:
                return {}
            recent = [at_ms for at_ms in stream.settings.switched_ms if now_ms - at_ms < DAY_MS]
            if len(recent) >= SWITCHES_MAX:
                raise limit_exceeded(f"The mode of a stream can be switched at most {SWITCHES_MAX} times in 24 hours.")
            ignores_keys = stream.settings.ignores_keys and wanted
            return {"on_demand": wanted, "switched_ms": [*recent, now_ms], "ignores_keys": ignores_keys}

        await self._set(context, members, "UpdateStreamMode", decide)
        return {}

    async def update_stream_record_distribution_strategy(self, context: RequestContext, members: Members) -> Members:
        def decide(stream: Stream) -> Members:
            return {"ignores_keys": _ignores_keys(members["RecordDistributionStrategy"], stream.settings.on_demand)}

        await self._set(context, members, "UpdateStreamRecordDistributionStrategy", decide)
        return {}

    async def update_stream_warm_throughput(self, context: RequestContext, members: Members) -> Members:
        self._finder.stream(context, members, "UpdateStreamWarmThroughput")
        raise _warm_throughput()


def _ignores_keys(strategy: str | None, is_on_demand: bool) -> bool:
    """Raises AwsError InvalidArgumentException."""
    if strategy is not None and not is_on_demand:
        raise invalid_argument("RecordDistributionStrategy is supported for streams in On-Demand mode only.")
    return strategy == "AUTO"


def _metrics(members: Members) -> list[str]:
    named = members["ShardLevelMetrics"]
    return list(METRICS) if "ALL" in named else named


def _warm_throughput() -> AwsError:
    return validation("Warm throughput needs MinimumThroughputBillingCommitment, which the account has not enabled.")


def _check_retention(hours: int) -> None:
    """Raises AwsError InvalidArgumentException."""
    if hours < RETENTION_MIN_H:
        raise invalid_argument(
            f"Minimum allowed retention period is {RETENTION_MIN_H} hours. Requested retention period ({hours} hours) "
            "is too short."
        )
    if hours > RETENTION_MAX_H:
        raise invalid_argument(
            f"Maximum allowed retention period is {RETENTION_MAX_H} hours. Requested retention period ({hours} hours) "
            "is too long."
        )


def _retention_order(stream: Stream, hours: int, than: str, other: str) -> AwsError:
    return invalid_argument(
        f"Requested retention period ({hours} hours) for stream {stream.name} can not be {than} than existing retention "
        f"period ({stream.settings.retention_h} hours). Use {other}RetentionPeriod API."
    )
