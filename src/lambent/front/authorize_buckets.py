"""S3's buckets as decisions need them: whose they are, and their policies. A bucket's ARN says neither."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import attrs

from lambent.front.authorize_place import Place
from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.policy import DocumentKind, Policy
from lambent.model.request import RequestContext
from lambent.ports import Clients

log = logging.getLogger(__name__)

# What is known of a bucket is asked anew after this time: changes pass by here, but not those of other services' making.
KEPT_S: Final = 1.0
REMEMBERED: Final = 10_000
CHANGING: Final = frozenset({"CreateBucket", "DeleteBucket", "PutBucketPolicy", "DeleteBucketPolicy"})
_ABSENT: Final = frozenset({"NoSuchBucketPolicy", "NoSuchBucket", "404"})


@attrs.frozen
class Bucket:
    """`is_own` also where there is none of that name: then the service itself says so."""

    is_own: bool
    policy: Policy | None
    asked_s: float


class Buckets:
    """Asks S3, and remembers for a moment. `monotonic_s` is a clock that never goes back."""

    def __init__(self, clients: Clients, monotonic_s: Callable[[], float]) -> None:
        self._clients = clients
        self._monotonic_s = monotonic_s
        self._known: dict[tuple[str, str], Bucket] = {}

    async def look(self, place: Place, name: str) -> Bucket:
        """Raises AwsError when S3 cannot be asked."""
        key = (place.account_id, name)
        known = self._known.get(key)
        now_s = self._monotonic_s()
        if known is not None and now_s - known.asked_s < KEPT_S:
            return known
        context = RequestContext(
            account_id=place.account_id, region=place.region, request_id="", base_url="http://localhost"
        )
        exists, document = await self._policy(context, name)
        is_own = not exists or name in await self._own(context)
        found = Bucket(is_own, None if document is None else _compiled(document), now_s)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = found
        return found

    def forget(self, name: str) -> None:
        """A request is about to change it."""
        for key in [key for key in self._known if key[1] == name]:
            del self._known[key]

    async def _policy(self, context: RequestContext, name: str) -> tuple[bool, str | None]:
        """Whether there is such a bucket in any account, and its policy."""
        try:
            answer = await self._clients.call(context, "s3", "GetBucketPolicy", {"Bucket": name})
            return True, answer["Policy"]
        except AwsError as error:
            if error.code not in _ABSENT:
                raise
            return error.code == "NoSuchBucketPolicy", None

    async def _own(self, context: RequestContext) -> set[str]:
        listed = await self._clients.call(context, "s3", "ListBuckets", {})
        return {bucket["Name"] for bucket in listed.get("Buckets", ())}


def _compiled(document: str) -> Policy:
    try:
        return policy.parse_policy(document, DocumentKind.RESOURCE)
    except policy.MalformedPolicy as error:
        log.warning("a bucket's policy cannot be read and refuses everything; put it anew: %s in %s", error, document)
        return policy.refuse_everything(DocumentKind.RESOURCE)


def bucket_in(arn: str) -> str | None:
    """The bucket of an ARN of S3's objects or buckets; None for other ARNs, access points among them."""
    prefix = "arn:aws:s3:::"
    return arn[len(prefix) :].partition("/")[0] if arn.startswith(prefix) and len(arn) > len(prefix) else None
