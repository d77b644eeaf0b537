"""Figures of what was deleted leave the server's memory, whatever they are of."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.app.presence import Presence
from lambent.app.stores import Stores
from lambent.control.event_source_mappings import KIND as MAPPINGS
from lambent.model.function import FunctionSettings, FunctionVersion
from lambent.model.names import FunctionAddress
from lambent.ports import CatalogTransaction
from lambent.services.delivery.figures import DeliveryFigures
from lambent.services.events.names import Bus
from lambent.services.events.router import RULES
from lambent.services.scheduler.groups import GROUPS
from lambent.services.sns.figures import TopicFigures
from lambent.sources.figures import MappingFigures
from lambent.store.deliveries import NewDelivery
from lambent.store.queues.figures import QueueFigures
from lambent.store.streams import Settings, Stream
from lambent.store.streams.figures import StreamFigures
from lambent.telemetry.metrics import Metrics
from lambent.telemetry.system_clock import SystemClock

ACCOUNT, REGION = PLACE = "111122223333", "eu-west-1"
FUNCTION = FunctionAddress(*PLACE, "f")
KEY = (*PLACE, "q")
BUSES = [Bus(*PLACE, "default"), Bus(*PLACE, "orders")]
STREAM = Stream(id=0, account_id=ACCOUNT, region=REGION, name="s", created_ms=0, settings=Settings(), shards=())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def stores(tmp_path: Path, metrics: Metrics) -> AsyncIterator[Stores]:
    async with contextlib.AsyncExitStack() as stack:
        yield await Stores.open(stack, tmp_path, SystemClock(), SystemClock(), metrics)


def subjects(metrics: Metrics) -> set[tuple[str, ...]]:
    metrics.take()
    return {(series.namespace, *(value for _, value in series.dimensions)) for series in metrics.totals()}


async def make(stores: Stores, metrics: Metrics) -> None:
    """One of each kind, and figures of it."""
    version = FunctionVersion(
        account_id=ACCOUNT, region=REGION, name="f", version="$LATEST", role="r", runtime="python3.13", handler="a.b",
        code_digest="ab" * 32, code_size_bytes=1, revision_id="r1",
    )  # fmt: skip

    def documents(tx: CatalogTransaction) -> None:
        tx.create_function(version, FunctionSettings())
        tx.put_document(MAPPINGS, *PLACE, "u", {})
        tx.put_document(GROUPS, *PLACE, "g", {})
        for bus in BUSES:
            tx.put_document(RULES, *PLACE, bus.key("r"), {})

    await stores.catalog.transact(documents)
    metrics.ran(version, None, 1.0, "success", "on-demand")
    mapping = {"UUID": "u", "MetricsConfig": {"Metrics": ["EventCount"]}}
    MappingFigures(mapping, *PLACE, metrics).count("PolledEventCount", 1)
    queue = await stores.queues.create(KEY, {}, {})
    QueueFigures(metrics, SystemClock()).deleted(queue, 1)
    await stores.streams.create(STREAM)
    StreamFigures(metrics).put(STREAM, [])
    topic, _ = await stores.topics.create_topic((*PLACE, "t"), {}, {})
    TopicFigures(metrics).count(topic.arn, "NumberOfMessagesPublished", 1)
    figures, about = DeliveryFigures(metrics), {"account": ACCOUNT, "region": REGION}
    for bus in BUSES:
        rule = about | {"kind": "rule", "owner": bus.rule_arn("r")}
        figures.accepted([NewDelivery(lane="arn:aws:sqs:::q", about=rule, body=b"")])
    for group in ("g", "default"):
        schedule = about | {"kind": "schedule", "owner": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{group}/x"}
        figures.attempted(schedule)


async def delete(stores: Stores) -> None:
    def documents(tx: CatalogTransaction) -> None:
        tx.delete_function(FUNCTION)
        tx.delete_document(MAPPINGS, *PLACE, "u")
        tx.delete_document(GROUPS, *PLACE, "g")
        for bus in BUSES:
            tx.delete_document(RULES, *PLACE, bus.key("r"))

    await stores.catalog.transact(documents)
    await stores.queues.delete(KEY)
    await stores.streams.delete(STREAM.key, lambda stream: None)
    topic = stores.topics.topic(f"arn:aws:sns:{REGION}:{ACCOUNT}:t")
    assert topic is not None
    await stores.topics.delete_topic(topic)


async def test_figures_are_kept_of_what_is_there_and_forgotten_of_what_was_deleted(
    stores: Stores, metrics: Metrics
) -> None:
    presence = Presence(stores)
    await make(stores, metrics)
    everything = subjects(metrics)
    assert everything == {
        ("AWS/Lambda", "f"), ("AWS/Lambda", "u"), ("AWS/SQS", "q"), ("AWS/Kinesis", "s"), ("AWS/SNS", "t"),
        ("AWS/Events", "r"), ("AWS/Events", "orders", "r"), ("AWS/Scheduler", "g"), ("AWS/Scheduler", "default"),
    }  # fmt: skip
    for _ in range(2):
        metrics.forget(presence.of)
    assert subjects(metrics) == everything
    await delete(stores)
    for _ in range(2):
        metrics.forget(presence.of)
    assert subjects(metrics) == {("AWS/Scheduler", "default")}  # there is always one
