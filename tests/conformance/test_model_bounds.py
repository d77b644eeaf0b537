"""Every bound of Lambda's model from both sides, for every operation: cases made from the model, sent as raw HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambent.front.gateway import Gateway
from lambent.wire.models import Models
from model_cases import WRONG_TYPES, bad_values, edge_values, fitting, in_body, places, sentences, with_value
from raw_gateway import LAMBDA, Anything, NoRoad, Raw, Reply, ask, request_of

MODELS = Models()
# These have a road of their own, which only looks at what is unusual: see the last test.
INVOKES = ("Invoke", "InvokeWithResponseStream")
OPERATIONS = [name for name in LAMBDA.operation_names if name not in INVOKES]
WITH_INPUT = [name for name in OPERATIONS if LAMBDA.operation_model(name).input_shape.members]


class World:
    def __init__(self) -> None:
        self.service = Anything()
        self.gateway = Gateway([self.service], NoRoad(), models=MODELS)

    async def accepted(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        """What reached the operation. Fails when the request is refused."""
        self.service.asked.clear()
        reply = await self.send(request_of(operation, members))
        assert self.service.asked, (operation, members, reply.status, reply.body)
        assert self.service.asked[0][0] == operation
        return self.service.asked[0][1]

    async def refused(self, operation: str, members: dict[str, Any], code: str) -> str:
        """The message. Fails when the operation is reached, or something else is wrong with the answer."""
        self.service.asked.clear()
        reply = await self.send(request_of(operation, members))
        assert not self.service.asked, (operation, members, "was accepted")
        assert (reply.status, reply.code) == (400, code), (operation, members, reply)
        assert reply.headers["x-amzn-requestid"]
        return reply.message

    async def send(self, raw: Raw) -> Reply:
        return await asyncio.wait_for(ask(self.gateway, raw), 10)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.gateway.close()


def routable(operation: str, at: tuple[Any, ...], value: Any) -> bool:
    """Whether a request can say it: labels of an address cannot be empty, nor lists in a query."""
    member = LAMBDA.operation_model(operation).input_shape.members[at[0]]
    return (member.serialization.get("location"), value) not in (("uri", ""), ("querystring", []))


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_request_with_what_is_required_reaches_its_operation(operation: str, world: World) -> None:
    shape = LAMBDA.operation_model(operation).input_shape
    asked = await world.accepted(operation, fitting(shape))
    assert set(shape.required_members) <= set(asked)


@pytest.mark.parametrize("operation", WITH_INPUT)
async def test_values_that_just_fit_are_accepted(operation: str, world: World) -> None:
    for at, _, shape in places(LAMBDA.operation_model(operation).input_shape):
        for value in edge_values(shape):
            if routable(operation, at, value) and not sentences(shape, value, ""):
                await world.accepted(operation, with_value(operation, at, value))


@pytest.mark.parametrize("operation", WITH_INPUT)
async def test_values_beyond_a_bound_are_refused_with_the_model_s_sentence(operation: str, world: World) -> None:
    for at, path, shape in places(LAMBDA.operation_model(operation).input_shape):
        for why, value in bad_values(shape):
            if not routable(operation, at, value):
                continue
            expected = sentences(shape, value, path)
            assert expected, (path, why, value)
            message = await world.refused(operation, with_value(operation, at, value), "ValidationException")
            noun = "error" if len(expected) == 1 else "errors"
            assert message.startswith(f"{len(expected)} validation {noun} detected: Value"), (path, why, message)
            assert all(sentence in message for sentence in expected), (path, why, message, expected)


@pytest.mark.parametrize("operation", [n for n in WITH_INPUT if LAMBDA.operation_model(n).input_shape.required_members])
async def test_what_is_required_is_missed(operation: str, world: World) -> None:
    shape = LAMBDA.operation_model(operation).input_shape
    whole = fitting(shape)
    elsewhere = [n for n in shape.required_members if shape.members[n].serialization.get("location") == "uri"]
    missing = [name for name in shape.required_members if name not in elsewhere]
    if shape.serialization.get("payload") in missing:
        return  # an empty body is an empty payload
    for name in missing:
        message = await world.refused(operation, {k: v for k, v in whole.items() if k != name}, "ValidationException")
        assert message == f"1 validation error detected: {null_at(name)}"
    if missing:
        message = await world.refused(operation, {k: whole[k] for k in elsewhere}, "ValidationException")
        noun = "error" if len(missing) == 1 else "errors"
        assert message == f"{len(missing)} validation {noun} detected: " + "; ".join(map(null_at, missing))


def null_at(name: str) -> str:
    return f"Value null at '{name[:1].lower() + name[1:]}' failed to satisfy constraint: Member must not be null"


@pytest.mark.parametrize("operation", WITH_INPUT)
async def test_everything_that_is_wrong_is_told_at_once(operation: str, world: World) -> None:
    shape = LAMBDA.operation_model(operation).input_shape
    members: dict[str, Any] = fitting(shape)
    expected: list[str] = []
    for name, member in shape.members.items():
        bad = next((value for _, value in bad_values(member) if routable(operation, (name,), value)), None)
        if bad is not None:
            members[name] = bad
            expected += sentences(member, bad, name[:1].lower() + name[1:])
    if expected:
        message = await world.refused(operation, members, "ValidationException")
        assert message.split(" ", 1)[0] == str(len(expected))
        assert all(sentence in message for sentence in expected), (message, expected)


@pytest.mark.parametrize("operation", WITH_INPUT)
async def test_values_of_the_wrong_type_are_not_taken_for_something_else(operation: str, world: World) -> None:
    for at, path, shape in places(LAMBDA.operation_model(operation).input_shape):
        if not in_body(operation, at):
            continue
        for value in WRONG_TYPES[shape.type_name]:
            message = await world.refused(operation, with_value(operation, at, value), "SerializationException")
            assert message != "None", (path, value)


@pytest.mark.parametrize("operation", WITH_INPUT)
async def test_nulls_in_lists_and_maps_are_missed(operation: str, world: World) -> None:
    for at, path, shape in places(LAMBDA.operation_model(operation).input_shape):
        if shape.type_name not in ("list", "map") or not in_body(operation, at):
            continue
        inner = shape.member if shape.type_name == "list" else shape.value
        key = 1 if shape.type_name == "list" else fitting(shape.key)
        value = [None] if shape.type_name == "list" else {key: None}
        message = await world.refused(operation, with_value(operation, at, value), "ValidationException")
        where = f"{path}.{key}.member" if inner.type_name in ("structure", "list", "map") else path
        assert f"at '{where}' failed to satisfy constraint: " in message
        assert "Member must not be null" in message


@pytest.mark.parametrize("operation", WITH_INPUT)
async def test_numbers_and_booleans_in_addresses_are_numbers_and_booleans(operation: str, world: World) -> None:
    shape = LAMBDA.operation_model(operation).input_shape
    for name, member in shape.members.items():
        if member.type_name in ("integer", "long", "boolean", "timestamp") and not in_body(operation, (name,)):
            for text in ("x", "1e", "0x10", "9" * 400, "\u0661"):
                await world.refused(operation, {**fitting(shape), name: text}, "SerializationException")


@pytest.mark.parametrize(
    "operation", [n for n in WITH_INPUT if "payload" not in LAMBDA.operation_model(n).input_shape.serialization]
)
async def test_members_that_the_model_does_not_know_are_ignored(operation: str, world: World) -> None:
    whole = fitting(LAMBDA.operation_model(operation).input_shape)
    plain = await world.accepted(operation, whole)
    assert await world.accepted(operation, {**whole, "NoSuchMember": {"a": [1]}}) == plain
    raw = request_of(operation, whole)
    nulls = json.dumps({**json.loads(raw.body or b"{}"), "Description": None, "Nothing": None}).encode()
    world.service.asked.clear()
    await world.send(Raw(method=raw.method, target=raw.target, body=nulls, headers=raw.headers))
    assert world.service.asked == [(operation, plain)]


@pytest.mark.parametrize("operation", INVOKES)
async def test_invocations_are_held_against_the_same_bounds(operation: str, world: World) -> None:
    shape = LAMBDA.operation_model(operation).input_shape
    several: dict[str, Any] = {"FunctionName": "f"}
    expected: list[str] = []
    for name in ("InvocationType", "LogType", "Qualifier", "TenantId", "DurableExecutionName"):
        member = shape.members.get(name)
        # Headers have no line breaks, nothing beyond Latin-1, and no blanks at their ends.
        for why, value in bad_values(member) if member is not None else ():
            if "\n" in value or "\u20ac" in value or not value.strip():
                continue
            message = await world.refused(operation, {"FunctionName": "f", name: value}, "ValidationException")
            told = sentences(member, value, name[:1].lower() + name[1:])
            assert all(sentence in message for sentence in told), (name, why, message)
            several[name] = value
        if name in several:
            expected += sentences(member, several[name], name[:1].lower() + name[1:])
    message = await world.refused(operation, several, "ValidationException")
    assert message.startswith(f"{len(expected)} validation errors detected: ")
    assert all(sentence in message for sentence in expected), (message, expected)
