"""The forms in which messages arrive: AWS's JSON envelope, and the event of a function.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html,
https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from lambent.services.sns.content import Message
from lambent.services.sns.notices import Notice
from lambent.services.sns.signing import Signer
from lambent.store.topics import Subscription
from lambent.store.topics.values import sequence_text

API_VERSION: Final = "2010-03-31"
_WORDS: Final = {
    "SubscriptionConfirmation": (
        "You have chosen to subscribe to the topic {topic}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message."
    ),
    "UnsubscribeConfirmation": (
        "You have chosen to deactivate subscription {subscription}.\n"
        "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
    ),
}


def notification(
    message: Message, subscription: Subscription, sequence: int | None, signer: Signer, version: str | None = None
) -> dict[str, Any]:
    """The fields of a notification. Messages of FIFO topics are not signed. Takes a millisecond to sign."""
    fields: dict[str, Any] = {"Type": "Notification", "MessageId": message.id}
    if sequence is not None:
        fields["SequenceNumber"] = sequence_text(sequence)
    fields["TopicArn"] = message.topic_arn
    if message.subject is not None:
        fields["Subject"] = message.subject
    fields["Message"] = message.text_for(subscription.protocol)
    fields["Timestamp"] = timestamp(message.at_ms)
    if sequence is None:
        _sign(fields, subscription, signer, version or message.signature_version)
    fields["UnsubscribeURL"] = unsubscribe_url(subscription)
    if message.attributes:
        fields["MessageAttributes"] = {name: _attribute(each) for name, each in message.attributes.items()}
    return fields


def confirmation(notice: Notice, subscription: Subscription, signer: Signer, version: str) -> dict[str, Any]:
    """The fields of a request to confirm, or of a farewell."""
    words = _WORDS[notice.type].format(topic=subscription.topic_arn, subscription=subscription.arn)
    fields: dict[str, Any] = {
        "Type": notice.type,
        "MessageId": notice.id,
        "Token": notice.token,
        "TopicArn": subscription.topic_arn,
        "Message": words,
        "SubscribeURL": confirm_url(subscription, notice.token),
        "Timestamp": timestamp(notice.at_ms),
    }
    _sign(fields, subscription, signer, version)
    return fields


def _sign(fields: dict[str, Any], subscription: Subscription, signer: Signer, version: str) -> None:
    signature = signer.sign(fields, version)
    fields["SignatureVersion"] = version
    fields["Signature"] = signature
    fields["SigningCertURL"] = signer.certificate_url(subscription.base_url)


def text_of(fields: Mapping[str, Any]) -> str:
    """As AWS writes it: a line for each field, and one for each attribute."""
    lines = []
    for name, value in fields.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"    {_json(key)} : {_json(each)}" for key, each in value.items())
            lines.append(f"  {_json(name)} : {{\n{inner}\n  }}")
        else:
            lines.append(f"  {_json(name)} : {_json(value)}")
    return "{\n" + ",\n".join(lines) + "\n}"


def event_of(fields: Mapping[str, Any], subscription: Subscription) -> bytes:
    """What a function gets."""
    record = {
        "Type": fields["Type"],
        "MessageId": fields["MessageId"],
        "TopicArn": fields["TopicArn"],
        "Subject": fields.get("Subject"),
        "Message": fields["Message"],
        "Timestamp": fields["Timestamp"],
        "SignatureVersion": fields["SignatureVersion"],
        "Signature": fields["Signature"],
        "SigningCertUrl": fields["SigningCertURL"],
        "MessageAttributes": fields.get("MessageAttributes", {}),
    }
    if "UnsubscribeURL" in fields:
        record["UnsubscribeUrl"] = fields["UnsubscribeURL"]
    else:
        record |= {"Token": fields["Token"], "SubscribeUrl": fields["SubscribeURL"]}
    envelope = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "Sns": record,
    }
    return _json({"Records": [envelope]}).encode("utf-8", "replace")


def confirm_url(subscription: Subscription, token: str) -> str:
    return _url(subscription, Action="ConfirmSubscription", TopicArn=subscription.topic_arn, Token=token)


def unsubscribe_url(subscription: Subscription) -> str:
    return _url(subscription, Action="Unsubscribe", SubscriptionArn=subscription.arn)


def _url(subscription: Subscription, **query: str) -> str:
    """With the version, by which the server knows whose action it is."""
    return f"{subscription.base_url}/?{urlencode({**query, 'Version': API_VERSION}, safe=':')}"


def timestamp(at_ms: int) -> str:
    at = datetime.datetime.fromtimestamp(at_ms // 1000, datetime.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _attribute(attribute: Mapping[str, Any]) -> dict[str, str]:
    binary = attribute.get("BinaryValue")
    value = attribute["StringValue"] if binary is None else base64.b64encode(binary).decode()
    return {"Type": attribute["DataType"], "Value": value}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
