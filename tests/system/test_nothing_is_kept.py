"""What was deleted leaves nothing in the server's memory: neither functions nor what called them, whatever they did."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

from live_server import REGION, LiveServer, package, running, until

# The server, which says on SIGUSR2 what in its memory has a name of these lives. What caches with a bound hold does not count;
# what it does once or twice a minute (looking through figures, trimming events) is done at once.
PROGRAM = r"""
import collections, functools, gc, json, re, signal
from types import FrameType

NAME = re.compile(r"life-(\d+)-of")
gc.freeze = lambda: None  # the collector does not show what is frozen


def name_in(part):
    if isinstance(part, bytes):
        part = part[:1000].decode("latin-1")
    found = NAME.search(part[:1000]) if isinstance(part, str) else None
    return found and int(found[1])


def within(held):
    # also what the collector does not follow: keys that are text, and tuples and dictionaries without anything but text
    if isinstance(held, dict):
        yield from held
    for part in gc.get_referents(held):
        yield part
        if isinstance(part, tuple | dict) and not gc.is_tracked(part):
            yield from within(part)


def look(*_):
    from lambent.app.metering import Metering
    from lambent.services.delivery.queue_sender import QueueSender
    from lambent.store.events import EventStore

    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper):
            each.cache_clear()
        elif isinstance(each, QueueSender):
            each._urls.clear()
        elif isinstance(each, EventStore):
            each._to_trim.clear()
        elif isinstance(each, Metering):
            each.telemetry.forget(each._presence.of)
    gc.collect()
    holders = collections.defaultdict(set)
    for each in gc.get_objects():
        if not isinstance(each, FrameType):
            for part in within(each):
                if (number := name_in(part)) is not None:
                    holders[number].add(f"{type(each).__name__} with {part[:100]!r}")
    print("kept:", json.dumps({number: sorted(held) for number, held in holders.items()}), flush=True)


signal.signal(signal.SIGUSR2, look)
from lambent.cli import main

main()
"""
CODE = """
def handler(event, context):
    print("a line")
    return event
"""
WAYS = 6  # by name, by alias, asynchronously, by the queue of a topic, by a stream, by a rule
LIVES = 8
LAST = 3  # what went last may still be in the hands of a thread or a connection that waits for more


def live(server: LiveServer, number: int) -> None:
    """A function that is called in each way, and all that goes with it."""
    client, sqs, sns, events, kinesis = map(server.client, ("lambda", "sqs", "sns", "events", "kinesis"))
    name = f"life-{number}-of"
    server.create(CODE, FunctionName=name)
    function = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    client.add_permission(
        FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com"
    )
    queue, queue_arn = sqs.create_queue(QueueName=name)["QueueUrl"], f"arn:aws:sqs:{REGION}:000000000000:{name}"
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    stream_arn = f"arn:aws:kinesis:{REGION}:000000000000:stream/{name}"
    start = {"StartingPosition": "TRIM_HORIZON", "MetricsConfig": {"Metrics": ["EventCount"]}}
    mappings = [
        client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, **more)["UUID"]
        for arn, more in ((queue_arn, {}), (stream_arn, start))
    ]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "f", "Arn": function}])

    assert server.invoke(name, number).value == number
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    assert server.invoke(name, number, Qualifier="live").value == number
    client.update_function_code(FunctionName=name, ZipFile=package({"app.py": f"{CODE}# {number}"}))
    server.until_ready(name)
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    sns.publish(TopicArn=topic, Message="m")
    kinesis.put_record(StreamName=name, Data=b"d", PartitionKey="p")
    events.put_events(Entries=[{"Source": name, "DetailType": "t", "Detail": "{}"}])
    until(lambda: server.log_of(name).count("a line") >= WAYS, 30.0)

    events.remove_targets(Rule=name, Ids=["f"])
    events.delete_rule(Name=name)
    for mapping in mappings:
        client.delete_event_source_mapping(UUID=mapping)
    sns.delete_topic(TopicArn=topic)
    client.delete_function(FunctionName=name)
    sqs.delete_queue(QueueUrl=queue)
    kinesis.delete_stream(StreamName=name)


def kept(server: LiveServer) -> dict[int, list[str]]:
    """By the number of the life: what knows its name."""
    said = server.output.read_text().count("kept:")
    server.process.send_signal(signal.SIGUSR2)
    until(lambda: server.output.read_text().count("kept:") > said)
    told: dict[str, Any] = json.loads(re.findall(r"kept: (.*)\n", server.output.read_text())[-1])
    return {int(number): holders for number, holders in told.items()}


def test_what_was_deleted_leaves_nothing_in_memory(tmp_path: Path) -> None:
    with running(tmp_path / "data", program=["-c", PROGRAM]) as server:
        for number in range(LIVES):
            live(server, number)
        before: dict[int, list[str]] = {}

        def has_gone() -> bool:
            nonlocal before
            before = {number: holders for number, holders in kept(server).items() if number < LIVES - LAST}
            return not before

        try:
            until(has_gone, 30.0)
        except AssertionError:
            assert before == {}
            raise
