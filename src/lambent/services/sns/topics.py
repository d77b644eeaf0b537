"""Operations on topics: their attributes, permissions and tags."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.sns import attributes, permissions
from lambent.services.sns.errors import Wrong, invalid, invalid_attribute, no_resource, no_topic
from lambent.services.sns.names import check_name, required, topic_arn
from lambent.services.sns.paging import page
from lambent.store.topics import Topic, TopicMissing, TopicStore

Members = dict[str, Any]
Wake = Callable[[str], None]
TAGS_MAX: Final = 50  # https://docs.aws.amazon.com/sns/latest/dg/sns-tags.html
TAG_KEY_MAX: Final = 128
TAG_VALUE_MAX: Final = 256


class Topics:
    def __init__(self, store: TopicStore, wake: Wake) -> None:
        """`wake` is told which lane of deliveries has something to do."""
        self._store = store
        self._wake = wake
        self._changing = asyncio.Lock()  # what is read, changed and written must not have changed meanwhile
        self.operations: Mapping[str, Operation] = {
            "AddPermission": self.add_permission,
            "CreateTopic": self.create_topic,
            "DeleteTopic": self.delete_topic,
            "GetTopicAttributes": self.get_topic_attributes,
            "ListTagsForResource": self.list_tags_for_resource,
            "ListTopics": self.list_topics,
            "RemovePermission": self.remove_permission,
            "SetTopicAttributes": self.set_topic_attributes,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
        }

    def topic(self, context: RequestContext, members: Members, action: str, member: str = "TopicArn") -> Topic:
        """The one that is meant, if the caller may do the action with it. Raises AwsError."""
        topic = self._store.topic(topic_arn(context, members, member))
        if topic is None:
            raise no_topic()
        permissions.check_permitted(context, action, topic)
        return topic

    async def create_topic(self, context: RequestContext, members: Members) -> Members:
        name = required(members, "Name")
        asked = dict(members.get("Attributes") or {})
        is_fifo = asked.pop("FifoTopic", "false")
        if is_fifo not in ("true", "false"):
            raise invalid_attribute(Wrong(f"FifoTopic: Invalid value [{is_fifo}]. Must be true or false."), True)
        check_name(name, is_fifo == "true")
        if members.get("DataProtectionPolicy"):
            raise invalid("DataProtectionPolicy Reason: data protection is not offered by this server")
        wanted = {}
        for attribute, value in asked.items():
            wanted[attribute] = _checked(attribute, value, is_fifo == "true", is_among_others=True)
        kept = {attribute: value for attribute, value in wanted.items() if value is not None}
        tags = _tags_of(members)
        topic, is_new = await self._store.create_topic((context.account_id, context.region, name), kept, tags)
        if not is_new:
            described = attributes.described_topic(topic, [])
            if any(described.get(attribute) != value for attribute, value in kept.items()):
                raise invalid("Attributes Reason: Topic already exists with different attributes")
            if members.get("Tags") is not None and tags != topic.tags:
                raise invalid("Tags Reason: Topic already exists with different tags")
        return {"TopicArn": topic.arn}

    async def delete_topic(self, context: RequestContext, members: Members) -> Members:
        """Answers the same for a topic that is not there."""
        topic = self._store.topic(topic_arn(context, members))
        if topic is not None:
            permissions.check_permitted(context, "DeleteTopic", topic)
            for subscription in await self._store.delete_topic(topic):
                self._wake(subscription.id)  # what it was owed is taken away
        return {}

    async def list_topics(self, context: RequestContext, members: Members) -> Members:
        arns = [topic.arn for topic in self._store.topics_of(context.account_id, context.region)]
        found, token = page(arns, members.get("NextToken"))
        return {"Topics": [{"TopicArn": arn} for arn in found], **({"NextToken": token} if token else {})}

    # --- attributes

    async def get_topic_attributes(self, context: RequestContext, members: Members) -> Members:
        topic = self.topic(context, members, "GetTopicAttributes")
        return {"Attributes": attributes.described_topic(topic, self._store.subscriptions_to(topic.arn))}

    async def set_topic_attributes(self, context: RequestContext, members: Members) -> Members:
        topic = self.topic(context, members, "SetTopicAttributes")
        name = required(members, "AttributeName")
        value = _checked(name, members.get("AttributeValue") or "", topic.is_fifo, is_among_others=False)
        if name == "MaximumMessageSize" and value and int(value) > attributes.SIZE_PLAIN_BYTES:
            self._check_large(topic)
        await self._change(topic, {name: value})
        return {}

    def _check_large(self, topic: Topic) -> None:
        subscriptions = self._store.subscriptions_to(topic.arn)
        if len(subscriptions) > attributes.LARGE_SUBSCRIPTIONS_MAX:
            raise invalid("MaximumMessageSize Reason: the topic has more than 100 subscriptions")
        if any(s.protocol not in attributes.LARGE_PROTOCOLS for s in subscriptions):
            raise invalid("MaximumMessageSize Reason: the topic has subscriptions that do not support large messages")

    async def _change(self, topic: Topic, changes: Mapping[str, str | None]) -> None:
        try:
            await self._store.change_attributes(topic, changes)
        except TopicMissing as error:
            raise no_topic() from error

    # --- permissions

    async def add_permission(self, context: RequestContext, members: Members) -> Members:
        label = required(members, "Label")
        accounts, actions = members.get("AWSAccountId") or (), members.get("ActionName") or ()
        async with self._changing:
            topic = self.topic(context, members, "AddPermission")
            await self._change(topic, {"Policy": permissions.with_permission(topic, label, accounts, actions)})
        return {}

    async def remove_permission(self, context: RequestContext, members: Members) -> Members:
        label = required(members, "Label")
        async with self._changing:
            topic = self.topic(context, members, "RemovePermission")
            await self._change(topic, {"Policy": permissions.without_permission(topic, label)})
        return {}

    # --- tags

    async def tag_resource(self, context: RequestContext, members: Members) -> Members:
        tags = _tags_of(members)
        async with self._changing:
            topic = self._tagged(context, members)
            if len({**topic.tags, **tags}) > TAGS_MAX:
                raise _too_many_tags()
            await self._store.change_tags(topic, tags)
        return {}

    async def untag_resource(self, context: RequestContext, members: Members) -> Members:
        topic = self._tagged(context, members)
        await self._store.change_tags(topic, dict.fromkeys(members.get("TagKeys") or ()))
        return {}

    async def list_tags_for_resource(self, context: RequestContext, members: Members) -> Members:
        topic = self._tagged(context, members)
        return {"Tags": [{"Key": key, "Value": value} for key, value in topic.tags.items()]}

    def _tagged(self, context: RequestContext, members: Members) -> Topic:
        topic = self._store.topic(topic_arn(context, members, "ResourceArn"))
        if topic is None or topic.account_id != context.account_id:
            raise no_resource()
        return topic


def _checked(name: str, value: str, is_fifo: bool, is_among_others: bool) -> str | None:
    """Raises AwsError InvalidParameter."""
    try:
        return attributes.check_topic_attribute(name, value, is_fifo)
    except KeyError:
        raise invalid(f"Attributes Reason: Unknown attribute {name}" if is_among_others else "AttributeName") from None
    except Wrong as problem:
        raise invalid_attribute(problem, is_among_others) from problem


def _tags_of(members: Members) -> dict[str, str]:
    listed: Sequence[Mapping[str, str]] = members.get("Tags") or ()
    tags = {tag.get("Key", ""): tag.get("Value", "") for tag in listed}
    if len(tags) != len(listed):
        raise invalid("Duplicated keys are not allowed.")
    if len(tags) > TAGS_MAX:
        raise _too_many_tags()
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_MAX or len(value) > TAG_VALUE_MAX or key.lower().startswith("aws:"):
            raise invalid("Tags")
    return tags


def _too_many_tags() -> AwsError:
    return AwsError("TagLimitExceededException", "Could not complete request: tag quota of per resource exceeded")
