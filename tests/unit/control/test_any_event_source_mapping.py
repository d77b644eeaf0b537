"""Whatever a request holds that the model allows: a mapping as the model has it, or an error of AWS's."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control_harness import ACCOUNT, MODEL, REGION, Control
from lambent.control.event_source_mappings import KIND
from lambent.model.errors import AwsError

AUTH = [{"Type": "BASIC_AUTH", "URI": "secret:1"}]
LATEST = {"StartingPosition": "LATEST"}
COMPLETE: list[dict[str, Any]] = [
    {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
    {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q.fifo"},
    {"EventSourceArn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s", **LATEST},
    {"EventSourceArn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s/consumer/c:1", **LATEST},
    {"EventSourceArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/1", **LATEST},
    {"EventSourceArn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/1", **LATEST, "Topics": ["t"]},
    {
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a.example:9092"]}}, **LATEST,
        "Topics": ["t"], "SourceAccessConfigurations": AUTH,
    },
    {"EventSourceArn": f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:1", "Queues": ["q"], "SourceAccessConfigurations": AUTH},
    {
        "EventSourceArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:d", "SourceAccessConfigurations": AUTH,
        "DocumentDBEventSourceConfig": {"DatabaseName": "d"},
    },
    {},
]  # fmt: skip
TEXTS = ["f", "{", '{"a": [1]}', "kafka://t", "a.example:9092", *(str(it.get("EventSourceArn", "")) for it in COMPLETE)]


def values(shape: Any) -> st.SearchStrategy[Any]:
    """What the model allows for a shape, its patterns aside."""
    kind = shape.type_name
    if kind == "structure":
        members = {name: values(member) for name, member in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members if name in members}
        return st.fixed_dictionaries(required, optional=members)
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if kind == "list":
        return st.lists(values(shape.member), min_size=low or 0, max_size=min(high or 3, 3))
    if kind == "map":
        key, value = values(shape.key), values(shape.value)
        return st.dictionaries(key, value, min_size=low or 0, max_size=1)
    if kind in ("integer", "long"):
        return st.integers(low, high)
    if kind == "boolean":
        return st.booleans()
    if kind == "timestamp":
        return st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
    return st.sampled_from(shape.enum) if getattr(shape, "enum", None) else st.sampled_from(TEXTS)


def members_of(operation: str) -> st.SearchStrategy[dict[str, Any]]:
    """A few of an operation's members."""
    shape = MODEL.operation_model(operation).input_shape
    members = {name: values(member) for name, member in shape.members.items() if name not in ("UUID", "FunctionName")}
    kept = st.sets(st.sampled_from(sorted(members)), max_size=3)
    return kept.flatmap(lambda names: st.fixed_dictionaries({name: members[name] for name in sorted(names)}))


def in_a_service(work: Callable[[Control], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            control = Control(Path(directory))
            try:
                await control.create("f")
                await work(control)
            finally:
                await control.close()

    asyncio.run(run())


async def answer(control: Control, operation: str, **members: Any) -> dict[str, Any] | None:
    """The answer, held against the model; None for an error of the caller's."""
    refused: AwsError | None = None
    try:
        return await control(operation, **members)
    except AwsError as error:
        refused = error
    assert 400 <= refused.status < 500, refused
    assert refused.message
    return None


@settings(max_examples=20)
@given(
    creates=st.lists(members_of("CreateEventSourceMapping"), min_size=len(COMPLETE), max_size=len(COMPLETE)),
    updates=st.lists(members_of("UpdateEventSourceMapping"), min_size=len(COMPLETE), max_size=len(COMPLETE)),
)
def test_any_request_gives_a_mapping_or_an_error(creates: list[dict[str, Any]], updates: list[dict[str, Any]]) -> None:
    async def work(control: Control) -> None:
        for complete, create, update in zip(COMPLETE, creates, updates, strict=True):
            made = await answer(control, "CreateEventSourceMapping", **{**complete, **create, "FunctionName": "f"})
            if made is None:
                continue
            mapping = control.catalog.document(KIND, ACCOUNT, REGION, made["UUID"])
            assert mapping is not None
            idle = mapping | {"State": mapping["Wanted"]}
            await control.catalog.transact(
                lambda tx, idle=idle: tx.put_document(KIND, ACCOUNT, REGION, idle["UUID"], idle)  # type: ignore[misc]
            )
            await answer(control, "UpdateEventSourceMapping", **{**update, "UUID": made["UUID"]})
            got = await control("GetEventSourceMapping", UUID=made["UUID"])
            assert got.keys() >= {"UUID", "State", "BatchSize", "FunctionArn", "EventSourceMappingArn"}

    in_a_service(work)
