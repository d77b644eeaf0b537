"""What a request did to S3's objects: noted where moto does it, and given to the server with the answer.

The server sends the notifications; moto's own sending, from memory and to its own services, is switched off.
"""

from __future__ import annotations

import contextlib
import threading
import time
import types
from collections.abc import Iterator
from typing import Any, Final

from lambent.model.object_event import BUCKET_REMOVED, ObjectEvent

# moto tells of more than S3 does: tags and ACLs that come with an object are part of its creation.
_TOLD_BY: Final = {
    "CopyObject": "ObjectCreated:Copy",
    "CompleteMultipartUpload": "ObjectCreated:CompleteMultipartUpload",
    "DeleteObjectTagging": "ObjectTagging:Delete",
    "PutObject": "ObjectCreated:Put",
    "PutObjectAcl": "ObjectAcl:Put",
    "PutObjectTagging": "ObjectTagging:Put",
    "RestoreObject": "ObjectRestore:Post",
}
_TOLD_ALWAYS: Final = "ObjectRestore:Completed"  # noticed by whoever looks at the object next
_SEQUENCER: Final = "{:018X}"

_current: Final = threading.local()
_last: Final = [0]
_last_guard: Final = threading.Lock()


@contextlib.contextmanager
def collecting(operation: str) -> Iterator[list[ObjectEvent]]:
    """Collects what the current thread does on behalf of one request."""
    happened: list[ObjectEvent] = []
    _current.operation, _current.happened = operation, happened
    try:
        yield happened
    finally:
        _current.operation = _current.happened = None


def mend_notifications(module: Any) -> None:
    """`moto.s3.notifications`: told here instead of sent."""

    def send_event(account_id: str, event_name: Any, bucket: Any, key: Any) -> None:
        name = str(getattr(event_name, "value", event_name)).removeprefix("s3:")
        if name in (_TOLD_BY.get(getattr(_current, "operation", None) or ""), _TOLD_ALWAYS):
            _tell(name, bucket, key.name, key, _version_of(bucket, key))

    def send_test_event(account_id: str, bucket: Any) -> None:
        """The server does."""

    module.send_event, module.send_test_event = send_event, send_test_event


def mend_models(module: Any) -> None:
    """`moto.s3.models`: deletions are seen whole, with the versions and markers that moto says nothing of."""
    backend = module.S3Backend
    delete_object, delete_bucket, mark = backend.delete_object, backend.delete_bucket, backend._set_delete_marker

    def deleted(
        self: Any, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
    ) -> tuple[bool, dict[str, Any]]:
        bucket = self.get_bucket(bucket_name)
        there = {str(version.version_id) for version in bucket.keys.getlist(key_name, [])}
        succeeded, told = delete_object(self, bucket_name, key_name, version_id, bypass)
        if not bucket.is_versioned:
            if there:
                _tell("ObjectRemoved:Delete", bucket, key_name)
        elif version_id is not None:
            if str(version_id) in there:
                _tell("ObjectRemoved:Delete", bucket, key_name, version_id=str(version_id))
        elif succeeded:
            _tell("ObjectRemoved:DeleteMarkerCreated", bucket, key_name, version_id=told["version-id"])
        return succeeded, told

    def bucket_deleted(self: Any, bucket_name: str) -> Any:
        bucket = delete_bucket(self, bucket_name)
        if bucket is not None:
            _tell(BUCKET_REMOVED, bucket, "")
        return bucket

    def set_delete_marker(self: Any, bucket_name: str, key_name: str) -> Any:
        """S3 makes one for a key that never was, too."""
        bucket = self.get_bucket(bucket_name)
        if key_name in bucket.keys:
            return mark(self, bucket_name, key_name)
        bucket.keys[key_name] = marker = module.FakeDeleteMarker(key=types.SimpleNamespace(name=key_name))
        return marker

    backend.delete_object, backend.delete_bucket = deleted, bucket_deleted
    backend._set_delete_marker = set_delete_marker
    module.events_send_notification = lambda *_, **__: None  # "CreateBucket" is CloudTrail's to tell, not S3's


def _tell(name: str, bucket: Any, key: str, held: Any = None, version_id: str | None = None) -> None:
    happened = getattr(_current, "happened", None)
    if happened is None:
        return
    expires = getattr(held, "_expiry", None)
    happened.append(
        ObjectEvent(
            name=name,
            bucket=bucket.name,
            account_id=bucket.account_id,
            region=bucket.region_name,
            key=key,
            sequencer=_sequencer(),
            size_bytes=held.size if held is not None else None,
            etag=held.etag.strip('"') if held is not None else None,
            version_id=version_id,
            storage_class=held.storage_class if held is not None else None,
            restored_until=f"{expires:%Y-%m-%dT%H:%M:%S}.000Z" if expires is not None else None,
        )
    )


def _version_of(bucket: Any, key: Any) -> str | None:
    return str(key.version_id) if bucket.is_versioned or str(key.version_id) != "null" else None


def _sequencer() -> str:
    """From the clock, so that it goes on growing after a restart; the lock of S3's backend keeps a key's in order."""
    with _last_guard:
        _last[0] = max(_last[0] + 1, time.time_ns())
        return _SEQUENCER.format(_last[0])
