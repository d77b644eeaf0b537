"""Kinesis → function, on a real stream: order, retries, what is given up, and where reading goes on."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dispatch_harness import ACCOUNT, BUCKET, QUEUE, REGION, TOPIC, failed, succeeded, throttled
from lambent.model.invocation import Invocation, Outcome
from sources_harness import STREAM, Streams, answered, data_of, event_of

TO_QUEUE = {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}
REPORTS = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


@pytest.fixture
async def streams(tmp_path: Path) -> AsyncIterator[Streams]:
    world = await Streams.open(tmp_path)
    await world.stream()
    yield world
    await world.close()


def fails_with(*bad: str) -> Any:
    return lambda invocation: failed(invocation) if set(bad) & set(data_of(invocation)) else succeeded(invocation)


async def test_a_record_reaches_the_function_as_aws_shows_it(streams: Streams) -> None:
    (sequence,) = await streams.put("a-1")
    streams.poll()
    await streams.until_checkpoint(sequence)
    (record,) = event_of(streams.invocations.of("f")[0])["Records"]
    assert record["kinesis"].pop("approximateArrivalTimestamp") == pytest.approx(streams.clock.now(), abs=5)
    assert record == {
        "kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "a", "sequenceNumber": sequence, "data": "YS0x"},
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "r",
        "awsRegion": REGION,
        "eventSourceARN": STREAM,
    }
    assert streams.results == ["OK"]


async def test_reading_begins_where_the_mapping_says(streams: Streams) -> None:
    await streams.put("a-1")
    streams.clock.advance(10)
    between_s = streams.clock.now()
    streams.clock.advance(10)
    await streams.put("a-2")
    streams.clock.advance(10)
    positions: list[dict[str, Any]] = [
        {"StartingPosition": "TRIM_HORIZON"},
        {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": between_s},
        {"StartingPosition": "LATEST"},
    ]
    for number, position in enumerate(positions):
        streams.mapping_id = f"mapping-{number}"
        streams.poll(**position)
    (sequence,) = await streams.put("a-3")
    for number in range(len(positions)):
        streams.mapping_id = f"mapping-{number}"
        await streams.until_checkpoint(sequence)
    texts = sorted(text for batch in streams.seen for text in batch)
    assert texts == ["a-1", "a-2", "a-2", "a-3", "a-3", "a-3"]


async def test_a_batch_waits_for_its_window(streams: Streams) -> None:
    streams.poll(MaximumBatchingWindowInSeconds=30)
    began_s = streams.clock.monotonic()
    (*_, sequence) = await streams.put("a-1", "b-1", "a-2")
    await streams.until_checkpoint(sequence, turn_s=1.0)
    assert streams.seen == [["a-1", "b-1", "a-2"]]
    assert streams.clock.monotonic() - began_s >= 30


async def test_records_that_no_filter_lets_through_are_passed_over(streams: Streams) -> None:
    streams.poll(
        FilterCriteria={
            "Filters": [{"Pattern": json.dumps({"data": {"kind": ["x"]}, "partitionKey": ['{"kind": "x"}']})}]
        }
    )
    (*_, sequence) = await streams.put('{"kind": "y"}', '{"kind": "x"}', "no JSON")
    await streams.until_checkpoint(sequence)
    assert streams.seen == [['{"kind": "x"}']]


async def test_a_failed_batch_blocks_its_shard_until_it_succeeds(streams: Streams) -> None:
    tries = iter(range(3))
    streams.invocations.scripts["f"] = lambda i: failed(i) if next(tries, None) is not None else succeeded(i)
    (*_, sequence) = await streams.put("a-1", "a-2")
    streams.poll(BatchSize=1)
    await streams.until_checkpoint(sequence, turn_s=1.0)
    assert streams.seen == [["a-1"]] * 4 + [["a-2"]]
    assert streams.results == ["PROBLEM: Function call failed"] * 3 + ["OK"] * 2


async def test_a_batch_is_given_up_after_its_retries_and_told_to_the_destination(streams: Streams) -> None:
    streams.invocations.scripts["f"] = fails_with("a-1")
    first, second, third = await streams.put("a-1", "b-1", "c-1")
    streams.poll(BatchSize=2, MaximumRetryAttempts=2, **TO_QUEUE)
    await streams.until_checkpoint(third, turn_s=1.0)
    assert streams.seen == [["a-1", "b-1"]] * 3 + [["c-1"]]
    (message,) = streams.services.sent("SendMessage")
    record = json.loads(message["MessageBody"])
    assert record["requestContext"].pop("requestId") == streams.invocations.of("f")[2].request_id
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    times = [record.pop("timestamp")]
    times += [record["KinesisBatchInfo"].pop(f"approximateArrivalOf{end}Record") for end in ("First", "Last")]
    assert all(stamp.fullmatch(time) for time in times)
    assert record == {
        "requestContext": {
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": first,
            "endSequenceNumber": second,
            "batchSize": 2,
            "streamArn": STREAM,
        },
    }


async def test_a_topic_and_a_bucket_are_told_too_the_bucket_with_the_records(streams: Streams) -> None:
    streams.invocations.scripts["f"] = failed
    for number, target in enumerate((TOPIC, BUCKET)):
        streams.mapping_id = f"mapping-{number}"
        streams.poll(MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": target}})
    (sequence,) = await streams.put("a-1")
    for number in range(2):
        streams.mapping_id = f"mapping-{number}"
        await streams.until_checkpoint(sequence, turn_s=1.0)
    (published,) = streams.services.sent("Publish")
    assert json.loads(published["Message"])["KinesisBatchInfo"]["batchSize"] == 1
    (stored,) = streams.services.sent("PutObject")
    assert re.fullmatch(
        r"aws/lambda/mapping-1/shardId-000000000000/\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}",
        stored["Key"],
    )
    assert json.loads(json.loads(stored["Body"])["payload"])["Records"][0]["kinesis"]["data"] == "YS0x"


async def test_splitting_a_failed_batch_leaves_only_the_bad_record_behind(streams: Streams) -> None:
    streams.invocations.scripts["f"] = fails_with("a-5")
    sequences = await streams.put(*(f"a-{n}" for n in range(8)))
    streams.poll(BisectBatchOnFunctionError=True, MaximumRetryAttempts=1, **TO_QUEUE)
    await streams.until_checkpoint(sequences[-1], turn_s=1.0)
    (message,) = streams.services.sent("SendMessage")
    told = json.loads(message["MessageBody"])
    assert told["KinesisBatchInfo"]["startSequenceNumber"] == sequences[5]
    assert (told["KinesisBatchInfo"]["batchSize"], told["requestContext"]["approximateInvokeCount"]) == (1, 2)
    done = [text for batch in streams.seen if "a-5" not in batch for text in batch]
    assert done == [f"a-{n}" for n in range(8) if n != 5]


async def test_records_that_are_too_old_are_given_up_unseen(streams: Streams) -> None:
    old, *_ = await streams.put("a-1")
    streams.clock.advance(120)
    (new,) = await streams.put("a-2")
    streams.poll(MaximumRecordAgeInSeconds=60, **TO_QUEUE)
    await streams.until_checkpoint(new)
    assert streams.seen == [["a-2"]]
    told = json.loads(streams.services.sent("SendMessage")[0]["MessageBody"])
    assert told["requestContext"]["condition"] == "RecordAgeExceeded"
    assert told["KinesisBatchInfo"]["endSequenceNumber"] == old
    assert "responseContext" not in told


async def test_a_batch_goes_on_at_the_first_record_that_the_function_names(streams: Streams) -> None:
    named = iter([["a-3", "a-2"], []])

    def partly(invocation: Invocation) -> Outcome:
        wanted = next(named, [])
        records = event_of(invocation)["Records"]
        texts = data_of(invocation)
        failures = [
            {"itemIdentifier": r["kinesis"]["sequenceNumber"]}
            for r, t in zip(records, texts, strict=True)
            if t in wanted
        ]
        return answered(invocation, {"batchItemFailures": failures})

    streams.invocations.scripts["f"] = partly
    sequences = await streams.put("a-0", "a-1", "a-2", "a-3", "a-4")
    streams.poll(**REPORTS)
    await streams.until_checkpoint(sequences[-1], turn_s=1.0)
    assert streams.seen == [["a-0", "a-1", "a-2", "a-3", "a-4"], ["a-2", "a-3", "a-4"]]


async def test_throttles_are_no_retries(streams: Streams) -> None:
    tries = iter(range(5))
    streams.invocations.scripts["f"] = lambda i: throttled(i) if next(tries, None) is not None else succeeded(i)
    (sequence,) = await streams.put("a-1")
    streams.poll(MaximumRetryAttempts=0, **TO_QUEUE)
    await streams.until_checkpoint(sequence, turn_s=1.0)
    assert len(streams.seen) == 6
    assert streams.services.sent("SendMessage") == []


@pytest.mark.parametrize("factor", [1, 4])
async def test_every_key_keeps_its_order_though_batches_fail_and_run_beside_each_other(
    streams: Streams, factor: int
) -> None:
    busy: set[str] = set()
    at_once: list[int] = []
    failing = {"b-2": 2, "d-0": 1, "a-4": 3}
    done: list[str] = []

    async def moody(invocation: Invocation) -> Outcome:
        texts = data_of(invocation)
        keys = {text.split("-")[0] for text in texts}
        assert not keys & busy, "one key in two batches at once"
        busy.update(keys)
        at_once.append(len(busy))
        await asyncio.sleep(0.002)
        busy.difference_update(keys)
        for text in texts:
            if failing.get(text):
                failing[text] -= 1
                return failed(invocation)
        done.extend(texts)
        return succeeded(invocation)

    streams.invocations.scripts["f"] = moody
    sequences = await streams.put(*(f"{key}-{n}" for n in range(6) for key in "abcdefgh"))
    streams.poll(BatchSize=1, ParallelizationFactor=factor)
    await streams.until_checkpoint(sequences[-1], turn_s=0.5)
    for key in "abcdefgh":
        assert [text for text in done if text[0] == key] == [f"{key}-{n}" for n in range(6)]
    assert (max(at_once) > 1) == (factor > 1)


async def test_a_stopped_poller_goes_on_where_it_was(streams: Streams) -> None:
    poller = streams.poll(BatchSize=2)
    sequences = await streams.put("a-1", "a-2")
    await streams.until_checkpoint(sequences[-1])
    await poller.stop_reading()
    await poller.finished()
    sequences = await streams.put("a-3")
    streams.poll(BatchSize=2)
    await streams.until_checkpoint(sequences[-1])
    assert [text for batch in streams.seen for text in batch] == ["a-1", "a-2", "a-3"]


async def test_a_mapping_that_began_at_the_latest_record_loses_none_that_come_while_the_server_is_down(
    streams: Streams,
) -> None:
    await streams.put("a-0")
    streams.clock.advance(5)
    poller = streams.poll(StartingPosition="LATEST")

    async def has_begun() -> bool:
        return bool(await streams.checkpoints.positions(streams.mapping_id))

    await streams.until(has_begun)
    await poller.abandon()
    streams.clock.advance(5)
    (sequence,) = await streams.put("a-1")
    streams.clock.advance(5)
    streams.poll(StartingPosition="LATEST")
    await streams.until_checkpoint(sequence)
    assert streams.seen == [["a-1"]]


async def test_what_had_begun_when_the_server_was_killed_comes_again(streams: Streams) -> None:
    never: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def hangs(invocation: Invocation) -> Outcome:
        return await never

    streams.invocations.scripts["f"] = hangs
    poller = streams.poll()
    (sequence,) = await streams.put("a-1")
    await streams.until(lambda: streams.seen)
    await poller.abandon()
    streams.invocations.scripts["f"] = succeeded
    streams.poll()
    await streams.until_checkpoint(sequence)
    assert streams.seen == [["a-1"], ["a-1"]]


async def test_children_of_a_shard_come_after_it(streams: Streams) -> None:
    await streams.put(*(f"{key}-1" for key in "abcdef"))
    await streams.call(
        "SplitShard", StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    streams.clock.advance(60)
    sequences = await streams.put(*(f"{key}-2" for key in "abcdef"))
    streams.poll(BatchSize=2)
    seen: list[str] = []

    def all_seen() -> bool:
        seen[:] = [text for batch in streams.seen for text in batch]
        return len(seen) == 12

    await streams.until(all_seen)
    assert sorted(seen[:6]) == [f"{key}-1" for key in "abcdef"]
    assert sorted(seen[6:]) == [f"{key}-2" for key in "abcdef"]
    await streams.until_checkpoint(sequences[-1])
    assert (await streams.checkpoints.positions(streams.mapping_id))["shardId-000000000000"]["over"]


async def test_a_stream_that_is_made_anew_is_read_again(streams: Streams) -> None:
    streams.poll()
    (sequence,) = await streams.put("a-1")
    await streams.until_checkpoint(sequence)
    await streams.call("DeleteStream", StreamName="s")
    streams.clock.advance(60)
    await asyncio.sleep(0.02)
    await streams.stream()
    (sequence,) = await streams.put("a-2")
    await streams.until_checkpoint(sequence, turn_s=5.0)
    assert streams.seen == [["a-1"], ["a-2"]]


async def test_tumbling_windows_hand_their_state_on_and_end_with_a_final_call(streams: Streams) -> None:
    def counts(invocation: Invocation) -> Outcome:
        event = event_of(invocation)
        return answered(invocation, {"state": {"count": event["state"].get("count", 0) + len(event["Records"])}})

    streams.invocations.scripts["f"] = counts
    streams.clock.advance(60 - streams.clock.now() % 60 + 1)  # a second after a window has begun
    start_s = int(streams.clock.now() // 60) * 60
    streams.poll(TumblingWindowInSeconds=60, BatchSize=2)
    sequences = await streams.put("a-1", "a-2", "a-3")
    await streams.until_checkpoint(sequences[-1])
    await streams.until(lambda: any(event_of(i)["isFinalInvokeForWindow"] for i in streams.invocations.of("f")), 1.0)
    events = [event_of(invocation) for invocation in streams.invocations.of("f")]
    final = events[-1]
    assert sum(len(event["Records"]) for event in events[:-1]) == 3
    assert final["Records"] == []
    assert final["state"] == {"count": 3}
    assert (final["shardId"], final["eventSourceARN"], final["isWindowTerminatedEarly"]) == (
        "shardId-000000000000", STREAM, False,
    )  # fmt: skip
    assert {event["window"]["start"] for event in events} == {_iso(start_s)}
    assert final["window"]["end"] == _iso(start_s + 60)
    assert events[0]["state"] == {}
    (sequence,) = await streams.put("a-4")
    await streams.until_checkpoint(sequence)
    assert event_of(streams.invocations.of("f")[-1])["state"] == {}


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_windows_state_survives_the_server(streams: Streams) -> None:
    streams.invocations.scripts["f"] = lambda invocation: answered(invocation, {"state": {"seen": data_of(invocation)}})
    streams.clock.advance(900 - streams.clock.now() % 900 + 1)
    poller = streams.poll(TumblingWindowInSeconds=900)
    (sequence,) = await streams.put("a-1")
    await streams.until_checkpoint(sequence)
    await poller.abandon()
    streams.poll(TumblingWindowInSeconds=900)
    (sequence,) = await streams.put("a-2")
    await streams.until_checkpoint(sequence)
    assert event_of(streams.invocations.of("f")[-1])["state"] == {"seen": ["a-1"]}


async def test_a_window_that_is_over_ends_once_when_all_of_its_records_are_done(streams: Streams) -> None:
    finals: list[tuple[str, int]] = []

    def counts(invocation: Invocation) -> Outcome:
        event = event_of(invocation)
        if event["isFinalInvokeForWindow"]:
            finals.append((event["window"]["start"], event["state"]["count"]))
        return answered(invocation, {"state": {"count": event["state"].get("count", 0) + len(event["Records"])}})

    streams.invocations.scripts["f"] = counts
    streams.clock.advance(900 - streams.clock.now() % 900 + 1)
    start_s = int(streams.clock.now() // 900) * 900
    poller = streams.poll(TumblingWindowInSeconds=900, BatchSize=100)
    (sequence,) = await streams.put("a-0")
    await streams.until_checkpoint(sequence)
    await poller.abandon()
    for n in range(9):  # more than is read ahead
        records = [{"Data": b"%d" % (100 * n + m), "PartitionKey": "a"} for m in range(100)]
        put = await streams.call("PutRecords", StreamName="s", Records=records)
    streams.clock.advance(2000)
    streams.poll(TumblingWindowInSeconds=900, BatchSize=100)
    await streams.until_checkpoint(put["Records"][-1]["SequenceNumber"])
    await streams.until(lambda: finals)
    assert finals == [(_iso(start_s), 901)]


async def test_a_stream_that_is_made_anew_is_read_even_where_its_shards_were_done_before(streams: Streams) -> None:
    streams.poll()
    (sequence,) = await streams.put("a-1")
    await streams.until_checkpoint(sequence)
    shard = {"ShardToSplit": "shardId-000000000000", "NewStartingHashKey": str(2**127)}
    await streams.call("SplitShard", StreamName="s", **shard)

    async def split() -> bool:
        return "shardId-000000000001" in await streams.checkpoints.positions(streams.mapping_id)

    async def is_gone() -> bool:
        return not (await streams.call("ListStreams"))["StreamNames"]

    while not await split():
        await streams.put("b-1", "a-2", "b-2")
        streams.clock.advance(1)
        await asyncio.sleep(0.01)
    await streams.call("DeleteStream", StreamName="s")
    await streams.until(is_gone, turn_s=1.0)
    await streams.stream()
    (sequence,) = await streams.put("a-new")
    await streams.until_checkpoint(sequence, turn_s=5.0)
    assert [text for batch in streams.seen for text in batch].count("a-new") == 1


async def test_a_response_without_a_state_fails_and_takes_none_of_its_windows_state(streams: Streams) -> None:
    forgotten: list[str] = []

    def remembers(invocation: Invocation) -> Outcome:
        event = event_of(invocation)
        if data_of(invocation) == ["a-2"] and not forgotten:
            forgotten.append("a-2")
            return answered(invocation, {"batchItemFailures": []})
        return answered(invocation, {"state": {"seen": event["state"].get("seen", []) + data_of(invocation)}})

    streams.invocations.scripts["f"] = remembers
    streams.clock.advance(900 - streams.clock.now() % 900 + 1)
    streams.poll(TumblingWindowInSeconds=900, BatchSize=1)
    sequences = await streams.put("a-1", "a-2", "a-3")
    await streams.until_checkpoint(sequences[-1], turn_s=0.5)
    assert streams.seen == [["a-1"], ["a-2"], ["a-2"], ["a-3"]]
    assert event_of(streams.invocations.of("f")[-1])["state"] == {"seen": ["a-1", "a-2"]}
