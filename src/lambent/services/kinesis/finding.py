"""Which stream a request means, and whether its caller may."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final

from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.services.kinesis.errors import (
    consumer_missing,
    in_the_words_of_aws,
    invalid_argument,
    shard_missing,
    stream_missing,
)
from lambent.store.streams import Consumer, Shard, Stream, StreamKey, StreamMissing, StreamStore

Members = dict[str, Any]

_STREAM_ARN: Final = re.compile(r"arn:aws[^:]*:kinesis:([^:]*):(\d{12}):stream/([a-zA-Z0-9_.-]+)")
_CONSUMER: Final = re.compile(r"/consumer/([a-zA-Z0-9_.-]+):(\d+)")
_SHARD: Final = re.compile(r"(?:[^-]*-)?(\d{1,12})")

# What another account can be allowed: https://docs.aws.amazon.com/streams/latest/dev/resource-based-policy-examples.html
SHARED: Final = frozenset(
    {
        "DescribeStreamConsumer",
        "DescribeStreamSummary",
        "GetRecords",
        "GetShardIterator",
        "ListShards",
        "PutRecord",
        "PutRecords",
        "SubscribeToShard",
    }
)


class Finder:
    def __init__(self, store: StreamStore) -> None:
        self._store = store

    def key(self, context: RequestContext, members: Members, action: str) -> StreamKey:
        """By StreamARN or StreamName. Raises AwsError InvalidArgumentException, AccessDeniedException."""
        arn, name = members.get("StreamARN"), members.get("StreamName")
        if arn is None:
            if name is None:
                raise invalid_argument("Either StreamARN or StreamName must be given.")
            return context.account_id, context.region, name
        key, rest = _split_arn(arn)
        if rest:
            raise invalid_argument(f"StreamARN {arn} is not the ARN of a stream.")
        if name is not None and name != key[2]:
            raise invalid_argument(f"StreamARN {arn} and StreamName {name} are not of the same stream.")
        self._admit(context, key, action, arn, None)
        return key

    def stream(self, context: RequestContext, members: Members, action: str) -> Stream:
        """Raises AwsError ResourceNotFoundException, and as `key` does."""
        key = self.key(context, members, action)
        with in_the_words_of_aws(key):
            stream = self._store.stream(key)
        created = members.get("StreamCreationTimestamp")  # to tell it from others that had its name
        if created is not None and int(created.timestamp()) != stream.created_ms // 1000:
            raise stream_missing(key)
        return stream

    def resource(self, context: RequestContext, arn: str, action: str) -> tuple[Stream, Consumer | None]:
        """What a ResourceARN or ConsumerARN names. Raises AwsError."""
        key, rest = _split_arn(arn)
        stream = self._known(key)
        consumer = _consumer(stream, rest, arn) if rest else None
        self._admit(context, key, action, arn, consumer)
        if stream is None:
            raise stream_missing(key)
        return stream, consumer

    def policy_of(self, arn: str) -> str | None:
        """The resource policy of a stream or a consumer; None when there is none, or no such thing."""
        try:
            key, rest = _split_arn(arn)
            stream = self._known(key)
            consumer = _consumer(stream, rest, arn) if rest else None
        except AwsError:
            return None
        if consumer is not None:
            return consumer.policy
        return stream.settings.policy if stream is not None else None

    def _known(self, key: StreamKey) -> Stream | None:
        try:
            return self._store.stream(key)
        except StreamMissing:
            return None

    def _admit(self, context: RequestContext, key: StreamKey, action: str, arn: str, consumer: Consumer | None) -> None:
        """Raises AwsError AccessDeniedException when it is another account's and its policy does not allow it.

        Where signatures are checked, the gateway has decided already, by the caller's own policies too.
        """
        if key[0] == context.account_id or (context.principal_arn is not None and action in SHARED):
            return
        stream = self._known(key)
        text = consumer.policy if consumer is not None else stream.settings.policy if stream is not None else None
        if action not in SHARED or text is None or not _permits(context, action, key[0], arn, text):
            raise AwsError(
                "AccessDeniedException",
                f"User: {context.principal_arn or policy.root(context.account_id).arn} is not authorized to perform: "
                f"kinesis:{action} on resource: {arn} because no resource-based policy allows the kinesis:{action} "
                "action",
            )


def _split_arn(arn: str) -> tuple[StreamKey, str]:
    """The stream, and what follows its name. Raises AwsError InvalidArgumentException."""
    found = _STREAM_ARN.match(arn)
    if found is None:
        raise invalid_argument(f"{arn} is not the ARN of a stream or a consumer.")
    region, account_id, name = found.groups()
    return (account_id, region, name), arn[found.end() :]


def _consumer(stream: Stream | None, rest: str, arn: str) -> Consumer | None:
    """Raises AwsError ResourceNotFoundException."""
    found = _CONSUMER.fullmatch(rest)
    if found is None:
        raise invalid_argument(f"{arn} is not the ARN of a stream or a consumer.")
    for consumer in stream.settings.consumers if stream is not None else ():
        if (consumer.name, str(consumer.created_s)) == found.groups():
            return consumer
    raise consumer_missing(arn, arn.split(":")[4])


def shard_of(stream: Stream, name: str, missing: Callable[[Stream, str], AwsError] = shard_missing) -> Shard:
    """By "shardId-000000000001", or a shorter form of it, as AWS takes it. Raises AwsError ResourceNotFoundException."""
    found = _SHARD.fullmatch(name)
    shard = stream.shard(int(found[1])) if found is not None else None
    if shard is None:
        raise missing(stream, name)
    return shard


def _permits(context: RequestContext, action: str, owner: str, arn: str, text: str) -> bool:
    principal = policy.root(context.account_id)
    values = {"aws:PrincipalArn": principal.arn, "aws:PrincipalAccount": context.account_id}
    request = policy.Request(
        principal=principal,
        action=f"kinesis:{action}",
        resource=arn,
        resource_account_id=owner,
        context=policy.context_of(values),
    )
    return policy.evaluate(request, policy.Policies(resource=parsed(text))).is_allowed


@functools.lru_cache(maxsize=1024)
def parsed(text: str) -> policy.Policy:
    """Raises MalformedPolicy."""
    return policy.parse_policy(text, policy.DocumentKind.RESOURCE)
