"""From PutEvents to targets: what each of them gets, what is tried again, what becomes a dead letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge_harness import ACCOUNT, FUNCTION, QUEUE, REGION, ROLE, Bridge, Outside, bridge_in
from lambent.model.errors import AwsError, service_fault
from queue_clock import HandClock

LETTERS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"


async def test_a_target_gets_the_whole_event(bridge: Bridge) -> None:
    await bridge.rule()
    answer = await bridge.put({"n": 1}, Resources=["a"])
    await bridge.put({"n": 2}, source="elsewhere")
    await bridge.settled()
    (message,) = bridge.outside.messages
    assert json.loads(message) == {
        "version": "0", "id": answer["EventId"], "detail-type": "order", "source": "shop", "account": ACCOUNT,
        "time": "2026-11-21T07:28:43Z", "region": REGION, "resources": ["a"], "detail": {"n": 1},
    }  # fmt: skip


async def test_a_function_is_invoked_with_the_events_trace(bridge: Bridge) -> None:
    await bridge.rule(arn=f"{FUNCTION}:live", InputPath="$.detail")
    await bridge.put({"n": 1}, TraceHeader="Root=1-5759e988-bd862e3fe1be46a994272793")
    await bridge.settled()
    (invocation,) = bridge.outside.invocations
    assert (invocation.function_name, invocation.qualifier, invocation.payload) == ("f", "live", b'{"n":1}')
    assert invocation.trace_header == "Root=1-5759e988-bd862e3fe1be46a994272793"


INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"Input": '{"constant":  true}'}, '{"constant":  true}'),
    ({"InputPath": "$.detail.name"}, '"a \\"b\\""'),
    ({"InputPath": "$.detail.missing"}, "null"),
    ({"InputPath": "$"}, ""),
    (
        {"InputTransformer": {"InputPathsMap": {"n": "$.detail.name"}, "InputTemplate": '"Name is <n>"'}},
        '"Name is a \\"b\\""',
    ),
    (
        {"InputTransformer": {"InputPathsMap": {"n": "$.detail.none"}, "InputTemplate": '"Name is <n>"'}},
        '"Name is "',
    ),
    (
        {"InputTransformer": {"InputPathsMap": {"n": "$.detail.name"}, "InputTemplate": "Name is <n>"}},
        'Name is a "b"',
    ),
    (
        {
            "InputTransformer": {
                "InputPathsMap": {"n": "$.detail.name", "l": "$.detail.list[1]", "o": "$.detail.list"},
                "InputTemplate": '{"name": <n>, "second": <l>, "all": <o>, "text": "<n>: <l>"}',
            }
        },
        '{"name": "a \\"b\\"", "second": 2, "all": [1,2], "text": "a \\"b\\": 2"}',
    ),
    (
        {"InputTransformer": {"InputTemplate": '{"rule": <aws.events.rule-name>, "arn": <aws.events.rule-arn>}'}},
        f'{{"rule": "r", "arn": "arn:aws:events:{REGION}:{ACCOUNT}:rule/r"}}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("target", "body"), INPUTS, ids=[json.dumps(target) for target, _ in INPUTS])
async def test_a_target_gets_what_its_input_says(bridge: Bridge, target: dict[str, Any], body: str) -> None:
    await bridge.rule(**target)
    await bridge.put({"name": 'a "b"', "list": [1, 2]})
    await bridge.settled()
    (message,) = bridge.outside.messages
    assert message == body or (not body and json.loads(message)["detail"] == {"name": 'a "b"', "list": [1, 2]})


async def test_each_service_gets_its_own_request(bridge: Bridge) -> None:
    base = f"{REGION}:{ACCOUNT}"
    targets: list[dict[str, Any]] = [
        {"Arn": f"arn:aws:sqs:{base}:q.fifo", "SqsParameters": {"MessageGroupId": "g"}},
        {"Arn": f"arn:aws:sns:{base}:news"},
        {"Arn": f"arn:aws:kinesis:{base}:stream/s", "RoleArn": ROLE,
         "KinesisParameters": {"PartitionKeyPath": "$.detail.n"}},
        {"Arn": f"arn:aws:states:{base}:stateMachine:m", "RoleArn": ROLE},
        {"Arn": f"arn:aws:logs:{base}:log-group:/g:*"},
    ]  # fmt: skip
    await bridge.call("PutRule", Name="r", EventPattern='{"source": ["shop"]}')
    await bridge.call(
        "PutTargets", Rule="r", Targets=[{"Id": str(i), **t, "Input": "{}"} for i, t in enumerate(targets)]
    )
    await bridge.put({"n": 5})
    await bridge.settled()
    asked = {(call.service, call.operation): call.request for call in bridge.outside.calls}
    assert asked["sqs", "SendMessage"]["MessageGroupId"] == "g"
    assert asked["sqs", "SendMessage"]["MessageDeduplicationId"]
    assert asked["sns", "Publish"] == {"TopicArn": f"arn:aws:sns:{base}:news", "Message": "{}"}
    assert asked["kinesis", "PutRecord"]["PartitionKey"] == "5"
    assert asked["stepfunctions", "StartExecution"]["input"] == "{}"
    assert asked["logs", "CreateLogStream"]["logGroupName"] == "/g"
    assert asked["logs", "PutLogEvents"]["logEvents"][0]["message"] == "{}"


async def test_a_bus_sends_on_to_another_bus_and_never_round_and_round(bridge: Bridge) -> None:
    await bridge.call("CreateEventBus", Name="other")
    other = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/other"
    await bridge.rule(arn=other)
    await bridge.call("PutRule", Name="back", EventBusName="other", EventPattern='{"source": ["shop"]}')
    back = [{"Id": "1", "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"}, {"Id": "2", "Arn": QUEUE}]
    await bridge.call("PutTargets", Rule="back", EventBusName="other", Targets=back)
    answer = await bridge.put()
    await bridge.settled()
    ids = {json.loads(message)["id"] for message in bridge.outside.messages}
    assert ids == {answer["EventId"]}
    assert len(bridge.outside.messages) == 8  # every second of sixteen buses


async def test_a_clock_that_is_set_back_delays_no_retry(bridge: Bridge) -> None:
    await bridge.rule()
    bridge.outside.failures = [service_fault("down")]
    await bridge.put()
    await bridge.until(lambda: not bridge.outside.failures)
    bridge.clock.behind_s = 86_400
    await bridge.advance(2)
    await bridge.settled()
    assert len(bridge.outside.messages) == 1


async def test_what_fails_is_tried_again_later_and_later(bridge: Bridge) -> None:
    bridge.outside.failures = [service_fault("down"), service_fault("down"), AwsError("ThrottlingException", "", 400)]
    await bridge.rule()
    await bridge.put()
    await bridge.until(lambda: len(bridge.outside.failures) == 2)
    await bridge.advance(1)
    await bridge.until(lambda: len(bridge.outside.failures) == 1)
    await bridge.advance(0.9)
    assert len(bridge.outside.failures) == 1
    await bridge.advance(1.1)
    await bridge.until(lambda: not bridge.outside.failures)
    await bridge.advance(4)
    await bridge.settled()
    assert len(bridge.outside.messages) == 1


FINAL = [
    (AwsError("AccessDenied", "no", 403), "NO_PERMISSIONS"),
    (AwsError("AWS.SimpleQueueService.NonExistentQueue", "gone", 400), "NO_RESOURCE"),
    (AwsError("InvalidParameterValue", "bad", 400), "SDK_CLIENT_ERROR"),
    (AwsError("NotImplemented", "not built", 501), "SDK_CLIENT_ERROR"),
]


@pytest.mark.parametrize(("error", "code"), FINAL, ids=[code for _, code in FINAL])
async def test_what_cannot_become_right_is_a_dead_letter_at_once(bridge: Bridge, error: AwsError, code: str) -> None:
    bridge.outside.broken["sns"] = error
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:news"
    await bridge.rule(arn=topic, DeadLetterConfig={"Arn": LETTERS})
    await bridge.put({"n": 1})
    await bridge.settled()
    (letter,) = [call.request for call in bridge.outside.calls]
    told = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert told == {
        "RULE_ARN": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r", "TARGET_ARN": topic, "ERROR_CODE": code,
        "ERROR_MESSAGE": f"{error.code}: {error.message}", "RETRY_ATTEMPTS": "0",
    }  # fmt: skip
    assert json.loads(letter["MessageBody"])["detail"] == {"n": 1}


async def test_a_function_that_is_gone_is_a_dead_letter(bridge: Bridge) -> None:
    await bridge.rule(arn=FUNCTION[:-1] + "gone", DeadLetterConfig={"Arn": LETTERS})
    await bridge.put()
    await bridge.settled()
    (letter,) = [call.request for call in bridge.outside.calls]
    assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_RESOURCE"


async def test_retries_end_as_the_target_says(bridge: Bridge) -> None:
    bridge.outside.broken["sns"] = service_fault("down")
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:news"
    await bridge.rule(arn=topic, DeadLetterConfig={"Arn": LETTERS}, RetryPolicy={"MaximumRetryAttempts": 1})
    await bridge.put()
    await bridge.advance(2)
    await bridge.settled()
    (letter,) = [call.request for call in bridge.outside.calls]
    assert letter["MessageAttributes"]["EXHAUSTED_RETRY_CONDITION"]["StringValue"] == "MaximumRetryAttempts"
    assert letter["MessageAttributes"]["RETRY_ATTEMPTS"]["StringValue"] == "1"


async def test_one_target_that_is_down_delays_no_other(bridge: Bridge) -> None:
    bridge.outside.broken["sns"] = service_fault("down")
    await bridge.rule("broken", arn=f"arn:aws:sns:{REGION}:{ACCOUNT}:news")
    await bridge.rule("works")
    await bridge.put()
    await bridge.until(lambda: bridge.outside.messages)


async def test_what_was_accepted_is_delivered_by_the_next_server(tmp_path: Path) -> None:
    clock, outside = HandClock(), Outside()
    outside.broken["sqs"] = service_fault("down")
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await bridge.rule()
        answer = await bridge.put()
    outside.broken.clear()
    clock.advance(600)
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await bridge.settled()
    assert [json.loads(message)["id"] for message in outside.messages] == [answer["EventId"]]


REFUSED_ENTRIES: list[tuple[dict[str, Any], str, str]] = [
    ({"Source": ""}, "InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument."),
    ({"DetailType": None}, "InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument."),
    ({"Detail": None}, "InvalidArgument", "Parameter Detail is not valid. Reason: Detail is a required argument."),
    ({"Detail": "[1]"}, "MalformedDetail", "Detail is malformed."),
    ({"Detail": "{"}, "MalformedDetail", "Detail is malformed."),
    ({"Source": "aws.ec2"}, "NotAuthorizedForSourceException", "Not authorized for the source."),
]  # fmt: skip


@pytest.mark.parametrize(("members", "code", "message"), REFUSED_ENTRIES, ids=[str(m) for m, _, _ in REFUSED_ENTRIES])
async def test_a_bad_entry_is_refused_and_the_others_are_taken(
    bridge: Bridge, members: dict[str, Any], code: str, message: str
) -> None:
    await bridge.rule()
    good = {"Source": "shop", "DetailType": "t", "Detail": "{}"}
    answer = await bridge.call("PutEvents", Entries=[{**good, **members}, good])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0] == {"ErrorCode": code, "ErrorMessage": message}
    await bridge.settled()
    assert len(bridge.outside.messages) == 1


async def test_entries_of_more_than_a_megabyte_are_refused(bridge: Bridge) -> None:
    detail = json.dumps({"x": "y" * 1_048_576})
    entry = {"Source": "shop", "DetailType": "t", "Detail": detail}
    code, message = await bridge.refused("PutEvents", Entries=[entry])
    assert (code, message) == ("ValidationException", "Total size of the entries in the request is over the limit.")


async def test_another_account_needs_the_buss_permission(bridge: Bridge) -> None:
    await bridge.call("CreateEventBus", Name="open")
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/open"
    await bridge.call("PutRule", Name="r", EventBusName="open", EventPattern='{"source": ["shop"]}')
    await bridge.call("PutTargets", Rule="r", EventBusName="open", Targets=[{"Id": "1", "Arn": QUEUE}])
    entry = {"Source": "shop", "DetailType": "t", "Detail": "{}", "EventBusName": bus}
    refused = await bridge.call("PutEvents", "999999999999", Entries=[entry])
    assert refused["Entries"][0]["ErrorCode"] == "AccessDeniedException"
    await bridge.call(
        "PutPermission", EventBusName="open", StatementId="s", Principal="999999999999", Action="events:PutEvents"
    )
    taken = await bridge.call("PutEvents", "999999999999", Entries=[entry])
    assert taken["FailedEntryCount"] == 0
    await bridge.settled()
    assert json.loads(bridge.outside.messages[0])["account"] == "999999999999"


async def test_rules_match_whatever_they_say_of_the_source(bridge: Bridge) -> None:
    patterns = [{"source": ["shop", "mill"]}, {"source": [{"prefix": "sh"}]}, {"detail": {"n": [1]}},
                {"source": ["mill"]}, {"$or": [{"source": ["mill"]}, {"detail-type": ["order"]}]}]  # fmt: skip
    for number, pattern in enumerate(patterns):
        await bridge.rule(f"r{number}", pattern=json.dumps(pattern), Input=str(number))
    await bridge.put({"n": 1})
    await bridge.settled()
    assert sorted(bridge.outside.messages) == ["0", "1", "2", "4"]


@pytest.mark.parametrize("depth", [50, 400, 900, 5000])
async def test_deep_details_are_taken_or_malformed_but_break_nothing(bridge: Bridge, depth: int) -> None:
    await bridge.rule(pattern=json.dumps({"detail": {"a": [1]}}))
    await bridge.rule("all", pattern=json.dumps({"source": ["shop"]}))
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        detail = f'{{"a": {opening * depth}1{closing * depth}}}'
        entry = {"Source": "shop", "DetailType": "t", "Detail": detail}
        (answer,) = (await bridge.call("PutEvents", Entries=[entry]))["Entries"]
        assert answer.get("ErrorCode", "MalformedDetail") == "MalformedDetail"
        assert depth > 400 or "EventId" in answer
    await bridge.settled()
