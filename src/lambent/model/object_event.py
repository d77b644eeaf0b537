"""What happened to an object of S3, as the one who keeps the objects saw it."""

from __future__ import annotations

import msgspec

BUCKET_REMOVED = "BucketRemoved"  # ours: what was configured for a bucket goes with it


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one object, told with the answer to the request that made it."""

    name: str  # "ObjectCreated:Put"
    bucket: str
    account_id: str  # the bucket's owner
    region: str  # the bucket's
    key: str  # as it is, not encoded
    sequencer: str  # hexadecimal, of one length; grows with every event of a key
    size_bytes: int | None = None
    etag: str | None = None  # without quotes
    version_id: str | None = None  # None where versions are not kept
    storage_class: str | None = None
    restored_until: str | None = None  # ISO 8601; of an object that was restored
