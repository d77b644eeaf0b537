"""Everything that the load uses: queues, streams, topics, a rule, functions and their mappings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import attrs

from killing.functions import CODE, QUEUE_RECEIVES_MOST
from live_server import REGION, LiveServer, until

ACCOUNT: Final = "000000000000"
VISIBILITY_S: Final = 10  # of queues that functions read: longer than a busy machine needs for a cold start
OWN_VISIBILITY_S: Final = 2
DEAD: Final = {"q": "q-dead", "f.fifo": "f-dead.fifo", "s": "s-dead"}
ASYNC_DONE, ASYNC_FAILED, ASYNC_LETTERS = "async-done", "async-failed", "async-letters"
FUNCTIONS: Final = ("take", "run")  # behind queues, the stream and the topic; and called asynchronously
STREAM_BATCH: Final = 3
STREAM_RETRIES: Final = 1
ASYNC_RETRIES: Final = 2


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def topic_arn(name: str) -> str:
    return f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"


@attrs.define
class Setup:
    server: LiveServer
    urls: dict[str, str] = attrs.field(factory=dict)  # of queues
    queue_mappings: list[str] = attrs.field(factory=list)

    def make(self, trace: Path, life: Path) -> None:
        self._queues()
        self._stream()
        variables = {"TRACE": str(trace), "LIFE": str(life)}
        more: dict[str, Any] = {"run": {"DeadLetterConfig": {"TargetArn": queue_arn(ASYNC_LETTERS)}}}
        for name in FUNCTIONS:
            members = {"Timeout": VISIBILITY_S, "Environment": {"Variables": variables}, **more.get(name, {})}
            self.server.create(CODE, FunctionName=name, **members)
        self.server.client().put_function_event_invoke_config(
            FunctionName="run", MaximumRetryAttempts=ASYNC_RETRIES,
            DestinationConfig={
                "OnSuccess": {"Destination": queue_arn(ASYNC_DONE)}, "OnFailure": {"Destination": queue_arn(ASYNC_FAILED)}
            },
        )  # fmt: skip
        self._topics()
        self._rule()
        self._mappings()

    def _queues(self) -> None:
        plain = ("own", "own.fifo", *DEAD.values(), ASYNC_DONE, ASYNC_FAILED, ASYNC_LETTERS)
        for name in (*plain, "q", "f.fifo"):
            attributes = {"VisibilityTimeout": str(OWN_VISIBILITY_S if name in plain else VISIBILITY_S)}
            if name.endswith(".fifo"):
                attributes |= {"FifoQueue": "true"}
            if name in DEAD:
                redrive = {"deadLetterTargetArn": queue_arn(DEAD[name]), "maxReceiveCount": QUEUE_RECEIVES_MOST}
                attributes["RedrivePolicy"] = json.dumps(redrive)
            self.urls[name] = self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def _stream(self) -> None:
        kinesis = self.server.client("kinesis")
        kinesis.create_stream(StreamName="s", ShardCount=2)
        until(
            lambda: (
                kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
            )
        )

    def _topics(self) -> None:
        sns = self.server.client("sns")
        for topic, queues in (("t", ("own", "q")), ("t.fifo", ("own.fifo", "f.fifo"))):
            sns.create_topic(Name=topic, Attributes={"FifoTopic": "true"} if topic.endswith(".fifo") else {})
            for queue in queues:
                sns.subscribe(TopicArn=topic_arn(topic), Protocol="sqs", Endpoint=queue_arn(queue),
                              Attributes={"RawMessageDelivery": "true"})  # fmt: skip
        function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:take"
        sns.subscribe(TopicArn=topic_arn("t"), Protocol="lambda", Endpoint=function)

    def _rule(self) -> None:
        events = self.server.client("events")
        events.put_rule(Name="r", EventPattern='{"source": ["load"]}')
        events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": queue_arn("own"), "InputPath": "$.detail.token"}])

    def _mappings(self) -> None:
        reports = {"FunctionResponseTypes": ["ReportBatchItemFailures"], "ScalingConfig": {"MaximumConcurrency": 2}}
        for name in ("q", "f.fifo"):
            self.queue_mappings.append(self._map(queue_arn(name), BatchSize=10, **reports))
        self._map(
            f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s", StartingPosition="TRIM_HORIZON", BatchSize=STREAM_BATCH,
            BisectBatchOnFunctionError=True, MaximumRetryAttempts=STREAM_RETRIES,
            DestinationConfig={"OnFailure": {"Destination": queue_arn(DEAD["s"])}},
        )  # fmt: skip

    def _map(self, source: str, **members: Any) -> str:
        made = self.server.client().create_event_source_mapping(FunctionName="take", EventSourceArn=source, **members)
        mapping: str = made["UUID"]
        self._until_state(mapping, "Enabled")
        return mapping

    def switch_queue_mappings(self, *, on: bool) -> None:
        """Off, nothing of the queues is with a function when this returns."""
        client = self.server.client()
        for mapping in self.queue_mappings:
            client.update_event_source_mapping(UUID=mapping, Enabled=on)
        for mapping in self.queue_mappings:
            self._until_state(mapping, "Enabled" if on else "Disabled")

    def _until_state(self, mapping: str, state: str) -> None:
        until(lambda: self.server.client().get_event_source_mapping(UUID=mapping)["State"] == state, 30)

    @property
    def _sqs(self) -> Any:
        return self.server.client("sqs")
