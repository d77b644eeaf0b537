"""Operations on subscriptions."""

from __future__ import annotations

import asyncio
import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.sns import attributes
from lambent.services.sns.errors import (
    Wrong,
    invalid,
    invalid_attribute,
    no_subscription,
    no_topic,
    not_allowed,
)
from lambent.services.sns.names import account_in, required, subscription_id, topic_arn
from lambent.services.sns.notices import Notice, lane_of_notice
from lambent.services.sns.paging import page
from lambent.services.sns.topics import Topics, Wake
from lambent.store.topics import NewDelivery, State, Subscription, Topic, TopicMissing, TopicStore

Members = dict[str, Any]
TOKEN_MS: Final = 2 * 24 * 3600 * 1000  # Subscribe's page: tokens are valid for two days
SUBSCRIPTIONS_MAX: Final = 12_500_000  # of a standard topic: https://docs.aws.amazon.com/general/latest/gr/sns.html
FIFO_SUBSCRIPTIONS_MAX: Final = 100
_TOKEN: Final = re.compile(r"[0-9a-f]{64,512}")
_TOKEN_BYTES: Final = 128
_FUNCTION: Final = re.compile(
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,140}(:[A-Za-z0-9$_-]+)?"
)
_QUEUE: Final = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}(\.fifo)?")
_MAIL: Final = re.compile(r"[^@\s<>\"/\\]{1,64}@[A-Za-z0-9.-]{1,250}")
_URL: Final = re.compile(r"(https?)://([^@/?#\s]+@)?[A-Za-z0-9.:\[\]_-]+([/?][!-\"$-~]*)?", re.ASCII)
CONFIRMED_BY_THEIR_OWNERS: Final = frozenset({"http", "https", "email", "email-json"})


class Subscriptions:
    def __init__(self, store: TopicStore, topics: Topics, wake: Wake) -> None:
        """`wake` is told which lane has something to do."""
        self._store = store
        self._topics = topics
        self._wake = wake
        self._changing = asyncio.Lock()
        self.operations: Mapping[str, Operation] = {
            "ConfirmSubscription": self._alone(self.confirm_subscription),
            "GetSubscriptionAttributes": self.get_subscription_attributes,
            "ListSubscriptions": self.list_subscriptions,
            "ListSubscriptionsByTopic": self.list_subscriptions_by_topic,
            "SetSubscriptionAttributes": self._alone(self.set_subscription_attributes),
            "Subscribe": self._alone(self.subscribe),
            "Unsubscribe": self._alone(self.unsubscribe),
        }

    def _alone(self, operation: Operation) -> Operation:
        """One at a time: what is read, changed and written must not have changed meanwhile."""

        async def run(context: RequestContext, members: Members) -> Members:
            async with self._changing:
                return await operation(context, members)

        return run

    async def subscribe(self, context: RequestContext, members: Members) -> Members:
        topic = self._topics.topic(context, members, "Subscribe")
        protocol = required(members, "Protocol")
        endpoint = _endpoint(topic, protocol, members.get("Endpoint"))
        asked = _checked(members.get("Attributes") or {}, topic, protocol, endpoint)
        wants_arn = bool(members.get("ReturnSubscriptionArn"))
        await self._forget_old(topic)
        existing = self._existing(topic, protocol, endpoint)
        if existing is not None:
            if any(existing.attributes.get(name) != value for name, value in asked.items()):
                raise invalid("Attributes Reason: Subscription already exists with different attributes")
            if existing.state is State.PENDING:
                await self._ask(attrs.evolve(existing, token_ms=self._store.now_ms()))
            return _subscribed(existing, wants_arn)
        self._check_room(topic, protocol)
        is_foreign = endpoint.startswith("arn:") and account_in(endpoint) != context.account_id
        subscription = Subscription(
            id=str(uuid.uuid4()), topic_arn=topic.arn, protocol=protocol, endpoint=endpoint, owner=context.account_id,
            principal=context.principal_arn or f"arn:aws:iam::{context.account_id}:root", base_url=context.base_url,
            state=State.PENDING if is_foreign or protocol in CONFIRMED_BY_THEIR_OWNERS else State.CONFIRMED,
            attributes=asked, token=secrets.token_hex(_TOKEN_BYTES), token_ms=self._store.now_ms(),
        )  # fmt: skip
        if subscription.state is State.PENDING:
            await self._ask(subscription)
        else:
            await self._put(subscription)
        return _subscribed(subscription, wants_arn)

    async def _forget_old(self, topic: Topic) -> None:
        """Those that were not confirmed in time, and those that have left for good."""
        now_ms = self._store.now_ms()
        for old in self._store.subscriptions_to(topic.arn):
            if old.state is not State.CONFIRMED and now_ms - old.token_ms > TOKEN_MS:
                await self._store.delete_subscription(old)

    def _existing(self, topic: Topic, protocol: str, endpoint: str) -> Subscription | None:
        return next(
            (
                s
                for s in self._store.subscriptions_to(topic.arn)
                if s.protocol == protocol and s.endpoint == endpoint and s.state is not State.LEFT
            ),
            None,
        )

    def _check_room(self, topic: Topic, protocol: str) -> None:
        count = len(self._store.subscriptions_to(topic.arn))
        if count >= (FIFO_SUBSCRIPTIONS_MAX if topic.is_fifo else SUBSCRIPTIONS_MAX):
            raise AwsError("SubscriptionLimitExceededException", "Subscription limit exceeded", 403)
        if int(topic.attributes.get("MaximumMessageSize", "0")) > attributes.SIZE_PLAIN_BYTES:
            if count >= attributes.LARGE_SUBSCRIPTIONS_MAX:
                raise invalid("Topics for large messages have at most 100 subscriptions")
            if protocol not in attributes.LARGE_PROTOCOLS:
                raise invalid(f"Topics for large messages do not support the protocol {protocol}")

    async def _ask(self, subscription: Subscription) -> None:
        """Sends the token to the endpoint."""
        notice = Notice.about("SubscriptionConfirmation", subscription, self._store.now_ms())
        lane = lane_of_notice(subscription)
        await self._put(subscription, NewDelivery(lane=lane, content=notice.encoded()))
        self._wake(lane)

    async def _put(self, subscription: Subscription, more: NewDelivery | None = None) -> None:
        try:
            await self._store.put_subscription(subscription, more)
        except TopicMissing as error:
            raise no_topic() from error

    async def confirm_subscription(self, context: RequestContext, members: Members) -> Members:
        """By whoever has the token: the caller's account and region do not matter."""
        arn = required(members, "TopicArn")
        token = required(members, "Token")
        parts = arn.split(":")
        if len(parts) != 6 or parts[2] != "sns":
            raise invalid("Topic")
        topic = self._store.topic(arn)
        if topic is None:
            raise invalid("Token")
        if not _TOKEN.fullmatch(token):
            raise AwsError("InvalidParameterException", "Invalid token")
        found = [s for s in self._store.subscriptions_to(arn) if secrets.compare_digest(s.token, token)]
        if not found or self._store.now_ms() - found[0].token_ms > TOKEN_MS:
            raise invalid("Token")
        subscription = found[0]
        if subscription.state is State.LEFT:
            subscription = self._existing(topic, subscription.protocol, subscription.endpoint) or subscription
        if subscription.state is not State.CONFIRMED:
            is_signed = context.access_key_id is not None
            keeps_signed = is_signed and members.get("AuthenticateOnUnsubscribe") == "true"
            await self._put(
                attrs.evolve(
                    subscription, state=State.CONFIRMED, was_authenticated=is_signed, keeps_signed=keeps_signed
                )
            )
        return {"SubscriptionArn": subscription.arn}

    async def unsubscribe(self, context: RequestContext, members: Members) -> Members:
        """By its owner, the topic's, or whoever has its address; answers the same when there is none."""
        subscription = self._store.subscription(subscription_id(members))
        if subscription is None or subscription.arn != members["SubscriptionArn"] or subscription.state is State.LEFT:
            return {}
        owners = (subscription.owner, account_in(subscription.topic_arn))
        is_signed = context.access_key_id is not None
        if (is_signed or subscription.keeps_signed) and context.account_id not in owners:
            raise not_allowed(f"arn:aws:iam::{context.account_id}:root", "Unsubscribe", subscription.arn)
        if subscription.state is State.CONFIRMED and subscription.protocol in attributes.HTTP_PROTOCOLS:
            await self._say_farewell(subscription)
        else:
            await self._store.delete_subscription(subscription)
        self._wake(subscription.id)
        return {}

    async def _say_farewell(self, subscription: Subscription) -> None:
        """It gets one more message, with a token to come back by."""
        now_ms = self._store.now_ms()
        gone = attrs.evolve(subscription, state=State.LEFT, token=secrets.token_hex(_TOKEN_BYTES), token_ms=now_ms)
        lane = lane_of_notice(gone)
        notice = Notice.about("UnsubscribeConfirmation", gone, now_ms)
        await self._put(gone, NewDelivery(lane=lane, content=notice.encoded()))
        self._wake(lane)

    # --- attributes

    def _subscription(self, context: RequestContext, members: Members, action: str) -> tuple[Topic, Subscription]:
        subscription = self._store.subscription(subscription_id(members))
        if subscription is None or subscription.arn != members["SubscriptionArn"] or subscription.state is State.LEFT:
            raise no_subscription()
        topic = self._store.topic(subscription.topic_arn)
        if topic is None or topic.region != context.region:
            raise no_subscription()
        if context.account_id not in (subscription.owner, topic.account_id):
            raise not_allowed(f"arn:aws:iam::{context.account_id}:root", action, subscription.arn)
        return topic, subscription

    async def get_subscription_attributes(self, context: RequestContext, members: Members) -> Members:
        topic, subscription = self._subscription(context, members, "GetSubscriptionAttributes")
        return {"Attributes": attributes.described_subscription(topic, subscription)}

    async def set_subscription_attributes(self, context: RequestContext, members: Members) -> Members:
        topic, subscription = self._subscription(context, members, "SetSubscriptionAttributes")
        name, value = required(members, "AttributeName"), members.get("AttributeValue") or ""
        try:
            kept = attributes.check_subscription_attribute(
                name, value, subscription.protocol, topic, subscription.endpoint
            )
            merged = {n: v for n, v in {**subscription.attributes, name: kept}.items() if v is not None}
            attributes.check_filter(merged)
        except KeyError:
            raise invalid("AttributeName") from None
        except Wrong as problem:
            raise invalid_attribute(problem, is_among_others=False) from problem
        await self._put(attrs.evolve(subscription, attributes=merged))
        return {}

    # --- lists

    async def list_subscriptions(self, context: RequestContext, members: Members) -> Members:
        return _listed(self._store.subscriptions_of(context.account_id, context.region), members)

    async def list_subscriptions_by_topic(self, context: RequestContext, members: Members) -> Members:
        topic_arn(context, members)
        topic = self._topics.topic(context, members, "ListSubscriptionsByTopic")
        return _listed(self._store.subscriptions_to(topic.arn), members)


def _listed(subscriptions: Sequence[Subscription], members: Members) -> Members:
    found, token = page([s for s in subscriptions if s.state is not State.LEFT], members.get("NextToken"))
    listed = [
        {
            "SubscriptionArn": "PendingConfirmation" if s.state is State.PENDING else s.arn,
            "Owner": s.owner,
            "Protocol": s.protocol,
            "Endpoint": attributes.shown(s.endpoint),
            "TopicArn": s.topic_arn,
        }
        for s in found
    ]
    return {"Subscriptions": listed, **({"NextToken": token} if token else {})}


def _subscribed(subscription: Subscription, wants_arn: bool) -> Members:
    is_told = wants_arn or subscription.state is State.CONFIRMED
    return {"SubscriptionArn": subscription.arn if is_told else "pending confirmation"}


def _checked(asked: Mapping[str, str], topic: Topic, protocol: str, endpoint: str) -> dict[str, str]:
    """Raises AwsError InvalidParameter."""
    kept = {}
    try:
        for name, value in asked.items():
            checked = attributes.check_subscription_attribute(name, value, protocol, topic, endpoint)
            if checked is not None:
                kept[name] = checked
        attributes.check_filter(kept)
    except KeyError as error:
        raise invalid(f"Attributes Reason: Unknown attribute {error.args[0]}") from None
    except Wrong as problem:
        raise invalid_attribute(problem, is_among_others=True) from problem
    return kept


def _endpoint(topic: Topic, protocol: str, endpoint: str | None) -> str:
    """Raises AwsError InvalidParameter."""
    if protocol in ("sms", "application", "firehose"):
        raise invalid(f"Protocol Reason: {protocol} is not offered by this server")
    if protocol not in ("http", "https", "email", "email-json", "sqs", "lambda"):
        raise invalid(f"Amazon SNS does not support this protocol string: {protocol}")
    if not endpoint:
        raise invalid("Endpoint Reason: no value for required parameter")
    if protocol in ("http", "https"):
        found = _URL.fullmatch(endpoint)
        if found is None or found[1] != protocol:
            raise invalid("Endpoint must match the specified protocol")
    elif protocol in ("email", "email-json"):
        if not _MAIL.fullmatch(endpoint):
            raise invalid("Email address")
    elif protocol == "lambda":
        if not _FUNCTION.fullmatch(endpoint):
            raise invalid("Lambda endpoint ARN")
    elif not _QUEUE.fullmatch(endpoint):
        raise invalid("SQS endpoint ARN")
    if topic.is_fifo and protocol != "sqs":
        raise invalid("Invalid parameter: Endpoint Reason: FIFO topics deliver to SQS queues only")
    if not topic.is_fifo and protocol == "sqs" and endpoint.endswith(".fifo"):
        raise invalid(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
        )
    return endpoint
