"""Everything that survives, opened together."""

from __future__ import annotations

import contextlib
from pathlib import Path

import attrs

from lambent.ports import Clock, Telemetry
from lambent.store.blobs import FileBlobs
from lambent.store.catalog import SqliteCatalog
from lambent.store.checkpoints import CheckpointStore
from lambent.store.deliveries import DeliveryStore
from lambent.store.events import EventStore
from lambent.store.logs import LogStore
from lambent.store.metrics import MetricStore
from lambent.store.queues import QueueStore
from lambent.store.streams import StreamStore
from lambent.store.topics import TopicStore


@attrs.frozen(kw_only=True)
class Stores:
    catalog: SqliteCatalog
    blobs: FileBlobs
    logs: LogStore
    queues: QueueStore
    streams: StreamStore
    events: EventStore
    topics: TopicStore
    deliveries: DeliveryStore
    checkpoints: CheckpointStore
    metrics: MetricStore

    @classmethod
    async def open(
        cls, stack: contextlib.AsyncExitStack, data_dir: Path, real: Clock, clock: Clock, telemetry: Telemetry
    ) -> Stores:
        """The stack closes them. `real` stamps what functions print, `clock` what waits. Raises StoreError."""
        catalog = SqliteCatalog.open(data_dir / "catalog.db")
        stack.push_async_callback(catalog.close)
        blobs = FileBlobs(data_dir)
        stack.push_async_callback(blobs.close)
        logs = await LogStore.open(data_dir / "logs.db", real)
        stack.push_async_callback(logs.close)
        queues = await QueueStore.open(data_dir / "queues.db", clock, telemetry)
        stack.push_async_callback(queues.close)
        streams = await StreamStore.open(data_dir / "streams.db", clock, telemetry)
        stack.push_async_callback(streams.close)
        events = await EventStore.open(data_dir / "events.db", clock)
        stack.push_async_callback(events.close)
        topics = await TopicStore.open(data_dir / "topics.db", clock)
        stack.push_async_callback(topics.close)
        deliveries = await DeliveryStore.open(data_dir / "deliveries.db", clock)
        stack.push_async_callback(deliveries.close)
        checkpoints = await CheckpointStore.open(data_dir / "checkpoints.db")
        stack.push_async_callback(checkpoints.close)
        metrics = await MetricStore.open(data_dir / "metrics.db", clock)
        stack.push_async_callback(metrics.close)
        return cls(
            catalog=catalog, blobs=blobs, logs=logs, queues=queues, streams=streams, events=events, topics=topics,
            deliveries=deliveries, checkpoints=checkpoints, metrics=metrics,
        )  # fmt: skip
