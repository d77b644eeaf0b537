"""Asynchronous invocation as users have it: boto3, the command line, a clock that is turned, and kill -9."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer, environ, running, start, until

FAILS = "def handler(event, context):\n    raise ValueError('always')\n"
WORKS = "def handler(event, context):\n    return event\n"


def ask(server: LiveServer, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def send(server: LiveServer, name: str, event: object, **members: Any) -> str:
    """Leaves an event; returns its request id."""
    answer = server.client().invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event), **members)
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    return str(answer["ResponseMetadata"]["RequestId"])


def timeline(server: LiveServer, name: str, request_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(server, "GET", f"/_lambent/events/{name}/{request_id}")
    return found


def whats(event: dict[str, Any]) -> list[str]:
    return [step["what"] for step in event["steps"]]


def until_step(server: LiveServer, name: str, request_id: str, what: str, times: int = 1) -> dict[str, Any]:
    def seen() -> dict[str, Any] | None:
        event = timeline(server, name, request_id)
        return event if whats(event).count(what) >= times else None

    return until(seen, 30)


@pytest.fixture(scope="module")
def turnable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("turnable") / "data", "--virtual-clock") as server:
        yield server


def test_retries_of_three_minutes_take_no_time_when_the_clock_is_turned(turnable: LiveServer) -> None:
    name = turnable.create(FAILS)
    began = ask(turnable, "GET", "/_lambent/clock")["now"]
    request_id = send(turnable, name, {"n": 1})
    for failures, wait_s in ((1, 60), (2, 120)):
        until_step(turnable, name, request_id, "failed", failures)
        ask(turnable, "POST", "/_lambent/clock", {"advance_s": wait_s})
    event = until_step(turnable, name, request_id, "dropped")
    assert (event["attempts"], event["state"], event["payload"]) == (3, "over", {"n": 1})
    assert event["steps"][-1]["detail"]["condition"] == "RetriesExhausted"
    assert ask(turnable, "GET", "/_lambent/clock")["now"] - began >= 180
    log = until(
        lambda: found if (found := turnable.log_of(name)).count("START RequestId: " + request_id) == 3 else None
    )
    assert abs(log.count("ValueError") - 6) <= 3


def received(server: LiveServer, url: str) -> dict[str, Any]:
    def message() -> dict[str, Any] | None:
        messages: list[dict[str, Any]] = (
            server.client("sqs")
            .receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"])
            .get("Messages", [])
        )
        return messages[0] if messages else None

    found = until(message, 30)
    server.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=found["ReceiptHandle"])
    return found


def queue(server: LiveServer, name: str) -> tuple[str, str]:
    """A new queue's address and ARN."""
    url = server.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    attributes = server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, attributes["Attributes"]["QueueArn"]


def test_a_failed_event_comes_to_its_dead_letters_and_its_destination(turnable: LiveServer) -> None:
    letters, letters_arn = queue(turnable, "letters")
    records, records_arn = queue(turnable, "records")
    name = turnable.create(FAILS, DeadLetterConfig={"TargetArn": letters_arn})
    turnable.client().put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": records_arn}}
    )
    request_id = send(turnable, name, {"order": 7})
    until_step(turnable, name, request_id, "failed")
    ask(turnable, "POST", "/_lambent/clock", {"advance_s": 60})
    letter = received(turnable, letters)
    assert json.loads(letter["Body"]) == {"order": 7}
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert attributes == {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "always"}
    record = json.loads(received(turnable, records)["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_a_failed_event_comes_to_a_bucket_under_its_day(turnable: LiveServer) -> None:
    s3 = turnable.client("s3")
    s3.create_bucket(Bucket="failed-events")
    name = turnable.create(FAILS)
    turnable.client().put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::failed-events"}},
    )  # fmt: skip
    request_id = send(turnable, name, [1])
    until_step(turnable, name, request_id, "sent")
    (found,) = s3.list_objects_v2(Bucket="failed-events", Prefix=f"aws/lambda/async/{name}/")["Contents"]
    record = json.loads(s3.get_object(Bucket="failed-events", Key=found["Key"])["Body"].read())
    assert record["requestContext"]["requestId"] == request_id


@pytest.mark.parametrize(("service", "make"), [
    ("sns", lambda client: client.create_topic(Name="results")["TopicArn"]),
    ("events", lambda client: client.create_event_bus(Name="results")["EventBusArn"]),
])  # fmt: skip
def test_a_success_is_told_to_topics_and_buses(turnable: LiveServer, service: str, make: Callable[[Any], str]) -> None:
    arn = make(turnable.client(service))
    name = turnable.create(WORKS)
    turnable.client().put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    event = until_step(turnable, name, send(turnable, name, 1), "sent")
    assert event["steps"][-1]["detail"] == {"target": arn, "kind": "record"}


def test_a_success_is_told_to_another_function_on_the_same_server(turnable: LiveServer) -> None:
    teller = turnable.create("def handler(event, context):\n    print('told', event['responsePayload'])\n")
    name = turnable.create("def handler(event, context):\n    return event['n'] + 1\n")
    arn = turnable.client().get_function(FunctionName=teller)["Configuration"]["FunctionArn"]
    turnable.client().put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    until_step(turnable, name, send(turnable, name, {"n": 41}), "sent")

    def told() -> bool:
        events = ask(turnable, "GET", f"/_lambent/events/{teller}")["events"]
        return bool(events) and whats(events[0])[-1] == "succeeded"

    until(told, 30)
    until(lambda: "told 42" in turnable.log_of(teller), 30)


def test_a_server_whose_clock_cannot_be_turned_has_no_such_page(live: LiveServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(live, "GET", "/_lambent/clock")
    assert caught.value.code == 404
    caught.value.close()


@pytest.mark.parametrize(
    "body", [{"advance_s": -1}, {"now": "noon"}, {"advance_s": 1, "now": 2}, [], {"advance_s": 1e18}]
)
def test_nonsense_does_not_turn_the_clock(turnable: LiveServer, body: object) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(turnable, "POST", "/_lambent/clock", body)
    assert caught.value.code == 400
    caught.value.close()


def test_a_function_cannot_turn_the_clock(turnable: LiveServer) -> None:
    name = turnable.create(
        """
        import os, urllib.error, urllib.request
        def handler(event, context):
            url = os.environ["AWS_ENDPOINT_URL"] + "/_lambent/clock"
            try:
                urllib.request.urlopen(urllib.request.Request(url, data=b'{"advance_s": 9}', method="POST"))
            except urllib.error.HTTPError as error:
                return error.code
        """
    )
    assert turnable.invoke(name).value == 403


def test_what_is_wrong_with_an_event_is_said_at_once(live: LiveServer) -> None:
    name = live.create(WORKS)
    client = live.client()
    for members, code in (
        ({"FunctionName": "nobody", "Payload": b"{}"}, "ResourceNotFoundException"),
        ({"FunctionName": name, "Payload": b"{"}, "InvalidRequestContentException"),
        ({"FunctionName": name, "Payload": b'"' + b"x" * (1 << 20) + b'"'}, "RequestTooLargeException"),
    ):
        with pytest.raises(ClientError) as caught:
            client.invoke(InvocationType="Event", **members)
        assert caught.value.response["Error"]["Code"] in (code, "RequestEntityTooLargeException")


def test_the_first_api_for_it_works_too(live: LiveServer) -> None:
    name = live.create(WORKS)
    answer = live.client().invoke_async(FunctionName=name, InvokeArgs=b'{"old": 1}')
    assert answer["Status"] == 202
    event = until_step(live, name, answer["ResponseMetadata"]["RequestId"], "succeeded")
    assert event["payload"] == {"old": 1}


def test_the_function_sees_the_same_request_id_that_the_caller_got(live: LiveServer) -> None:
    name = live.create("def handler(event, context):\n    print('mine is', context.aws_request_id)\n")
    request_id = send(live, name, None)
    until_step(live, name, request_id, "succeeded")
    until(lambda: f"mine is {request_id}" in live.log_of(name), 30)


def test_a_function_that_calls_itself_is_stopped_after_sixteen_times(live: LiveServer) -> None:
    name = live.create(
        """
        import boto3
        def handler(event, context):
            boto3.client("lambda").invoke(FunctionName=context.function_name, InvocationType="Event", Payload=b"{}")
        """,
        Timeout=30,
    )
    send(live, name, {})

    def stopped() -> list[dict[str, Any]] | None:
        events: list[dict[str, Any]] = ask(live, "GET", f"/_lambent/events/{name}?limit=100")["events"]
        return events if whats(events[-1])[-1] == "dropped" else None

    events = until(stopped, 60)
    assert [event["attempts"] for event in events] == [1] * 16 + [0]
    assert events[-1]["steps"][-1]["detail"]["condition"] == "RecursiveInvocation"


def lambent(server: LiveServer, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lambent", *words, "--endpoint-url", server.url],
        env=environ(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_line_shows_the_timeline_and_sends_again(live: LiveServer) -> None:
    name = live.create(WORKS)
    request_id = send(live, name, {"n": 5})
    until_step(live, name, request_id, "succeeded")
    shown = lambent(live, "events", name)
    assert [line.split()[3] for line in shown.stdout.splitlines()] == ["accepted", "attempted", "succeeded"], shown
    again = lambent(live, "events", name, "--replay", request_id).stdout.strip()
    event = until_step(live, name, again, "succeeded")
    assert event["payload"] == {"n": 5}
    steps = [json.loads(line) for line in lambent(live, "events", name, "--json").stdout.splitlines()]
    assert Counter(step["requestId"] for step in steps) == {request_id: 3, again: 3}
    assert steps[3]["detail"] == {"replay_of": request_id}
    assert json.loads(lambent(live, "events", name, "--show", again).stdout)["payload"] == {"n": 5}
    missing = lambent(live, "events", name, "--replay", "never")
    assert (missing.returncode, "ResourceNotFoundException" in missing.stderr) == (1, True)


def test_following_prints_what_happens_as_it_does(live: LiveServer) -> None:
    name = live.create(WORKS)
    follower = subprocess.Popen(
        [sys.executable, "-m", "lambent", "events", name, "-f", "--json", "--endpoint-url", live.url],
        env=environ(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with follower:
        try:
            request_id = send(live, name, 1)
            assert follower.stdout is not None
            lines = [json.loads(follower.stdout.readline()) for _ in range(3)]
        finally:
            follower.send_signal(signal.SIGINT)
            follower.wait(30)
    assert [(line["requestId"], line["what"]) for line in lines] == [
        (request_id, "accepted"), (request_id, "attempted"), (request_id, "succeeded"),
    ]  # fmt: skip


def test_the_timeline_is_for_those_who_may_read_it(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--auth", "enforce") as server:
        words = [sys.executable, "-m", "lambent", "credentials", "--json", "--data", str(server.data)]
        key = json.loads(subprocess.run(words, env=environ(), capture_output=True, check=True).stdout)
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(server, "GET", "/_lambent/events/any")
        assert caught.value.code == 403
        caught.value.close()
        words = [sys.executable, "-m", "lambent", "events", "any", "--json", "--endpoint-url", server.url]
        assert subprocess.run(words, env=environ(**key), capture_output=True, timeout=60).returncode == 0
        key["AWS_SECRET_ACCESS_KEY"] = "wrong"
        assert subprocess.run(words, env=environ(**key), capture_output=True, timeout=60).returncode == 1


def test_an_attempt_that_a_kill_cut_off_is_made_again(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    try:
        name = server.create(
            """
            import time
            def handler(event, context):
                print("begun", context.aws_request_id)
                if time.time() < event["until"]:
                    time.sleep(600)
            """,
            Timeout=900,
        )
        slow_until = time.time() + 4
        request_id = send(server, name, {"until": slow_until})
        until_step(server, name, request_id, "attempted")
    finally:
        server.kill()
    time.sleep(max(0.0, slow_until - time.time()))  # the second attempt does not sleep
    with running(tmp_path / "data") as server:
        event = until_step(server, name, request_id, "succeeded")
        assert whats(event) == ["accepted", "attempted", "interrupted", "attempted", "succeeded"]


def test_retries_go_on_after_a_kill_with_the_same_id_and_count(tmp_path: Path) -> None:
    server = start(tmp_path / "data", "--virtual-clock")
    try:
        name = server.create(FAILS)
        request_id = send(server, name, None)
        until_step(server, name, request_id, "failed", 1)
        ask(server, "POST", "/_lambent/clock", {"advance_s": 60})
        until_step(server, name, request_id, "failed", 2)
    finally:
        server.kill()
    with running(tmp_path / "data", "--virtual-clock") as server:
        event = timeline(server, name, request_id)
        assert (event["state"], event["attempts"]) == ("waiting", 2)
        ask(server, "POST", "/_lambent/clock", {"advance_s": 240})
        event = until_step(server, name, request_id, "dropped")
        assert event["attempts"] == 3
        assert whats(event).count("failed") == 3
