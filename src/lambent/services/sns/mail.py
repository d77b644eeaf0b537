"""E-mail is written to a folder instead of being sent: one file for each, as a mail program would read it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, Final

from lambent.store.topics import Subscription

SENDER: Final = "no-reply@sns.amazonaws.com"
SENDER_NAME: Final = "AWS Notifications"
LINE_MAX_BYTES: Final = 998  # RFC 5322, 2.1.1; longer ones are encoded
_FOOT: Final = (
    "\n\n--\nIf you wish to stop receiving notifications from this topic, please click or visit the link below to "
    "unsubscribe:\n{url}\n"
)


def write(folder: Path, subscription: Subscription, fields: Mapping[str, Any], display_name: str) -> Path:
    """The file, durable. The same message to the same subscription is the same file. Blocks; raises OSError."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f'"{_quoted(display_name or SENDER_NAME)}" <{SENDER}>'
    mail["To"] = subscription.endpoint
    mail["Message-ID"] = f"<{fields['MessageId']}@sns.amazonaws.com>"
    mail["X-Sns-Topic-Arn"] = subscription.topic_arn
    mail["X-Sns-Timestamp"] = fields["Timestamp"]
    mail["Subject"] = _subject(fields)
    content = _content(subscription, fields)
    is_plain = max(map(len, content.encode().splitlines()), default=0) < LINE_MAX_BYTES
    mail.set_content(content, cte="8bit" if is_plain else "quoted-printable")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{fields['Timestamp'].replace(':', '')}-{fields['MessageId']}-{subscription.id}.eml"
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as file:
        file.write(mail.as_bytes())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return path


def _subject(fields: Mapping[str, Any]) -> str:
    if fields["Type"] == "Notification":
        return str(fields.get("Subject") or "AWS Notification Message")
    what = "Subscription" if fields["Type"] == "SubscriptionConfirmation" else "Unsubscribe"
    return f"AWS Notification - {what} Confirmation"


def _content(subscription: Subscription, fields: Mapping[str, Any]) -> str:
    if subscription.protocol == "email-json":
        return json.dumps(fields, ensure_ascii=False, indent=2)
    if fields["Type"] == "Notification":
        return str(fields["Message"]) + _FOOT.format(url=fields["UnsubscribeURL"])
    return f"{fields['Message'].replace('the SubscribeURL included in this message', 'the link below')}\n\n{fields['SubscribeURL']}\n"


def _quoted(name: str) -> str:
    return name.replace("\\", "").replace('"', "")
