"""Which poller a mapping gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambent import ports
from lambent.model.destinations import KAFKA_TOPIC_PREFIX, given_destination
from lambent.model.event_format import EventFormat, StreamFormat
from lambent.model.event_source import QUEUES, STREAMS, SourceKind, kind_of
from lambent.model.kafka_records import KafkaFormat
from lambent.ports import NO_TELEMETRY, Catalog, Clients, Clock, Enqueue, Invoke, Queue, Telemetry
from lambent.sources.brokers import Brokers
from lambent.sources.destination import FailureDestination
from lambent.sources.function import MappedFunction
from lambent.sources.kafka_destination import TopicDestination
from lambent.sources.kafka_poller import KafkaPoller
from lambent.sources.own_stream import OwnStream
from lambent.sources.poller import Poller
from lambent.sources.queue_poller import QueuePoller
from lambent.sources.rabbit_poller import RabbitPoller
from lambent.sources.remote_queue import RemoteQueue
from lambent.sources.results import Results
from lambent.sources.shard_runner import Destination, Task
from lambent.sources.shards import ClientStream, Stream
from lambent.sources.stream_poller import StreamPoller
from lambent.sources.supervisor import Key
from lambent.sources.table_news import TableNews
from lambent.sources.timeline import Timeline
from lambent.store.checkpoints import CheckpointStore

OwnQueue = Callable[[str], Queue]
"""One of Lambent's own queues by its ARN; it need not exist."""

OwnStreams = Callable[[str], ports.Stream]
"""The same of its Kinesis streams."""


class Pollers:
    """Makes them: `supervisor.Make`."""

    def __init__(
        self,
        invoke: Invoke,
        catalog: Catalog,
        clock: Clock,
        clients: Clients,
        checkpoints: CheckpointStore,
        own_queue: OwnQueue | None,
        own_stream: OwnStreams | None,
        brokers: Brokers,
        timeline: Timeline | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
        enqueue: Enqueue | None = None,
        table_news: TableNews | None = None,
    ) -> None:
        """`own_queue` is None where SQS is elsewhere, `own_stream` where Kinesis is, `table_news` where DynamoDB is."""
        self._invoke = invoke
        self._catalog = catalog
        self._clock = clock
        self._clients = clients
        self._checkpoints = checkpoints
        self._own_queue = own_queue
        self._own_stream = own_stream
        self._brokers = brokers
        self._timeline = timeline
        self._telemetry = telemetry
        self._enqueue = enqueue
        self._table_news = table_news
        self._results = Results(catalog)

    def make(self, key: Key, mapping: Mapping[str, Any]) -> Poller | None:
        """Raises PatternError for a filter that is none."""
        kind = kind_of(mapping)
        function = MappedFunction.of(key[0], key[1], mapping, self._invoke, self._catalog)
        if kind in QUEUES:
            return self._of_queue(mapping, function)
        if kind in STREAMS:
            return self._of_stream(key, mapping, function)
        if kind is SourceKind.MQ:
            report = self._results.reporter(key)
            return RabbitPoller(
                mapping, self._brokers, function, self._clock, report, self._timeline, self._telemetry
            )  # fmt: skip
        if kind is SourceKind.KAFKA:
            task = self._task(key, mapping, function, KafkaFormat.of(mapping))
            return KafkaPoller(task, self._brokers, self._checkpoints, self._clock)
        return None

    def _of_queue(self, mapping: Mapping[str, Any], function: MappedFunction) -> Poller:
        arn = mapping["EventSourceArn"]
        queue: Queue
        queue = self._own_queue(arn) if self._own_queue is not None else RemoteQueue(self._clients, self._clock, arn)
        return QueuePoller(mapping, queue, function, self._clock, self._timeline, self._telemetry, self._enqueue)

    def _of_stream(self, key: Key, mapping: Mapping[str, Any], function: MappedFunction) -> Poller:
        arn = mapping["EventSourceArn"]
        stream: Stream
        if self._own_stream is not None and kind_of(mapping) is not SourceKind.DYNAMODB:
            stream = OwnStream(self._own_stream(arn.split("/consumer/")[0]), arn, function.role_arn)
        else:
            stream = ClientStream(self._clients, self._clock, arn, function.role_arn, self._table_news)
        task = self._task(key, mapping, function, StreamFormat(source=arn))
        return StreamPoller(task, stream, self._checkpoints, self._clock)

    def _task(self, key: Key, mapping: Mapping[str, Any], function: MappedFunction, form: EventFormat) -> Task:
        target = given_destination(mapping.get("DestinationConfig") or {}, "OnFailure")
        destination: Destination | None = None
        if target is not None and isinstance(form, KafkaFormat) and target.startswith(KAFKA_TOPIC_PREFIX):
            destination = TopicDestination(self._brokers, self._clock, mapping, target, form)
        elif target is not None:
            destination = FailureDestination(
                self._clients, self._clock, target,
                mapping_id=key[2], function_arn=mapping["FunctionArn"], form=form,
            )  # fmt: skip
        return Task(
            mapping=mapping, form=form, function=function, clock=self._clock, destination=destination,
            report=self._results.reporter(key), timeline=self._timeline, telemetry=self._telemetry,
        )  # fmt: skip
