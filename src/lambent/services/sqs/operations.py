"""SQS's operations over the queue store: members in, members out, by botocore's names. This file has those on queues."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.sqs import attributes, permissions
from lambent.services.sqs.access import permits
from lambent.services.sqs.direct import DirectQueue
from lambent.services.sqs.errors import (
    access_denied,
    in_the_words_of_aws,
    invalid_attribute_value,
    invalid_parameter,
    missing_parameter,
    unknown_attribute,
)
from lambent.services.sqs.messages import Messages
from lambent.services.sqs.move_tasks import MoveTasks
from lambent.services.sqs.names import check_name, key_of, url_of
from lambent.store.queues import Counts, Queue, QueueExists, QueueStore

Members = dict[str, Any]

Permits = Callable[[RequestContext, str, Queue], bool]
"""Whether somebody of another account may do an action ("SendMessage") with a queue."""

PAGE_MAX: Final = 1000
TAGS_MAX: Final = 50  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
TAG_KEY_MAX: Final = 128
TAG_VALUE_MAX: Final = 256
_COUNTED: Final = {
    "ApproximateNumberOfMessages": "visible",
    "ApproximateNumberOfMessagesNotVisible": "in_flight",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}


class SqsService:
    """`ports.Service` for `sqs`."""

    name = "sqs"

    def __init__(self, store: QueueStore, permits: Permits = permits) -> None:
        """`permits` is asked for callers of other accounts than the queue's."""
        self._store = store
        self._permits = permits
        self.operations: Mapping[str, Operation] = {
            "AddPermission": self.add_permission,
            "CreateQueue": self.create_queue,
            "DeleteQueue": self.delete_queue,
            "GetQueueAttributes": self.get_queue_attributes,
            "GetQueueUrl": self.get_queue_url,
            "ListDeadLetterSourceQueues": self.list_dead_letter_source_queues,
            "ListQueueTags": self.list_queue_tags,
            "ListQueues": self.list_queues,
            "PurgeQueue": self.purge_queue,
            "RemovePermission": self.remove_permission,
            "SetQueueAttributes": self.set_queue_attributes,
            "TagQueue": self.tag_queue,
            "UntagQueue": self.untag_queue,
            **Messages(store, self._queue).operations,
            **MoveTasks(store).operations,
        }

    def direct(self, arn: str, sender_id: str) -> DirectQueue:
        """A queue of this server for others in its process; it need not exist yet."""
        return DirectQueue(self._store, arn, sender_id)

    def _queue(self, context: RequestContext, members: Members, action: str) -> Queue:
        """Raises AwsError MissingParameter, QueueDoesNotExist, AccessDenied."""
        key = key_of(context, members)
        with in_the_words_of_aws():
            queue = self._store.queue(key)
        if queue.account_id != context.account_id and not self._permits(context, action, queue):
            raise access_denied()
        return queue

    def _own(self, context: RequestContext, members: Members, action: str) -> Queue:
        """The same for what only the owner may do, whatever the policy says."""
        queue = self._queue(context, members, action)
        if queue.account_id != context.account_id:
            raise access_denied()
        return queue

    # ── queues ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_queue(self, context: RequestContext, members: Members) -> Members:
        name = members.get("QueueName")
        if name is None:
            raise invalid_parameter("Value for parameter QueueName is invalid. Reason: Must specify a queue name.")
        asked = dict(members.get("Attributes") or {})
        is_fifo = asked.pop("FifoQueue", None)
        if is_fifo not in (None, "true"):
            raise unknown_attribute("FifoQueue")
        check_name(name, is_fifo is not None)
        wanted = attributes.checked(asked, is_fifo is not None)
        attributes.check_encryption(wanted)
        attributes.check_together(wanted)
        tags = members.get("tags") or {}
        _check_tags(tags)
        key = (context.account_id, context.region, name)
        if policy := wanted.get("RedrivePolicy"):
            attributes.check_redrive(policy, key, self._store.by_arn(attributes.read_redrive_policy(policy)[0]))
        kept = {name: value for name, value in wanted.items() if value is not None}
        try:
            with in_the_words_of_aws():
                queue = await self._store.create(key, kept, tags)
        except QueueExists as error:
            different = attributes.differing(error.queue, wanted)
            if different is not None:
                message = "A queue already exists with the same name and a different value for attribute " + different
                raise AwsError("QueueNameExists", message) from error
            queue = error.queue
        return {"QueueUrl": url_of(context, queue.account_id, queue.name)}

    async def get_queue_url(self, context: RequestContext, members: Members) -> Members:
        name = members.get("QueueName")
        if not name:
            raise invalid_parameter("Value for parameter QueueName is invalid. Reason: Must specify a queue name.")
        account_id = members.get("QueueOwnerAWSAccountId") or context.account_id
        queue = self._queue(context, {"QueueUrl": f"{context.base_url}/{account_id}/{name}"}, "GetQueueUrl")
        return {"QueueUrl": url_of(context, queue.account_id, queue.name)}

    async def list_queues(self, context: RequestContext, members: Members) -> Members:
        prefix = members.get("QueueNamePrefix", "")
        names = [q.name for q in self._store.queues_of(context.account_id, context.region)]
        listed, token = _page([name for name in names if name.startswith(prefix)], members)
        return _listed("QueueUrls", [url_of(context, context.account_id, name) for name in listed], token)

    async def list_dead_letter_source_queues(self, context: RequestContext, members: Members) -> Members:
        target = self._queue(context, members, "ListDeadLetterSourceQueues")
        names = [
            queue.name
            for queue in self._store.queues_of(target.account_id, target.region)
            if queue.redrive_target is not None and queue.redrive_target[0] == target.arn
        ]
        listed, token = _page(names, members)
        urls = [url_of(context, target.account_id, name) for name in listed]
        return {"queueUrls": urls, **({"NextToken": token} if token else {})}

    async def delete_queue(self, context: RequestContext, members: Members) -> Members:
        with in_the_words_of_aws():
            await self._store.delete(self._own(context, members, "DeleteQueue").key)
        return {}

    async def purge_queue(self, context: RequestContext, members: Members) -> Members:
        with in_the_words_of_aws():
            await self._store.purge(self._queue(context, members, "PurgeQueue").key)
        return {}

    # ── attributes ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_queue_attributes(self, context: RequestContext, members: Members) -> Members:
        queue = self._queue(context, members, "GetQueueAttributes")
        names = set(members.get("AttributeNames") or ())
        known = {
            *attributes.READ_ONLY, *attributes.FIFO_ONLY, "All", "FifoQueue", "DelaySeconds", "MaximumMessageSize",
            "MessageRetentionPeriod", "Policy", "ReceiveMessageWaitTimeSeconds", "RedrivePolicy", "RedriveAllowPolicy",
            "VisibilityTimeout", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled",
        }  # fmt: skip
        for name in sorted(names - known):
            raise unknown_attribute(name)
        if not names:
            return {}
        counts = None
        if names & {"All", *_COUNTED}:
            counts = await self._store.counts(queue)
        found = _described(queue, counts)
        return {"Attributes": {name: value for name, value in found.items() if "All" in names or name in names}}

    async def set_queue_attributes(self, context: RequestContext, members: Members) -> Members:
        queue = self._own(context, members, "SetQueueAttributes")
        asked = members.get("Attributes")
        if not asked:
            raise missing_parameter("Attributes")
        if "FifoQueue" in asked:
            if not queue.is_fifo:
                raise unknown_attribute("FifoQueue")
            if asked["FifoQueue"] != "true":
                raise invalid_attribute_value(
                    "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
                )
            asked = {name: value for name, value in asked.items() if name != "FifoQueue"}
        changes = attributes.checked(asked, queue.is_fifo)
        merged = {**queue.attributes, **changes}
        if changes.get("KmsMasterKeyId") and "SqsManagedSseEnabled" not in changes:
            changes["SqsManagedSseEnabled"] = None
        else:
            attributes.check_encryption({**merged, "SqsManagedSseEnabled": changes.get("SqsManagedSseEnabled")})
        attributes.check_together(merged)
        if policy := changes.get("RedrivePolicy"):
            attributes.check_redrive(policy, queue.key, self._store.by_arn(attributes.read_redrive_policy(policy)[0]))
        with in_the_words_of_aws():
            await self._store.set_attributes(queue.key, changes)
        return {}

    async def add_permission(self, context: RequestContext, members: Members) -> Members:
        queue = self._own(context, members, "AddPermission")
        label = _required(members, "Label")
        policy = permissions.with_permission(
            queue,
            label,
            members.get("AWSAccountIds") or (),
            members.get("Actions") or (),
            frozenset(self.operations),
        )
        with in_the_words_of_aws():
            await self._store.set_attributes(queue.key, {"Policy": policy})
        return {}

    async def remove_permission(self, context: RequestContext, members: Members) -> Members:
        queue = self._own(context, members, "RemovePermission")
        policy = permissions.without_permission(queue, _required(members, "Label"))
        with in_the_words_of_aws():
            await self._store.set_attributes(queue.key, {"Policy": policy})
        return {}

    # ── tags ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def tag_queue(self, context: RequestContext, members: Members) -> Members:
        queue = self._own(context, members, "TagQueue")
        tags = members.get("Tags")
        if not tags:
            raise missing_parameter("Tags")
        _check_tags({**queue.tags, **tags})
        with in_the_words_of_aws():
            await self._store.set_tags(queue.key, tags)
        return {}

    async def untag_queue(self, context: RequestContext, members: Members) -> Members:
        queue = self._own(context, members, "UntagQueue")
        names = members.get("TagKeys")
        if not names:
            raise missing_parameter("TagKeys")
        with in_the_words_of_aws():
            await self._store.set_tags(queue.key, dict.fromkeys(names))
        return {}

    async def list_queue_tags(self, context: RequestContext, members: Members) -> Members:
        queue = self._own(context, members, "ListQueueTags")
        return {"Tags": dict(queue.tags)} if queue.tags else {}


def _required(members: Members, name: str) -> str:
    value: str | None = members.get(name)
    if not value:
        raise missing_parameter(name)
    return value


def _described(queue: Queue, counts: Counts | None) -> dict[str, str]:
    return {
        "QueueArn": queue.arn,
        **({name: str(getattr(counts, field)) for name, field in _COUNTED.items()} if counts is not None else {}),
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        **attributes.stored(queue),
    }


def _check_tags(tags: Mapping[str, str]) -> None:
    """Raises AwsError InvalidParameterValue."""
    if len(tags) > TAGS_MAX:
        raise invalid_parameter(f"Too many tags added for queue: at most {TAGS_MAX} are allowed.")
    for name, value in tags.items():
        if not 1 <= len(name) <= TAG_KEY_MAX:
            raise invalid_parameter("Tag keys must be between 1 and 128 characters in length.")
        if len(value) > TAG_VALUE_MAX:
            raise invalid_parameter("Tag values must be between 0 and 256 characters in length.")
        if name.lower().startswith("aws:"):
            raise invalid_parameter("Tag keys that start with aws: are reserved for system use.")


def _page(names: Sequence[str], members: Members) -> tuple[Sequence[str], str | None]:
    """One page of sorted names, and the token of the next."""
    limit = members.get("MaxResults")
    if limit is not None and not 1 <= limit <= PAGE_MAX:
        raise invalid_parameter(
            "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000."
        )
    if token := members.get("NextToken"):
        try:
            after = base64.b64decode(token, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise invalid_parameter("Invalid or expired next token.") from error
        names = [name for name in names if name > after]
    page = names[: limit or PAGE_MAX]
    if limit is None or len(names) <= limit:
        return page, None
    return page, base64.b64encode(page[-1].encode()).decode()


def _listed(name: str, urls: list[str], token: str | None) -> Members:
    return {**({name: urls} if urls else {}), **({"NextToken": token} if token else {})}
