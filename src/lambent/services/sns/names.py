"""Names and ARNs of topics and subscriptions."""

from __future__ import annotations

import re
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.services.sns.errors import invalid

# https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")
_ARN_PARTS: Final = 6


def check_name(name: str, is_fifo: bool) -> None:
    """Raises AwsError InvalidParameter."""
    if is_fifo and not _FIFO_NAME.fullmatch(name):
        raise invalid(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, "
            "numbers, underscores, and hyphens, and must be between 1 and 256 characters long."
        )
    if not is_fifo and not _NAME.fullmatch(name):
        raise invalid("Topic Name")


def required(members: dict[str, Any], name: str) -> str:
    """Raises AwsError InvalidParameter."""
    value: str | None = members.get(name)
    if value is None:
        raise invalid(f"{name} Reason: no value for required parameter")
    return value


def topic_arn(context: RequestContext, members: dict[str, Any], member: str = "TopicArn") -> str:
    """A topic's ARN in the caller's region. Raises AwsError InvalidParameter."""
    arn = required(members, member)
    parts = arn.split(":")
    if len(parts) < _ARN_PARTS:
        raise _too_short(member, len(parts))
    if parts[3] != context.region or parts[2] != "sns":
        raise invalid(member)
    if len(parts) > _ARN_PARTS:
        raise invalid("Topic Name")
    return arn


def subscription_id(members: dict[str, Any]) -> str:
    """The last part of `SubscriptionArn`. Raises AwsError InvalidParameter."""
    arn = required(members, "SubscriptionArn")
    if not arn:
        raise invalid("SubscriptionArn Reason: no value for required parameter")
    parts = arn.split(":")
    if len(parts) < _ARN_PARTS:
        raise _too_short("SubscriptionArn", len(parts))
    if len(parts) != _ARN_PARTS + 1:
        raise invalid("SubscriptionId")
    return parts[6]


def _too_short(member: str, count: int) -> AwsError:
    return invalid(f"{member} Reason: An ARN must have at least {_ARN_PARTS} elements, not {count}")


def account_in(arn: str) -> str:
    return arn.split(":")[4]


def region_in(arn: str) -> str:
    return arn.split(":")[3]
