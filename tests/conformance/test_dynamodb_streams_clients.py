"""DynamoDB Streams as boto3's users see them: what is told of which change, and reading it from anywhere."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer, until


@attrs.frozen
class Table:
    live: LiveServer
    name: str

    @property
    def db(self) -> Any:
        return self.live.client("dynamodb")

    @property
    def streams(self) -> Any:
        return self.live.client("dynamodbstreams")

    @property
    def arn(self) -> str:
        arn: str = self.db.describe_table(TableName=self.name)["Table"]["LatestStreamArn"]
        return arn

    def put(self, key: str, **members: Any) -> None:
        self.db.put_item(TableName=self.name, Item={"id": {"S": key}, **members})

    def update(self, key: str, expression: str, values: dict[str, Any]) -> None:
        self.db.update_item(
            TableName=self.name, Key={"id": {"S": key}}, UpdateExpression=expression, ExpressionAttributeValues=values
        )

    def shard(self) -> str:
        (shard,) = self.streams.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]
        return str(shard["ShardId"])

    def iterator(self, kind: str, **more: Any) -> str:
        answer = self.streams.get_shard_iterator(
            StreamArn=self.arn, ShardId=self.shard(), ShardIteratorType=kind, **more
        )
        return str(answer["ShardIterator"])

    def records(self, iterator: str | None = None, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.streams.get_records(
            ShardIterator=iterator or self.iterator("TRIM_HORIZON"), **more
        )["Records"]
        return found


@pytest.fixture
def make(live: LiveServer) -> Callable[[str], Table]:
    def table(view: str = "NEW_AND_OLD_IMAGES") -> Table:
        name = f"t-{uuid.uuid4().hex[:12]}"
        live.client("dynamodb").create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )  # fmt: skip
        return Table(live, name)

    return table


def told(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(record["eventName"], record["dynamodb"]["Keys"]["id"]["S"]) for record in records]


def test_every_change_is_told_once_and_unchanged_items_are_not(make: Callable[[str], Table]) -> None:
    table = make("NEW_AND_OLD_IMAGES")
    table.put("a", n={"N": "1"}, b={"B": b"\0\1"})
    table.put("a", n={"N": "1"}, b={"B": b"\0\1"})
    table.update("a", "SET n = :n", {":n": {"N": "1"}})
    table.update("a", "SET n = :n", {":n": {"N": "2"}})
    table.update("new", "SET n = :n", {":n": {"N": "3"}})
    table.db.delete_item(TableName=table.name, Key={"id": {"S": "a"}})
    table.db.delete_item(TableName=table.name, Key={"id": {"S": "never was there"}})
    table.db.batch_write_item(RequestItems={table.name: [{"PutRequest": {"Item": {"id": {"S": "batch"}}}}]})
    table.db.transact_write_items(TransactItems=[{"Put": {"TableName": table.name, "Item": {"id": {"S": "both"}}}}])
    records = table.records()
    assert told(records) == [
        ("INSERT", "a"), ("MODIFY", "a"), ("INSERT", "new"), ("REMOVE", "a"), ("INSERT", "batch"), ("INSERT", "both"),
    ]  # fmt: skip
    first, changed, made, removed = records[:4]
    assert first["dynamodb"]["NewImage"] == {"id": {"S": "a"}, "n": {"N": "1"}, "b": {"B": b"\0\1"}}
    assert "OldImage" not in first["dynamodb"]
    assert (changed["dynamodb"]["OldImage"]["n"], changed["dynamodb"]["NewImage"]["n"]) == ({"N": "1"}, {"N": "2"})
    assert made["dynamodb"]["NewImage"] == {"id": {"S": "new"}, "n": {"N": "3"}}
    assert removed["dynamodb"]["OldImage"]["n"] == {"N": "2"}
    assert "NewImage" not in removed["dynamodb"]
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
    assert numbers == sorted(set(numbers))
    assert (first["eventVersion"], first["eventSource"], first["awsRegion"]) == ("1.1", "aws:dynamodb", "us-east-1")
    assert "userIdentity" not in removed


@pytest.mark.parametrize(
    ("view", "images"),
    [("KEYS_ONLY", set()), ("NEW_IMAGE", {"NewImage"}), ("OLD_IMAGE", {"OldImage"}),
     ("NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"})],
)  # fmt: skip
def test_records_hold_what_the_stream_is_to_show(make: Callable[[str], Table], view: str, images: set[str]) -> None:
    table = make(view)
    table.put("a", n={"N": "1"})
    table.put("a", n={"N": "2"})
    changed = table.records()[1]["dynamodb"]
    assert set(changed) - {
        "ApproximateCreationDateTime", "Keys", "SequenceNumber", "SizeBytes", "StreamViewType",
    } == images  # fmt: skip
    assert changed["StreamViewType"] == view


def test_a_transaction_that_fails_tells_nothing(make: Callable[[str], Table]) -> None:
    table = make("KEYS_ONLY")
    table.put("there")
    bad = {
        "Put": {
            "TableName": table.name,
            "Item": {"id": {"S": "there"}},
            "ConditionExpression": "attribute_not_exists(id)",
        }
    }
    with pytest.raises(ClientError, match="TransactionCanceled"):
        table.db.transact_write_items(
            TransactItems=[{"Put": {"TableName": table.name, "Item": {"id": {"S": "x"}}}}, bad]
        )
    table.put("after")
    assert told(table.records()) == [("INSERT", "there"), ("INSERT", "after")]


def test_iterators_of_every_kind_begin_where_they_say(make: Callable[[str], Table]) -> None:
    table = make("KEYS_ONLY")
    table.put("a")
    table.put("b")
    second = table.records()[1]["dynamodb"]["SequenceNumber"]
    latest = table.iterator("LATEST")
    between_s = time.time()
    table.put("c")
    assert told(table.records(latest)) == [("INSERT", "c")]
    assert told(table.records(table.iterator("AT_SEQUENCE_NUMBER", SequenceNumber=second))) == [
        ("INSERT", "b"), ("INSERT", "c"),
    ]  # fmt: skip
    assert told(table.records(table.iterator("AFTER_SEQUENCE_NUMBER", SequenceNumber=second))) == [("INSERT", "c")]
    assert told(table.records(table.iterator("AT_TIMESTAMP", Timestamp=between_s))) == [("INSERT", "c")]
    page = table.streams.get_records(ShardIterator=table.iterator("TRIM_HORIZON"), Limit=2)
    assert told(page["Records"]) == [("INSERT", "a"), ("INSERT", "b")]
    page = table.streams.get_records(ShardIterator=page["NextShardIterator"])
    assert told(page["Records"]) == [("INSERT", "c")]
    page = table.streams.get_records(ShardIterator=page["NextShardIterator"])
    assert page["Records"] == []
    table.put("d")
    assert told(table.records(page["NextShardIterator"])) == [("INSERT", "d")]


def test_a_stream_that_is_switched_off_ends_and_another_one_may_follow(make: Callable[[str], Table]) -> None:
    table = make("KEYS_ONLY")
    old, iterator = table.arn, table.iterator("TRIM_HORIZON")
    table.put("a")
    table.db.update_table(TableName=table.name, StreamSpecification={"StreamEnabled": False})
    table.put("untold")
    page = table.streams.get_records(ShardIterator=iterator)
    assert told(page["Records"]) == [("INSERT", "a")]
    assert "NextShardIterator" not in page
    described = table.streams.describe_stream(StreamArn=old)["StreamDescription"]
    assert described["StreamStatus"] == "DISABLED"
    assert "EndingSequenceNumber" in described["Shards"][0]["SequenceNumberRange"]
    table.db.update_table(
        TableName=table.name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    )
    table.put("b")
    assert table.arn != old
    assert told(table.records()) == [("INSERT", "b")]
    listed = table.streams.list_streams(TableName=table.name)["Streams"]
    assert [stream["StreamArn"] for stream in listed] == [old, table.arn]
    with pytest.raises(ClientError, match="ResourceInUse"):
        table.db.update_table(
            TableName=table.name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        )


def test_items_whose_time_is_over_are_removed_by_the_service(make: Callable[[str], Table]) -> None:
    table = make("OLD_IMAGE")
    table.db.update_time_to_live(
        TableName=table.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ends"}
    )
    table.put("stays", ends={"N": str(int(time.time()) + 3600)})
    table.put("text", ends={"S": "1"})
    table.put("goes", ends={"N": str(int(time.time()) - 10)})
    until(lambda: len(table.records()) > 3, 30)
    removed = table.records()[3]
    assert told([removed]) == [("REMOVE", "goes")]
    assert removed["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    assert "ends" in removed["dynamodb"]["OldImage"]
    left = table.db.scan(TableName=table.name)["Items"]
    assert {item["id"]["S"] for item in left} == {"stays", "text"}


def test_what_is_not_there_is_told_by_its_errors(make: Callable[[str], Table]) -> None:
    table = make("KEYS_ONLY")
    absent = table.arn.replace(table.name, "absent")
    with pytest.raises(ClientError, match=f"Requested resource not found: Stream: {absent} not found"):
        table.streams.describe_stream(StreamArn=absent)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        table.streams.get_shard_iterator(
            StreamArn=table.arn, ShardId="shardId-00000000000000000000-00000000", ShardIteratorType="LATEST"
        )
    with pytest.raises(ClientError, match="TrimmedDataAccessException"):
        table.iterator("AT_SEQUENCE_NUMBER", SequenceNumber="1" + "0" * 21)
    with pytest.raises(ClientError, match="Invalid ShardIterator"):
        table.records("nonsense")
    with pytest.raises(ClientError, match="less than or equal to 1000"):
        table.records(Limit=1001)
    shards = table.streams.describe_stream(StreamArn=table.arn, ExclusiveStartShardId=table.shard())
    assert shards["StreamDescription"]["Shards"] == []
