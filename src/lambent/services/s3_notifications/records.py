"""What is said of one change of one object: to functions, queues and topics in one form, to EventBridge in another. Pure.

RECORD = https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
BRIDGE = https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

import base64
import urllib.parse
from datetime import UTC, datetime
from typing import Any, Final

from lambent.model.object_event import ObjectEvent
from lambent.model.request import RequestContext

Members = dict[str, Any]

_VERSIONS: Final = {"ObjectTagging": "2.3", "ObjectAcl": "2.3"}  # RECORD; 2.1 for the others that happen here
_REASONS: Final = {
    "ObjectCreated:Put": "PutObject", "ObjectCreated:Post": "POST Object", "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload", "ObjectRemoved:Delete": "DeleteObject",
    "ObjectRemoved:DeleteMarkerCreated": "DeleteObject",
}  # fmt: skip
_DETAIL_TYPES: Final = {
    "ObjectCreated": "Object Created", "ObjectRemoved": "Object Deleted", "ObjectTagging:Put": "Object Tags Added",
    "ObjectTagging:Delete": "Object Tags Deleted", "ObjectAcl:Put": "Object ACL Updated",
    "ObjectRestore:Post": "Object Restore Initiated", "ObjectRestore:Completed": "Object Restore Completed",
}  # fmt: skip
_DELETIONS: Final = {
    "ObjectRemoved:Delete": "Permanently Deleted", "ObjectRemoved:DeleteMarkerCreated": "Delete Marker Created",
}  # fmt: skip
_OF_NOTHING: Final = "d41d8cd98f00b204e9800998ecf8427e"  # the tag of a delete marker: MD5 of no bytes


def record(context: RequestContext, event: ObjectEvent, configuration_id: str, now_s: float) -> Members:
    """One of `Records`."""
    told: Members = {
        "eventVersion": _VERSIONS.get(_family(event), "2.1"),
        "eventSource": "aws:s3",
        "awsRegion": event.region,
        "eventTime": in_zulu(now_s),
        "eventName": event.name,
        "userIdentity": {"principalId": _principal(context, event)},
        "requestParameters": {"sourceIPAddress": context.source_ip or "127.0.0.1"},
        "responseElements": {"x-amz-request-id": context.request_id, "x-amz-id-2": host_id(context.request_id)},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": event.bucket,
                "ownerIdentity": {"principalId": event.account_id},
                "arn": bucket_arn(event.bucket),
            },
            "object": _object(event),
        },
    }
    if event.name == "ObjectRestore:Completed":
        told["glacierEventData"] = {
            "restoreEventData": {
                "lifecycleRestorationExpiryTime": event.restored_until,
                "lifecycleRestoreStorageClass": event.storage_class,
            }
        }
    return told


def bridged(context: RequestContext, event: ObjectEvent) -> tuple[str, Members]:
    """(detail-type, detail) of the event that EventBridge gets."""
    family = _family(event)
    held: Members = {"key": event.key}
    if family in ("ObjectCreated", "ObjectRestore"):
        held["size"] = event.size_bytes
    if family != "ObjectRemoved":
        held["etag"] = event.etag
    elif event.name.endswith("MarkerCreated"):
        held["etag"] = _OF_NOTHING
    if event.version_id is not None:
        held["version-id"] = event.version_id
    if family in ("ObjectCreated", "ObjectRemoved"):
        held["sequencer"] = event.sequencer
    detail: Members = {
        "version": "0",
        "bucket": {"name": event.bucket},
        "object": held,
        "request-id": context.request_id,
        "requester": "s3.amazonaws.com" if event.name == "ObjectRestore:Completed" else context.account_id,
    }
    if event.name != "ObjectRestore:Completed":
        detail["source-ip-address"] = context.source_ip or "127.0.0.1"
    if (reason := _REASONS.get(event.name)) is not None:
        detail["reason"] = reason
    if (deletion := _DELETIONS.get(event.name)) is not None:
        detail["deletion-type"] = deletion
    if family == "ObjectRestore":
        detail["source-storage-class"] = event.storage_class
    if event.name == "ObjectRestore:Completed":
        detail["restore-expiry-time"] = event.restored_until
    return _DETAIL_TYPES.get(event.name) or _DETAIL_TYPES[family], detail


def test_event(context: RequestContext, bucket: str, now_s: float) -> Members:
    """What queues and topics get when they are configured."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": in_zulu(now_s),
        "Bucket": bucket,
        "RequestId": context.request_id,
        "HostId": host_id(context.request_id),
    }


def bucket_arn(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}"


def host_id(request_id: str) -> str:
    """x-amz-id-2."""
    return base64.b64encode(request_id.encode()).decode()


def in_zulu(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _family(event: ObjectEvent) -> str:
    return event.name.partition(":")[0]


def _object(event: ObjectEvent) -> Members:
    """Which members there are depends on the event, as AWS's recorded messages show."""
    family = _family(event)
    told: Members = {"key": urllib.parse.quote_plus(event.key, safe="/*-._")}
    if family in ("ObjectCreated", "ObjectRestore"):
        told["size"] = event.size_bytes
    if family != "ObjectRemoved":
        told["eTag"] = event.etag
    elif event.name.endswith("MarkerCreated"):
        told["eTag"] = _OF_NOTHING
    if event.version_id is not None:
        told["versionId"] = event.version_id
    if family not in ("ObjectTagging", "ObjectAcl"):
        told["sequencer"] = event.sequencer
    return told


def _principal(context: RequestContext, event: ObjectEvent) -> str:
    if event.name == "ObjectRestore:Completed":
        return f"AmazonCustomer:{event.account_id}"
    arn = context.principal_arn or ""
    resource = arn.split(":", 5)[-1]
    if resource.startswith("assumed-role/"):
        return "AWS:" + ":".join(resource.split("/")[-2:])
    if resource.startswith("user/"):
        return f"AWS:{resource.rpartition('/')[2]}"
    return f"AWS:{context.access_key_id or context.account_id}"
