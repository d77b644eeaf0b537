"""Tags of streams and of consumers, and their resource policies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from lambent.model import policy
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.kinesis.errors import consumer_missing, in_the_words_of_aws, invalid_argument, not_found
from lambent.services.kinesis.finding import Finder, parsed
from lambent.store.streams import Consumer, Stream, StreamStore

Members = dict[str, Any]
Tags = Mapping[str, str]

TAGS_MAX: Final = 50  # https://docs.aws.amazon.com/streams/latest/dev/tagging.html
_ALLOWED: Final = re.compile(r"[\w\s_./=+\-%@:]*")


def check_tags(tags: Tags, present: Tags | None = None) -> None:
    """Raises AwsError InvalidArgumentException."""
    if not all(_ALLOWED.fullmatch(text) for pair in tags.items() for text in pair):
        raise invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - "
            "% @ :."
        )
    if any(name.lower().startswith("aws:") for name in tags):
        raise invalid_argument("Tag keys that start with aws: are reserved for system use.")
    if len({**(present or {}), **tags}) > TAGS_MAX:
        raise invalid_argument(f"A resource cannot have more than {TAGS_MAX} tags associated with it.")


class Resources:
    """What holds of streams and consumers alike."""

    def __init__(self, store: StreamStore, finder: Finder) -> None:
        self._store = store
        self._finder = finder
        self.operations: Mapping[str, Operation] = {
            "AddTagsToStream": self.add_tags_to_stream,
            "DeleteResourcePolicy": self.delete_resource_policy,
            "GetResourcePolicy": self.get_resource_policy,
            "ListTagsForResource": self.list_tags_for_resource,
            "ListTagsForStream": self.list_tags_for_stream,
            "PutResourcePolicy": self.put_resource_policy,
            "RemoveTagsFromStream": self.remove_tags_from_stream,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
        }

    # ── tags ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def add_tags_to_stream(self, context: RequestContext, members: Members) -> Members:
        stream = self._finder.stream(context, members, "AddTagsToStream")
        return await self._change(stream, None, _tagging(members["Tags"]))

    async def remove_tags_from_stream(self, context: RequestContext, members: Members) -> Members:
        stream = self._finder.stream(context, members, "RemoveTagsFromStream")
        return await self._change(stream, None, _untagging(members["TagKeys"]))

    async def list_tags_for_stream(self, context: RequestContext, members: Members) -> Members:
        stream = self._finder.stream(context, members, "ListTagsForStream")
        after = members.get("ExclusiveStartTagKey", "")
        names = sorted(name for name in stream.settings.tags if name > after)
        page = names[: members.get("Limit") or TAGS_MAX]
        tags = [{"Key": name, "Value": stream.settings.tags[name]} for name in page]
        return {"Tags": tags, "HasMoreTags": len(page) < len(names)}

    async def tag_resource(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._finder.resource(context, members["ResourceARN"], "TagResource")
        return await self._change(stream, consumer, _tagging(members["Tags"]))

    async def untag_resource(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._finder.resource(context, members["ResourceARN"], "UntagResource")
        return await self._change(stream, consumer, _untagging(members["TagKeys"]))

    async def list_tags_for_resource(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._finder.resource(context, members["ResourceARN"], "ListTagsForResource")
        tags = stream.settings.tags if consumer is None else consumer.tags
        return {"Tags": [{"Key": name, "Value": tags[name]} for name in sorted(tags)]}

    # ── policies ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def put_resource_policy(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._finder.resource(context, members["ResourceARN"], "PutResourcePolicy")
        text = members["Policy"]
        try:
            parsed(text)
        except policy.MalformedPolicy as error:
            raise invalid_argument(f"The resource policy is not valid: {error.message}") from error
        return await self._change(stream, consumer, lambda tags, _: (tags, text))

    async def get_resource_policy(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._finder.resource(context, members["ResourceARN"], "GetResourcePolicy")
        text = stream.settings.policy if consumer is None else consumer.policy
        if text is None:
            raise _no_policy(members["ResourceARN"])
        return {"Policy": text}

    async def delete_resource_policy(self, context: RequestContext, members: Members) -> Members:
        arn = members["ResourceARN"]
        stream, consumer = self._finder.resource(context, arn, "DeleteResourcePolicy")

        def remove(tags: Tags, text: str | None) -> tuple[Tags, str | None]:
            if text is None:
                raise _no_policy(arn)
            return tags, None

        return await self._change(stream, consumer, remove)

    async def _change(
        self,
        stream: Stream,
        consumer: Consumer | None,
        decide: Callable[[Tags, str | None], tuple[Tags, str | None]],
    ) -> Members:
        """`decide` is given tags and policy as they are, and says what they shall be. Raises AwsError."""

        def change(current: Stream) -> Stream:
            settings = current.settings
            if consumer is None:
                tags, text = decide(settings.tags, settings.policy)
                return current.with_settings(tags=tags, policy=text)
            consumers = list(settings.consumers)
            for place, known in enumerate(consumers):
                if (known.name, known.created_s) == (consumer.name, consumer.created_s):
                    tags, text = decide(known.tags, known.policy)
                    consumers[place] = attrs.evolve(known, tags=tags, policy=text)
                    return current.with_settings(consumers=tuple(consumers))
            raise consumer_missing(consumer.name, current.account_id)

        with in_the_words_of_aws(stream.key):
            await self._store.change(stream.key, change)
        return {}


def _tagging(added: Tags) -> Callable[[Tags, str | None], tuple[Tags, str | None]]:
    def decide(tags: Tags, text: str | None) -> tuple[Tags, str | None]:
        check_tags(added, tags)
        return {**tags, **added}, text

    return decide


def _untagging(names: list[str]) -> Callable[[Tags, str | None], tuple[Tags, str | None]]:
    return lambda tags, text: ({name: value for name, value in tags.items() if name not in names}, text)


def _no_policy(arn: str) -> Exception:
    return not_found(f"No resource policy found for resource ARN {arn}.")
