"""Publish and PublishBatch: what they take is on disk, with a row for each subscription that wants it."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.sns import filtering
from lambent.services.sns.attributes import scope_of
from lambent.services.sns.content import Circumstances, Message, message_of, size_bytes, size_max_bytes
from lambent.services.sns.errors import invalid, not_offered
from lambent.services.sns.figures import TopicFigures
from lambent.services.sns.topics import Topics, Wake
from lambent.store.database import StoreError
from lambent.store.topics import Publication, Published, State, Topic, TopicStore
from lambent.store.topics.values import sequence_text

log = logging.getLogger(__name__)

Members = dict[str, Any]
ENTRIES_MAX: Final = 10  # https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Publishing:
    def __init__(self, store: TopicStore, topics: Topics, wake: Wake, figures: TopicFigures) -> None:
        self._figures = figures
        self._store = store
        self._topics = topics
        self._wake = wake
        self.operations: Mapping[str, Operation] = {"Publish": self.publish, "PublishBatch": self.publish_batch}

    async def publish(self, context: RequestContext, members: Members) -> Members:
        topic = self._addressed(context, members)
        message = message_of(topic, members, self._circumstances(context))
        (published,) = await self._accept(topic, [message], [size_bytes(members)])
        return _told(published)

    async def publish_batch(self, context: RequestContext, members: Members) -> Members:
        topic = self._topics.topic(context, members, "Publish")
        entries = members.get("PublishBatchRequestEntries") or []
        _check_entries(entries)
        if sum(size_bytes(entry) for entry in entries) > size_max_bytes(topic):
            raise AwsError(
                "BatchRequestTooLongException", "The length of all the messages put together is more than the limit."
            )
        when = self._circumstances(context)
        messages = [
            message_of(topic, entry, when, f"publishBatchRequestEntries.{position}.member.")
            for position, entry in enumerate(entries, 1)
        ]
        outcomes = await self._accept(topic, messages, [size_bytes(entry) for entry in entries])
        told = [{"Id": entry["Id"], **_told(each)} for entry, each in zip(entries, outcomes, strict=True)]
        return {"Successful": told, "Failed": []}

    def _circumstances(self, context: RequestContext) -> Circumstances:
        return Circumstances(at_ms=self._store.now_ms(), trace_header=context.trace_header)

    def _addressed(self, context: RequestContext, members: Members) -> Topic:
        """Raises AwsError."""
        if members.get("PhoneNumber") is not None:
            raise not_offered("SMS")
        if members.get("TopicArn") is not None:
            return self._topics.topic(context, members, "Publish")
        target = members.get("TargetArn")
        if target is None:
            raise invalid("TopicArn or TargetArn Reason: no value for required parameter")
        if ":endpoint/" in target:
            raise invalid("TargetArn Reason: No endpoint found for the target arn specified")
        return self._topics.topic(context, members, "Publish", "TargetArn")

    async def _accept(self, topic: Topic, messages: list[Message], sizes_bytes: list[int]) -> list[Published]:
        publications = []
        for message in messages:
            lanes = self._wanting(topic, message)
            deduplication = None
            if topic.is_fifo:
                by_group = topic.attributes.get("FifoThroughputScope") == "MessageGroup"
                scope = (message.group_id or "") if by_group else ""
                deduplication = (scope, message.deduplication_id or "")
            publications.append(
                Publication(
                    topic_id=topic.id, message_id=message.id, content=msgspec.msgpack.encode(message), lanes=lanes,
                    at_ms=message.at_ms, deduplication=deduplication,
                )
            )  # fmt: skip
        confirmed = sum(s.state is State.CONFIRMED for s in self._store.subscriptions_to(topic.arn))
        if not topic.is_fifo and not any(each.lanes for each in publications):
            self._tell(topic, publications, sizes_bytes, confirmed)
            return [Published(message.id, None, True) for message in messages]
        try:
            published = await self._store.publish(publications)
        except (sqlite3.Error, StoreError) as error:
            log.error("messages to %s could not be stored (%s); make room on the disk", topic.arn, error)
            raise AwsError("InternalErrorException", f"The message could not be stored: {error}", 500) from error
        for lane in {lane for each in publications for lane in each.lanes}:
            self._wake(lane)
        self._tell(topic, publications, sizes_bytes, confirmed)
        return published

    def _tell(self, topic: Topic, publications: list[Publication], sizes_bytes: list[int], subscriptions: int) -> None:
        for each, size in zip(publications, sizes_bytes, strict=True):
            self._figures.published(topic.arn, size, subscriptions - len(each.lanes))

    def _wanting(self, topic: Topic, message: Message) -> list[str]:
        """The subscriptions that it goes to."""
        return [
            s.id
            for s in self._store.subscriptions_to(topic.arn)
            if s.state is State.CONFIRMED
            and filtering.wants(
                s.attributes.get("FilterPolicy"), scope_of(s), message.text_for(s.protocol), message.attributes
            )
        ]


def _told(published: Published) -> Members:
    answer: Members = {"MessageId": published.message_id}
    if published.sequence is not None:
        answer["SequenceNumber"] = sequence_text(published.sequence)
    return answer


def _check_entries(entries: list[Members]) -> None:
    """Raises AwsError."""
    if not entries:
        raise AwsError("EmptyBatchRequestException", "The batch request doesn't contain any entries.")
    if len(entries) > ENTRIES_MAX:
        raise AwsError(
            "TooManyEntriesInBatchRequestException", "The batch request contains more entries than permissible."
        )
    seen: set[str] = set()
    for entry in entries:
        identifier = entry.get("Id")
        if identifier is None or not _ENTRY_ID.fullmatch(identifier):
            raise AwsError(
                "InvalidBatchEntryIdException",
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            )
        if identifier in seen:
            raise AwsError(
                "BatchEntryIdsNotDistinctException", "Two or more batch entries in the request have the same Id."
            )
        seen.add(identifier)
