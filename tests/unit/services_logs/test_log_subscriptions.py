"""Subscriptions of log groups: what is refused, what is sent, and that what is owed outlives failures and restarts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import random
import string
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from full_disk import FullDisk
from lambent.model.errors import AwsError, not_found, service_fault
from lambent.model.invocation import Invocation
from lambent.model.limits import ASYNC_PAYLOAD_MAX_BYTES
from lambent.model.names import FunctionAddress
from lambent.model.request import RequestContext
from lambent.services.logs import LogsService
from lambent.services.logs.destinations import SubscriptionDestinations
from lambent.services.logs.forwarding import Forwarder
from lambent.store.logs import LogStore

ACCOUNT, REGION, GROUP, STREAM = "000000000000", "us-east-1", "/app", "one"
KEY = (ACCOUNT, REGION, GROUP)
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:taker"
KINESIS = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/river"
FIREHOSE = f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/hose"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sender"
HERE = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://127.0.0.1:1")
SOON_S = 20.0


class Clock:
    """Real time, but for waits: they end at once, and the time has come then."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def now(self) -> float:
        return time.time() + self.ahead_s

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        if seconds > 300:  # there is nothing to wait for
            await asyncio.sleep(seconds)
        await self.may_go_on.wait()
        self.ahead_s += seconds
        await asyncio.sleep(0)


class Around:
    """The functions, the queue of events and the other services."""

    def __init__(self) -> None:
        self.functions = {"taker"}
        self.taken: list[Invocation] = []
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.faults = 0  # how many times the queue refuses
        self.mistakes = 0  # how many times it breaks
        self.slow = ""  # a function whose events it takes only when it may
        self.may_take = asyncio.Event()
        self.waiting: list[Invocation] = []
        self.denied: set[str] = set()  # principals

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> Any:
        if name not in self.functions:
            raise not_found(f"Function not found: {name}")

    def subscribe(self, changed: Any) -> None:
        raise NotImplementedError

    async def enqueue(self, invocation: Invocation) -> None:
        if self.faults:
            self.faults -= 1
            raise service_fault("the disk is full")
        if self.mistakes:
            self.mistakes -= 1
            raise RuntimeError("a mistake")
        if invocation.function_name == self.slow:
            self.waiting.append(invocation)
            await self.may_take.wait()
        assert len(invocation.payload) <= ASYNC_PAYLOAD_MAX_BYTES
        self.taken.append(invocation)

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if request.get("StreamName") == "dry":
            raise AwsError("ResourceNotFoundException", "Stream dry not found")
        self.called.append((f"{service}:{operation}", dict(request)))
        return {}

    def allow(self, service: str, action: str, function: FunctionAddress, context: Mapping[str, str]) -> None:
        if service in self.denied:
            raise AwsError("AccessDeniedException", "no", 403)

    def messages(self) -> list[dict[str, Any]]:
        """What the function was given, unpacked."""
        return unpacked_of(self.taken)


def unpacked_of(invocations: list[Invocation]) -> list[dict[str, Any]]:
    return [unpacked(base64.b64decode(json.loads(each.payload)["awslogs"]["data"])) for each in invocations]


def unpacked(data: bytes) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(gzip.decompress(data))
    return message


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.around = Around()

    async def start(self) -> None:
        self.store = await LogStore.open(self.path, self.clock)
        around = self.around
        destinations = SubscriptionDestinations(around.enqueue, around, around, around.allow)
        self.service = LogsService(self.store, self.clock, destinations)
        self.forwarder = Forwarder(self.store, destinations, self.clock)
        self.task: asyncio.Task[None] | None = None

    def forward(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.forwarder.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        await self.store.close()

    async def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        return await self.service.operations[operation](HERE, {"logGroupName": GROUP, **members})

    async def subscribe(self, name: str = "all", arn: str = FUNCTION, pattern: str = "", **more: Any) -> None:
        await self("PutSubscriptionFilter", filterName=name, destinationArn=arn, filterPattern=pattern, **more)

    async def refusal(self, operation: str, **members: Any) -> tuple[str, str]:
        with pytest.raises(AwsError) as caught:
            await self(operation, **members)
        return caught.value.code, caught.value.message

    async def put(self, *messages: str, stream: str = STREAM) -> None:
        at_ms = int(self.clock.now() * 1000)
        with contextlib.suppress(AwsError):
            await self("CreateLogStream", logStreamName=stream)
        events = [{"timestamp": at_ms, "message": message} for message in messages]
        await self("PutLogEvents", logStreamName=stream, logEvents=events)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(SOON_S):
            while not condition():
                await asyncio.sleep(0.01)

    async def until_settled(self) -> None:
        async with asyncio.timeout(SOON_S):
            while await self.store.lanes():
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "logs.db")
    await made.start()
    await made.service.operations["CreateLogGroup"](HERE, {"logGroupName": GROUP})
    yield made
    await made.stop()


def said(messages: list[dict[str, Any]]) -> list[str]:
    return [event["message"] for message in messages for event in message["logEvents"]]


async def test_a_function_gets_the_lines_that_match_as_aws_packs_them(world: World) -> None:
    await world.subscribe(pattern="ERROR -harmless")
    world.forward()
    await world.put("INFO a", "ERROR b", "ERROR harmless", "ERROR c")
    await world.until_settled()
    (message,) = world.around.messages()
    assert {**message, "logEvents": said([message])} == {
        "messageType": "DATA_MESSAGE", "owner": ACCOUNT, "logGroup": GROUP, "logStream": STREAM,
        "subscriptionFilters": ["all"], "logEvents": ["ERROR b", "ERROR c"],
    }  # fmt: skip
    listed = await world("FilterLogEvents", filterPattern="ERROR -harmless")
    assert [(e["id"], e["timestamp"]) for e in message["logEvents"]] == [
        (e["eventId"], e["timestamp"]) for e in listed["events"]
    ]
    (invocation,) = world.around.taken
    assert (invocation.function_name, invocation.qualifier) == ("taker", None)


async def test_lines_of_functions_are_sent_too_and_those_from_before_are_not(world: World) -> None:
    world.store.append(ACCOUNT, REGION, GROUP, "s", [(1, "before")])
    await world.subscribe()
    world.forward()
    world.store.append(ACCOUNT, REGION, GROUP, "s", [(2, "after")])
    world.store.append(ACCOUNT, REGION, "/other", "s", [(3, "elsewhere")])
    await world.store.flush()
    await world.until_settled()
    assert said(world.around.messages()) == ["after"]


async def test_what_is_owed_survives_the_end_of_the_server(world: World) -> None:
    await world.subscribe()
    await world.put("a")
    await world.put("b")
    await world.stop()
    await world.start()
    world.forward()
    await world.until_settled()
    assert said(world.around.messages()) == ["a", "b"]


async def test_a_destination_with_a_fault_is_tried_again_and_order_is_kept(world: World) -> None:
    world.around.faults = 3
    await world.subscribe()
    await world.put("a")
    await world.put("b")
    world.forward()
    await world.put("c")
    await world.until_settled()
    assert said(world.around.messages()) == ["a", "b", "c"]


async def test_lines_that_come_while_others_wait_for_another_try_wait_behind_them(world: World) -> None:
    world.clock.may_go_on.clear()
    world.around.faults = 1
    await world.subscribe()
    await world.put("a")
    world.forward()
    await world.until(lambda: world.around.faults == 0)
    await world.put("b")
    await world.stop()
    await world.start()
    world.clock.may_go_on.set()
    world.forward()
    await world.put("c")
    await world.until_settled()
    assert said(world.around.messages()) == ["a", "b", "c"]


async def test_a_destination_that_takes_its_time_delays_no_other_and_its_own_lines_keep_their_order(
    world: World,
) -> None:
    world.around.functions.add("other")
    world.around.slow = "taker"
    await world.subscribe("slow")
    await world.put("a")
    world.forward()
    await world.until(lambda: world.around.waiting)
    await world.subscribe("quick", FUNCTION.replace("taker", "other"))
    await world.put("b")
    await world.until(lambda: world.around.taken)
    await world.put("c")
    await world.until(lambda: len(world.around.taken) == 2)
    assert {each.function_name for each in world.around.taken} == {"other"}
    world.around.slow = ""
    world.around.may_take.set()
    await world.until_settled()
    slow = [each for each in world.around.taken if each.function_name == "taker"]
    assert said(unpacked_of(slow)) == ["a", "b", "c"]


async def test_a_clock_that_is_set_back_holds_up_no_line(world: World) -> None:
    world.around.faults = 1
    world.clock.may_go_on.clear()
    await world.subscribe()
    await world.put("a")
    world.forward()
    await world.until(lambda: world.around.faults == 0)
    await world.stop()
    world.clock.ahead_s = -365 * 86_400.0
    await world.start()
    world.forward()
    await world.put("b")
    await world.until_settled()
    assert said(world.around.messages()) == ["a", "b"]


async def test_a_full_disk_ends_no_subscription_and_nothing_is_sent_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, LogStore, "settle")
    await world.subscribe()
    world.forward()
    for text in ("a", "b"):
        await world.put(text)
        await world.until_settled()
    assert disk.refused == 3
    assert said(world.around.messages()) == ["a", "b"]


async def test_a_mistake_of_our_own_loses_no_line_if_it_passes(world: World) -> None:
    world.around.mistakes = 2
    await world.subscribe()
    await world.put("a")
    await world.put("b")
    world.forward()
    await world.until_settled()
    assert said(world.around.messages()) == ["a", "b"]


async def test_what_its_function_cannot_have_any_more_is_given_up_and_others_go_on(world: World) -> None:
    world.around.functions.add("other")
    await world.subscribe("gone")
    await world.subscribe("stays", FUNCTION.replace("taker", "other"))
    world.around.functions.remove("taker")
    await world.put("a")
    world.forward()
    await world.until_settled()
    assert [each.function_name for each in world.around.taken] == ["other"]


async def test_nothing_is_sent_for_a_subscription_or_a_group_that_was_deleted(world: World) -> None:
    await world.subscribe()
    await world.put("a")
    await world("DeleteSubscriptionFilter", filterName="all")
    assert await world.store.lanes() == []
    await world.subscribe()
    await world.put("b")
    await world("DeleteLogGroup")
    assert await world.store.lanes() == []
    await world("CreateLogGroup")
    assert (await world("DescribeSubscriptionFilters"))["subscriptionFilters"] == []


async def test_lines_that_are_too_much_for_one_event_come_in_several(world: World) -> None:
    await world.subscribe()
    world.forward()
    draw = random.Random(7)
    lines = ["".join(draw.choices(string.printable, k=200_000)) for _ in range(5)]
    await world.put(*lines)
    await world.until_settled()
    assert said(world.around.messages()) == lines


async def test_streams_get_a_control_message_first(world: World) -> None:
    await world.subscribe("k", KINESIS, roleArn=ROLE)
    await world.subscribe("f", FIREHOSE, roleArn=ROLE)
    for (operation, request), expected in zip(world.around.called, ("Kinesis stream", "Firehose"), strict=True):
        data = request["Data"] if operation == "kinesis:PutRecord" else request["Record"]["Data"]
        control = unpacked(data)
        assert (control["messageType"], control["owner"]) == ("CONTROL_MESSAGE", "CloudwatchLogs")
        assert said([control]) == [f"CWL CONTROL MESSAGE: Checking health of destination {expected}."]
    world.around.called.clear()
    world.forward()
    await world.put("line")
    await world.until_settled()
    requests = dict(world.around.called)
    assert requests["kinesis:PutRecord"]["PartitionKey"] == STREAM
    assert said([unpacked(requests["firehose:PutRecord"]["Record"]["Data"])]) == ["line"]


REFUSALS = {
    "a function's own lines": (
        {"logGroupName": "/aws/lambda/taker"},
        "The log group provided is reserved for the function logs of the destination function.",
    ),
    "a function that is not there": (
        {"destinationArn": FUNCTION + "s"},
        "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute your "
        "function.",
    ),
    "a role for a function": ({"roleArn": ROLE}, "destinationArn for vendor lambda cannot be used with roleArn"),
    "a stream that is not there": (
        {"destinationArn": KINESIS.replace("river", "dry"), "roleArn": ROLE},
        "Could not deliver test message to specified Kinesis stream. Check if the given kinesis stream is in ACTIVE "
        "state.",
    ),
    "a pattern that is none": ({"filterPattern": "{ $.a = }"}, "Invalid filter pattern"),
    "a queue": (
        {"destinationArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
        "Invalid destinationArn: it is neither a function's nor a stream's.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_subscription_is_refused(world: World, what: str) -> None:
    changes, message = REFUSALS[what]
    await world("CreateLogGroup", logGroupName="/aws/lambda/taker")
    members = {"filterName": "f", "destinationArn": FUNCTION, "filterPattern": "", **changes}
    assert await world.refusal("PutSubscriptionFilter", **members) == ("InvalidParameterException", message)


async def test_policies_may_name_the_service_with_its_region_or_without(world: World) -> None:
    world.around.denied = {"logs.us-east-1.amazonaws.com"}
    await world.subscribe()
    world.around.denied.add("logs.amazonaws.com")
    code, message = await world.refusal(
        "PutSubscriptionFilter", filterName="other", destinationArn=FUNCTION, filterPattern=""
    )
    assert (code, message[:37]) == ("InvalidParameterException", "Could not execute the lambda function")


async def test_a_group_has_two_subscriptions_at_most(world: World) -> None:
    await world.subscribe("a")
    await world.subscribe("b", pattern="x")
    members = {"destinationArn": FUNCTION, "filterPattern": "y"}
    assert await world.refusal("PutSubscriptionFilter", filterName="c", **members) == (
        "LimitExceededException", "Resource limit exceeded.",
    )  # fmt: skip
    await world("PutSubscriptionFilter", filterName="b", **members)
    found = (await world("DescribeSubscriptionFilters"))["subscriptionFilters"]
    assert [(f["filterName"], f["filterPattern"]) for f in found] == [("a", ""), ("b", "y")]
    assert set(found[0]) == {
        "filterName", "logGroupName", "filterPattern", "destinationArn", "distribution", "creationTime",
    }  # fmt: skip
    page = await world("DescribeSubscriptionFilters", limit=1)
    rest = await world("DescribeSubscriptionFilters", nextToken=page["nextToken"])
    assert [f["filterName"] for f in rest["subscriptionFilters"]] == ["b"]
    await world("DeleteSubscriptionFilter", filterName="a")
    assert await world.refusal("DeleteSubscriptionFilter", filterName="a") == (
        "ResourceNotFoundException", "The specified subscription filter does not exist.",
    )  # fmt: skip


async def test_filters_of_a_group_that_is_not_there_are_not_found(world: World) -> None:
    for operation, members in (
        ("DescribeSubscriptionFilters", {}),
        ("DeleteSubscriptionFilter", {"filterName": "f"}),
        ("PutSubscriptionFilter", {"filterName": "f", "destinationArn": FUNCTION, "filterPattern": ""}),
        ("PutMetricFilter", {"filterName": "f", "filterPattern": "", "metricTransformations": []}),
    ):
        assert await world.refusal(operation, logGroupName="/absent", **members) == (
            "ResourceNotFoundException", "The specified log group does not exist.",
        )  # fmt: skip


async def test_metric_filters_are_kept_counted_and_found_by_their_metric(world: World) -> None:
    for number in range(3):
        metric = {"metricName": f"m{number}", "metricNamespace": "ns", "metricValue": "1"}
        await world("PutMetricFilter", filterName=f"f{number}", filterPattern="ERROR", metricTransformations=[metric])
    assert (await world("DescribeLogGroups"))["logGroups"][0]["metricFilterCount"] == 3
    everywhere = await world.service.operations["DescribeMetricFilters"](HERE, {})
    assert [f["filterName"] for f in everywhere["metricFilters"]] == ["f0", "f1", "f2"]
    found = await world("DescribeMetricFilters", metricName="m1", metricNamespace="ns")
    assert [f["filterName"] for f in found["metricFilters"]] == ["f1"]
    await world("DeleteMetricFilter", filterName="f1")
    found = await world("DescribeMetricFilters", filterNamePrefix="f")
    assert [f["filterName"] for f in found["metricFilters"]] == ["f0", "f2"]


@pytest.mark.parametrize(
    ("pattern", "more", "message"),
    [
        (
            "{ $.a = * }", {"dimensions": {"a": "$.a"}, "defaultValue": 0.0},
            "Invalid metric transformation: dimensions and default value are mutually exclusive properties",
        ),
        ("?ERROR ?WARN", {"dimensions": {"a": "$.a"}}, "The specified filter pattern does not support dimensions"),
        ("", {"dimensions": {"a": "$.a"}}, "The specified filter pattern does not support dimensions"),
        ("{ $.a = * }", {"dimensions": dict.fromkeys("abcd", "$.a")}, "A metric filter can have up to 3 dimensions."),
        ("{ $.a = * }", {"dimensions": dict.fromkeys("abc", "$.a")}, None),
        ("[a, b]", {"dimensions": {"a": "$a"}}, None),
        ("ERROR", {"dimensions": {}, "defaultValue": 0.0}, None),
    ],
)  # fmt: skip
async def test_dimensions_come_out_of_a_line_that_has_members_or_fields(
    world: World, pattern: str, more: dict[str, Any], message: str | None
) -> None:
    metric = {"metricName": "m", "metricNamespace": "ns", "metricValue": "1", **more}
    members = {"filterName": "f", "filterPattern": pattern, "metricTransformations": [metric]}
    if message is None:
        await world("PutMetricFilter", **members)
    else:
        assert await world.refusal("PutMetricFilter", **members) == ("InvalidParameterException", message)


LINE = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache_pb.gif HTTP/1.0" 200 1534'
TESTED = [  # the first four are API_TestMetricFilter's examples
    (
        "[ip, identity, user_id, timestamp, request, status_code, size]", LINE,
        {"$ip": "127.0.0.1", "$identity": "-", "$user_id": "frank", "$timestamp": "10/Oct/2000:13:25:15 -0700",
         "$request": "GET /apache_pb.gif HTTP/1.0", "$status_code": "200", "$size": "1534"},
    ),
    (
        "[..., size]", LINE,
        {"$1": "127.0.0.1", "$2": "-", "$3": "frank", "$4": "10/Oct/2000:13:25:15 -0700",
         "$5": "GET /apache_pb.gif HTTP/1.0", "$6": "200", "$size": "1534"},
    ),
    (
        "[]", LINE,
        {"$1": "127.0.0.1", "$2": "-", "$3": "frank", "$4": "10/Oct/2000:13:25:15 -0700",
         "$5": "GET /apache_pb.gif HTTP/1.0", "$6": "200", "$7": "1534"},
    ),
    (
        "[..., request=*.gif*, status_code=2*,]", LINE,
        {"$1": "127.0.0.1", "$2": "-", "$3": "frank", "$4": "10/Oct/2000:13:25:15 -0700",
         "$request": "GET /apache_pb.gif HTTP/1.0", "$status_code": "200", "$7": "1534"},
    ),
    ("[ip,,user]", LINE,
     {"$ip": "127.0.0.1", "$2": "-", "$user": LINE.removeprefix("127.0.0.1 - ")}),
    ("[ip, ..., code = 2* && code != 204, size > 1000]", LINE,
     {"$ip": "127.0.0.1", "$2": "-", "$3": "frank", "$4": "10/Oct/2000:13:25:15 -0700",
      "$5": "GET /apache_pb.gif HTTP/1.0", "$code": "200", "$size": "1534"}),
    ('{ $.a.b = "x*" && $.n >= 2 }', '{"a": {"b": "xy"}, "n": 2, "m": "$.q"}', {"$.a.b": "xy", "$.n": "2"}),
    ('{ $.list[1] = "$.x" || $.absent = 1 }', '{"list": [0, "$.x"]}', {"$.list[1]": "$.x"}),
    ("frank", LINE, {}),
    ("", "anything", {}),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "message", "values"), TESTED)
async def test_a_pattern_can_be_tried(world: World, pattern: str, message: str, values: dict[str, str]) -> None:
    answer = await world.service.operations["TestMetricFilter"](
        HERE, {"filterPattern": pattern, "logEventMessages": [message] if pattern in ("", "[]") else ["", message]}
    )
    number = 1 if pattern in ("", "[]") else 2
    assert answer == {"matches": [{"eventNumber": number, "eventMessage": message, "extractedValues": values}]}
