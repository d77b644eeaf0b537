"""S3's notifications as boto3's users see them: what is refused, and what arrives where."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer, until

EVERYTHING = [
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:ObjectTagging:*",
    "s3:ObjectAcl:Put",
    "s3:ObjectRestore:*",
]
ABSENT = "arn:aws:sqs:us-east-1:000000000000:absent"
MEMBERS = {
    "eventVersion", "eventSource", "awsRegion", "eventTime", "eventName", "userIdentity", "requestParameters",
    "responseElements", "s3",
}  # fmt: skip


@attrs.define
class Bucket:
    """A bucket whose every event is told to a queue."""

    live: LiveServer
    name: str
    queue_url: str
    queue_arn: str
    came: list[dict[str, Any]] = attrs.field(factory=list)

    def configure(self, **configuration: Any) -> None:
        self.live.client("s3").put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration=configuration
        )

    def refusal(self, **configuration: Any) -> dict[str, Any]:
        with pytest.raises(ClientError) as caught:
            self.configure(**configuration)
        error: dict[str, Any] = caught.value.response["Error"]
        return error

    def to_queue(self, *events: str, **more: Any) -> dict[str, Any]:
        return {"QueueArn": self.queue_arn, "Events": list(events or EVERYTHING), **more}

    def receive(self) -> list[dict[str, Any]]:
        """What is in the queue and is no test; those are told apart by their shape."""
        sqs = self.live.client("sqs")
        found = []
        for message in sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", []):
            body = json.loads(message["Body"])
            sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
            found += body.get("Records", [body])
        return found

    def until_came(self, count: int) -> list[dict[str, Any]]:
        """In the order of their sequencers where they have one."""
        came: list[dict[str, Any]] = []

        def all_there() -> bool:
            came.extend(self.receive())
            return len(came) >= count

        until(all_there, 20)
        assert len(came) == count, [record.get("eventName") for record in came]
        return came


@pytest.fixture
def bucket(live: LiveServer) -> Bucket:
    name = f"b-{uuid.uuid4().hex[:16]}"
    live.client("s3").create_bucket(Bucket=name)
    url = live.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return Bucket(live, name, url, f"arn:aws:sqs:us-east-1:000000000000:{name}")


def test_a_queue_is_told_of_a_test_when_it_is_configured(bucket: Bucket) -> None:
    bucket.configure(QueueConfigurations=[bucket.to_queue()])
    (told,) = bucket.until_came(1)
    assert set(told) == {"Service", "Event", "Time", "Bucket", "RequestId", "HostId"}
    assert (told["Service"], told["Event"], told["Bucket"]) == ("Amazon S3", "s3:TestEvent", bucket.name)


def test_every_change_of_an_object_is_told_completely(bucket: Bucket) -> None:
    bucket.configure(QueueConfigurations=[bucket.to_queue(Id="all")])
    bucket.until_came(1)
    s3 = bucket.live.client("s3")
    put = s3.put_object(Bucket=bucket.name, Key="a b/ü@c.txt", Body=b"hello", Tagging="k=v", ACL="public-read")
    s3.copy_object(Bucket=bucket.name, Key="copy", CopySource={"Bucket": bucket.name, "Key": "a b/ü@c.txt"})
    upload = s3.create_multipart_upload(Bucket=bucket.name, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket.name, Key="parts", UploadId=upload, PartNumber=1, Body=b"12345678")["ETag"]
    s3.complete_multipart_upload(
        Bucket=bucket.name, Key="parts", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]},
    )  # fmt: skip
    s3.put_object_tagging(Bucket=bucket.name, Key="copy", Tagging={"TagSet": [{"Key": "k", "Value": "w"}]})
    s3.delete_object_tagging(Bucket=bucket.name, Key="copy")
    s3.put_object_acl(Bucket=bucket.name, Key="copy", ACL="private")
    s3.delete_object(Bucket=bucket.name, Key="copy")
    s3.delete_object(Bucket=bucket.name, Key="never was there")
    s3.delete_objects(Bucket=bucket.name, Delete={"Quiet": True, "Objects": [{"Key": "parts"}, {"Key": "a b/ü@c.txt"}]})
    came = {(record["eventName"], record["s3"]["object"]["key"]): record for record in bucket.until_came(9)}
    first = came["ObjectCreated:Put", "a+b/%C3%BC%40c.txt"]
    assert set(first) == MEMBERS
    assert (first["eventVersion"], first["awsRegion"]) == ("2.1", "us-east-1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["eventTime"])
    assert first["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert first["responseElements"]["x-amz-request-id"] == put["ResponseMetadata"]["RequestId"]
    assert first["responseElements"]["x-amz-id-2"] == put["ResponseMetadata"]["HostId"]
    assert first["s3"]["configurationId"] == "all"
    assert first["s3"]["bucket"] == {
        "name": bucket.name, "ownerIdentity": {"principalId": "000000000000"}, "arn": f"arn:aws:s3:::{bucket.name}",
    }  # fmt: skip
    told = first["s3"]["object"]
    assert (told["size"], told["eTag"], set(told)) == (
        5, "5d41402abc4b2a76b9719d911017c592", {"key", "size", "eTag", "sequencer"},
    )  # fmt: skip
    assert came["ObjectCreated:Copy", "copy"]["s3"]["object"]["size"] == 5
    whole = came["ObjectCreated:CompleteMultipartUpload", "parts"]["s3"]["object"]
    assert (whole["size"], whole["eTag"][-2:]) == (8, "-1")
    for name in ("ObjectTagging:Put", "ObjectTagging:Delete", "ObjectAcl:Put"):
        assert came[name, "copy"]["eventVersion"] == "2.3"
        assert set(came[name, "copy"]["s3"]["object"]) == {"key", "eTag"}
    removed = [record for (name, _), record in came.items() if name == "ObjectRemoved:Delete"]
    assert len(removed) == 3
    assert all(set(record["s3"]["object"]) == {"key", "sequencer"} for record in removed)


def test_versions_and_delete_markers_are_told_in_the_order_of_their_sequencers(bucket: Bucket) -> None:
    s3 = bucket.live.client("s3")
    s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    bucket.configure(QueueConfigurations=[bucket.to_queue()])
    bucket.until_came(1)
    first = s3.put_object(Bucket=bucket.name, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket.name, Key="k", Body=b"2")["VersionId"]
    marker = s3.delete_object(Bucket=bucket.name, Key="k")["VersionId"]
    s3.delete_object(Bucket=bucket.name, Key="k", VersionId=first)
    absent = s3.delete_object(Bucket=bucket.name, Key="absent")
    assert absent["DeleteMarker"]
    s3.delete_object(Bucket=bucket.name, Key="absent", VersionId=absent["VersionId"])
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket.name, Key="absent")
    came = sorted(bucket.until_came(6), key=lambda record: str(record["s3"]["object"]["sequencer"]))
    assert [(record["eventName"], record["s3"]["object"]["versionId"]) for record in came] == [
        ("ObjectCreated:Put", first), ("ObjectCreated:Put", second),
        ("ObjectRemoved:DeleteMarkerCreated", marker), ("ObjectRemoved:Delete", first),
        ("ObjectRemoved:DeleteMarkerCreated", absent["VersionId"]), ("ObjectRemoved:Delete", absent["VersionId"]),
    ]  # fmt: skip


def test_only_keys_with_the_prefix_and_the_suffix_are_told(bucket: Bucket) -> None:
    rules = [{"Name": "prefix", "Value": "in/"}, {"Name": "SUFFIX", "Value": ".jpg"}]
    bucket.configure(
        QueueConfigurations=[bucket.to_queue("s3:ObjectCreated:Put", Filter={"Key": {"FilterRules": rules}})]
    )
    bucket.until_came(1)
    s3 = bucket.live.client("s3")
    for key in ("in/a.png", "out/a.jpg", "in/a.jpg"):
        s3.put_object(Bucket=bucket.name, Key=key, Body=b"")
    (told,) = bucket.until_came(1)
    assert told["s3"]["object"]["key"] == "in/a.jpg"
    found = s3.get_bucket_notification_configuration(Bucket=bucket.name)["QueueConfigurations"][0]
    assert found["Filter"] == {"Key": {"FilterRules": [
        {"Name": "Prefix", "Value": "in/"}, {"Name": "Suffix", "Value": ".jpg"},
    ]}}  # fmt: skip


def test_nothing_is_told_of_requests_that_failed_or_after_the_configuration_was_taken_away(bucket: Bucket) -> None:
    bucket.configure(QueueConfigurations=[bucket.to_queue()])
    bucket.until_came(1)
    s3 = bucket.live.client("s3")
    with pytest.raises(ClientError):
        s3.copy_object(Bucket=bucket.name, Key="k", CopySource={"Bucket": bucket.name, "Key": "absent"})
    with pytest.raises(ClientError):
        s3.put_object_acl(Bucket=bucket.name, Key="absent", ACL="private")
    s3.put_object(Bucket=bucket.name, Key="told", Body=b"")
    assert [record["s3"]["object"]["key"] for record in bucket.until_came(1)] == ["told"]
    bucket.configure()
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket.name)
    s3.put_object(Bucket=bucket.name, Key="not told", Body=b"")
    assert bucket.receive() == []


def test_a_bucket_that_is_made_anew_tells_nobody(bucket: Bucket) -> None:
    bucket.configure(QueueConfigurations=[bucket.to_queue()])
    bucket.until_came(1)
    s3 = bucket.live.client("s3")
    s3.delete_bucket(Bucket=bucket.name)
    s3.create_bucket(Bucket=bucket.name)
    s3.put_object(Bucket=bucket.name, Key="k", Body=b"")
    assert bucket.receive() == []
    assert set(s3.get_bucket_notification_configuration(Bucket=bucket.name)) == {"ResponseMetadata"}


def test_eventbridge_gets_events_of_its_own_form(bucket: Bucket) -> None:
    events, s3 = bucket.live.client("events"), bucket.live.client("s3")
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket.name]}}}
    events.put_rule(Name=bucket.name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=bucket.name, Targets=[{"Id": "q", "Arn": bucket.queue_arn}])
    bucket.configure(EventBridgeConfiguration={})
    assert s3.get_bucket_notification_configuration(Bucket=bucket.name)["EventBridgeConfiguration"] == {}
    s3.put_object(Bucket=bucket.name, Key="a b", Body=b"four")
    s3.delete_object(Bucket=bucket.name, Key="a b")
    came = {event["detail-type"]: event for event in bucket.until_came(2)}
    created, deleted = came["Object Created"], came["Object Deleted"]
    assert created["resources"] == [f"arn:aws:s3:::{bucket.name}"]
    detail = created["detail"]
    assert (detail["reason"], detail["object"]["key"], detail["object"]["size"]) == ("PutObject", "a b", 4)
    assert set(detail["object"]) == {"key", "size", "etag", "sequencer"}
    assert deleted["detail"]["deletion-type"] == "Permanently Deleted"
    assert set(deleted["detail"]["object"]) == {"key", "sequencer"}


def test_a_restored_object_is_told_twice(bucket: Bucket) -> None:
    bucket.configure(QueueConfigurations=[bucket.to_queue("s3:ObjectRestore:*")])
    bucket.until_came(1)
    s3 = bucket.live.client("s3")
    s3.put_object(Bucket=bucket.name, Key="k", Body=b"cold", StorageClass="GLACIER")
    s3.restore_object(Bucket=bucket.name, Key="k", RestoreRequest={"Days": 1})
    s3.head_object(Bucket=bucket.name, Key="k")
    came = {record["eventName"]: record for record in bucket.until_came(2)}
    assert "glacierEventData" not in came["ObjectRestore:Post"]
    restored = came["ObjectRestore:Completed"]["glacierEventData"]["restoreEventData"]
    assert restored["lifecycleRestoreStorageClass"] == "GLACIER"
    assert re.fullmatch(r"[-0-9T:.]+Z", restored["lifecycleRestorationExpiryTime"])


def _queue(arn: str, *events: str) -> dict[str, Any]:
    return {"QueueArn": arn, "Events": list(events or ["s3:ObjectCreated:*"])}


REFUSALS: list[tuple[str, Callable[[Bucket], dict[str, Any]], dict[str, str]]] = [
    (
        "an ARN that is none",
        lambda bucket: {"QueueConfigurations": [_queue("invalid-queue")]},
        {"Message": "The ARN could not be parsed", "ArgumentName": "Queue", "ArgumentValue": "invalid-queue"},
    ),
    (
        "a queue that is not there",
        lambda bucket: {"QueueConfigurations": [_queue(ABSENT)]},
        {
            "Message": "Unable to validate the following destination configurations",
            "ArgumentName1": ABSENT, "ArgumentValue1": "The destination queue does not exist",
        },
    ),
    (
        "a function that is not there",
        lambda bucket: {
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:absent", "Events": EVERYTHING}
            ]
        },
        {
            "Message": "Unable to validate the following destination configurations",
            "ArgumentName1": "arn:aws:lambda:us-east-1:000000000000:function:absent, null",
            "ArgumentValue1":
                "Not authorized to invoke function [arn:aws:lambda:us-east-1:000000000000:function:absent]",
        },
    ),
    (
        "a filter of something else",
        lambda bucket: {
            "QueueConfigurations": [bucket.to_queue(Filter={"Key": {"FilterRules": [{"Name": "INVALID", "Value": "x"}]}})]
        },
        {
            "Message": "filter rule name must be either prefix or suffix",
            "ArgumentName": "FilterRule.Name", "ArgumentValue": "INVALID",
        },
    ),
    (
        "another region's queue",
        lambda bucket: {"QueueConfigurations": [_queue(ABSENT.replace("us-east-1", "eu-west-1"))]},
        {"Message": "The notification destination service region is not valid for the bucket location constraint"},
    ),
    (
        "two rules for one event",
        lambda bucket: {
            "QueueConfigurations": [bucket.to_queue("s3:ObjectCreated:*"), bucket.to_queue("s3:ObjectCreated:Put")]
        },
        {"Message": "Configurations overlap. Configurations on the same bucket cannot share a common event type."},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("what", "configuration", "error"), REFUSALS, ids=[what for what, _, _ in REFUSALS])
def test_a_configuration_is_refused_in_the_words_of_aws(
    bucket: Bucket, what: str, configuration: Callable[[Bucket], dict[str, Any]], error: dict[str, str]
) -> None:
    assert bucket.refusal(**configuration(bucket)) == {"Code": "InvalidArgument", **error} | {
        name: value
        for name, value in bucket.refusal(**configuration(bucket)).items()
        if name in ("RequestId", "HostId")
    }


def test_validation_of_destinations_can_be_left_out(bucket: Bucket) -> None:
    s3 = bucket.live.client("s3")
    s3.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={"QueueConfigurations": [_queue(ABSENT)]},
        SkipDestinationValidation=True,
    )  # fmt: skip
    assert s3.get_bucket_notification_configuration(Bucket=bucket.name)["QueueConfigurations"][0]["QueueArn"] == ABSENT
    s3.put_object(Bucket=bucket.name, Key="k", Body=b"")
    assert s3.get_object(Bucket=bucket.name, Key="k")["Body"].read() == b""


def test_a_bucket_that_is_not_there_cannot_be_configured(live: LiveServer) -> None:
    s3 = live.client("s3")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put_bucket_notification_configuration(Bucket="absent-bucket", NotificationConfiguration={})
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.get_bucket_notification_configuration(Bucket="absent-bucket")


WRITER = """
import boto3

def handler(event, context):
    record = event["Records"][0]["s3"]
    number = int(record["object"]["key"]) + 1
    boto3.client("s3").put_object(Bucket=record["bucket"]["name"], Key=str(number), Body=b"")
"""


def test_a_function_that_writes_to_its_own_bucket_is_stopped(bucket: Bucket) -> None:
    live, s3 = bucket.live, bucket.live.client("s3")
    name = live.create(WRITER, Timeout=30)
    arn = live.client().get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    live.client().put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": bucket.queue_arn}}
    )
    bucket.configure(LambdaFunctionConfigurations=[{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}])
    s3.put_object(Bucket=bucket.name, Key="0", Body=b"")
    (stopped,) = bucket.until_came(1)
    assert stopped["requestContext"]["condition"] == "RecursiveInvocation"
    assert len(s3.list_objects_v2(Bucket=bucket.name)["Contents"]) == 17


def test_a_topic_passes_events_on_to_its_subscribers(bucket: Bucket) -> None:
    sns = bucket.live.client("sns")
    topic = sns.create_topic(Name=bucket.name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=bucket.queue_arn, Attributes={"RawMessageDelivery": "true"})
    bucket.configure(TopicConfigurations=[{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}])
    assert bucket.until_came(1)[0]["Event"] == "s3:TestEvent"
    bucket.live.client("s3").put_object(Bucket=bucket.name, Key="k", Body=b"")
    assert bucket.until_came(1)[0]["eventName"] == "ObjectCreated:Put"
