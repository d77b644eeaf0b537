"""Attributes of topics and subscriptions: what may be set, what is given back.

https://docs.aws.amazon.com/sns/latest/api/API_SetTopicAttributes.html, API_SetSubscriptionAttributes.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.services.sns import delivery_policy, filtering, permissions
from lambent.services.sns.errors import Wrong
from lambent.store.topics import State, Subscription, Topic

SIZE_MIN_BYTES: Final = 1024
SIZE_MAX_BYTES: Final = 1_048_576  # https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
SIZE_PLAIN_BYTES: Final = 262_144  # above it, only SQS and Lambda, and a hundred of them
LARGE_SUBSCRIPTIONS_MAX: Final = 100
LARGE_PROTOCOLS: Final = frozenset({"sqs", "lambda", "firehose"})
DISPLAY_NAME_MAX: Final = 100
_FEEDBACK: Final = re.compile(
    r"(HTTP|Firehose|Lambda|Application|SQS)(SuccessFeedbackRoleArn|SuccessFeedbackSampleRate|FailureFeedbackRoleArn)"
)
_QUEUE_ARN: Final = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}(\.fifo)?")
_PASSWORD: Final = re.compile(r"^(https?://[^:@/]*:)[^@/]*@")
RAW_PROTOCOLS: Final = frozenset({"sqs", "http", "https", "firehose"})
HTTP_PROTOCOLS: Final = frozenset({"http", "https"})


# --- topics


def check_topic_attribute(name: str, value: str, is_fifo: bool) -> str | None:
    """As it is kept; None where nothing is. Raises KeyError for a name that means nothing, and Wrong."""
    if _FEEDBACK.fullmatch(name):
        return value or None
    return _TOPIC_CHECKS[name](name, value, is_fifo)


def _boolean(name: str, value: str, is_fifo: bool) -> str:
    if value not in ("true", "false"):
        raise Wrong(f"{name}: Invalid value [{value}]. Must be true or false.")
    return value


def _content_based(name: str, value: str, is_fifo: bool) -> str:
    if not is_fifo:
        raise Wrong("Content-based deduplication can only be set for FIFO topics")
    return _boolean(name, value, is_fifo)


def _throughput_scope(name: str, value: str, is_fifo: bool) -> str:
    if not is_fifo:
        raise Wrong("FifoThroughputScope can only be set for FIFO topics")
    if value not in ("Topic", "MessageGroup"):
        raise Wrong(f"{name}: Invalid value [{value}]. Must be Topic or MessageGroup.")
    return value


def _display_name(name: str, value: str, is_fifo: bool) -> str:
    if len(value) > DISPLAY_NAME_MAX or not (value.isprintable() or not value):
        raise Wrong("DisplayName")
    return value


def _size(name: str, value: str, is_fifo: bool) -> str:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not SIZE_MIN_BYTES <= int(value) <= SIZE_MAX_BYTES:
        raise Wrong(f"MaximumMessageSize: Invalid value [{value}]. Must be between 1024 and 1048576.")
    return str(int(value))


def _policy(name: str, value: str, is_fifo: bool) -> str | None:
    if not value:
        return None
    permissions.check_policy(value)
    return value


def _delivery_policy(name: str, value: str, is_fifo: bool) -> str | None:
    policy = delivery_policy.check_topic(value)
    return _text(policy) if policy is not None else None


def _signature_version(name: str, value: str, is_fifo: bool) -> str:
    if value not in ("1", "2"):
        raise Wrong("SignatureVersion")
    return value


def _tracing(name: str, value: str, is_fifo: bool) -> str:
    if value not in ("PassThrough", "Active"):
        raise Wrong("TracingConfig")
    return value


def _kept(name: str, value: str, is_fifo: bool) -> str | None:
    return value or None


def _not_offered(name: str, value: str, is_fifo: bool) -> str:
    raise Wrong(f"{name}: archives and replays are not offered by this server")


_TOPIC_CHECKS: Final[Mapping[str, Callable[[str, str, bool], str | None]]] = {
    "ArchivePolicy": _not_offered,
    "ContentBasedDeduplication": _content_based,
    "DeliveryPolicy": _delivery_policy,
    "DisplayName": _display_name,
    "FifoThroughputScope": _throughput_scope,
    "KmsMasterKeyId": _kept,
    "MaximumMessageSize": _size,
    "Policy": _policy,
    "SignatureVersion": _signature_version,
    "TracingConfig": _tracing,
}


def described_topic(topic: Topic, subscriptions: list[Subscription]) -> dict[str, str]:
    """All attributes, as GetTopicAttributes gives them."""
    own = topic.attributes.get("DeliveryPolicy")
    found = {
        "TopicArn": topic.arn,
        "Owner": topic.account_id,
        "Policy": permissions.policy_of(topic),
        "DisplayName": topic.attributes.get("DisplayName", ""),
        "EffectiveDeliveryPolicy": _text(delivery_policy.effective_of_topic(json.loads(own) if own else None)),
        "SubscriptionsConfirmed": str(sum(s.state is State.CONFIRMED for s in subscriptions)),
        "SubscriptionsPending": str(sum(s.state is State.PENDING for s in subscriptions)),
        "SubscriptionsDeleted": str(sum(s.state is State.LEFT for s in subscriptions)),
        **topic.attributes,
    }
    if topic.is_fifo:
        found["FifoTopic"] = "true"
        found.setdefault("ContentBasedDeduplication", "false")
    return found


# --- subscriptions


def check_subscription_attribute(name: str, value: str, protocol: str, topic: Topic, endpoint: str) -> str | None:
    """The same for a subscription's; a filter policy is checked together with its scope: see `check_filter`.

    Raises KeyError, Wrong.
    """
    match name:
        case "RawMessageDelivery":
            if value not in ("true", "false"):
                raise Wrong(f"RawMessageDelivery: Invalid value [{value}]. Must be true or false.")
            if value == "true" and protocol not in RAW_PROTOCOLS:
                raise Wrong(f"Delivery protocol [{protocol}] does not support raw message delivery.")
            return value
        case "FilterPolicyScope":
            filtering.check_scope(value)
            return value
        case "FilterPolicy":
            return value or None
        case "DeliveryPolicy":
            if value and protocol not in HTTP_PROTOCOLS:
                raise Wrong(f"DeliveryPolicy: Delivery protocol [{protocol}] does not support delivery policies.")
            policy = delivery_policy.check_subscription(value)
            return _text(policy) if policy is not None else None
        case "RedrivePolicy":
            return _redrive(value, topic, endpoint) if value else None
        case "SubscriptionRoleArn":
            raise Wrong("SubscriptionRoleArn: Firehose is not offered by this server")
        case "ReplayPolicy" | "ReplayStatus":
            raise Wrong(f"{name}: archives and replays are not offered by this server")
        case _:
            raise KeyError(name)


def check_filter(attributes: Mapping[str, str]) -> None:
    """Raises Wrong."""
    if policy := attributes.get("FilterPolicy"):
        filtering.check(policy, attributes.get("FilterPolicyScope", filtering.ATTRIBUTES))


def _redrive(value: str, topic: Topic, endpoint: str) -> str:
    try:
        policy = json.loads(value)
    except ValueError as error:
        raise Wrong(f"RedrivePolicy: failed to parse JSON. {_complaint(value)}") from error
    arn = policy.get("deadLetterTargetArn") if isinstance(policy, dict) else None
    if not isinstance(arn, str) or not _QUEUE_ARN.fullmatch(arn):
        raise Wrong("RedrivePolicy: deadLetterTargetArn is an invalid arn")
    if arn.split(":")[3] != topic.region:
        raise Wrong("RedrivePolicy: deadLetterTargetArn must be in the same region as the topic")
    if topic.is_fifo and endpoint.endswith(".fifo") and not arn.endswith(".fifo"):
        raise Wrong("RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
    return value


def _complaint(value: str) -> str:
    """What AWS's parser says of what is no JSON; a filter policy is read by the same one."""
    try:
        filtering.check(value, filtering.BODY)
    except Wrong as wrong:
        return str(wrong).partition("failed to parse JSON. ")[2]
    return ""


def dead_letters_of(subscription: Subscription) -> str | None:
    """The queue's ARN."""
    text = subscription.attributes.get("RedrivePolicy")
    return json.loads(text)["deadLetterTargetArn"] if text else None


def effective_policy(topic: Topic, subscription: Subscription) -> dict[str, Any]:
    theirs, own = topic.attributes.get("DeliveryPolicy"), subscription.attributes.get("DeliveryPolicy")
    return delivery_policy.effective(json.loads(theirs) if theirs else None, json.loads(own) if own else None)


def shown(endpoint: str) -> str:
    """Without the password that a web server may ask for."""
    return _PASSWORD.sub(r"\1****@", endpoint)


def is_raw(subscription: Subscription) -> bool:
    return subscription.attributes.get("RawMessageDelivery") == "true"


def scope_of(subscription: Subscription) -> str:
    return subscription.attributes.get("FilterPolicyScope", filtering.ATTRIBUTES)


def described_subscription(topic: Topic, subscription: Subscription) -> dict[str, str]:
    """All attributes, as GetSubscriptionAttributes gives them."""
    found = {
        "SubscriptionArn": subscription.arn,
        "TopicArn": subscription.topic_arn,
        "Owner": subscription.owner,
        "Protocol": subscription.protocol,
        "Endpoint": shown(subscription.endpoint),
        "SubscriptionPrincipal": subscription.principal,
        "PendingConfirmation": "true" if subscription.state is State.PENDING else "false",
        "ConfirmationWasAuthenticated": (
            "true" if subscription.state is State.CONFIRMED and subscription.was_authenticated else "false"
        ),
        "RawMessageDelivery": "false",
        **subscription.attributes,
    }
    if "FilterPolicy" in found:
        found["FilterPolicyScope"] = scope_of(subscription)
    else:
        found.pop("FilterPolicyScope", None)
    if subscription.protocol in HTTP_PROTOCOLS:
        found["EffectiveDeliveryPolicy"] = _text(effective_policy(topic, subscription))
    return found


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
