"""Names, addresses and ARNs of queues."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.services.sqs.errors import invalid_parameter, missing_parameter, queue_missing
from lambent.store.queues import Queue, QueueKey

Resolver = Callable[[RequestContext, dict[str, Any], str], Queue]
"""The queue of `QueueUrl`, if the caller may do the named action with it. Raises AwsError."""

# Up to 80 with `.fifo`: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")
# Nothing that another reader of the same text could take for something else: whoever decides on access reads it as well.
_URL: Final = re.compile(
    r"(?:https?://[A-Za-z0-9.:\[\]_-]+)?(?:/[A-Za-z0-9_-]+)*/(?P<account>[0-9]{12})/(?P<name>[A-Za-z0-9_.-]+)"
)
_ARN: Final = re.compile(r"arn:[^:]+:[^:]+:[^:]+:[^:]+:.+")


def check_name(name: str, is_fifo: bool) -> None:
    """Raises AwsError InvalidParameterValue."""
    if not name:
        raise invalid_parameter("Queue name cannot be empty")
    if is_fifo:
        if not _FIFO_NAME.fullmatch(name):
            raise invalid_parameter(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end "
                "with .fifo suffix and be 1 to 80 in length."
            )
    elif not _NAME.fullmatch(name):
        raise invalid_parameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")


def url_of(context: RequestContext, account_id: str, name: str) -> str:
    return f"{context.base_url}/{account_id}/{name}"


def key_of(context: RequestContext, members: dict[str, Any]) -> QueueKey:
    """Whose queue `QueueUrl` means: `http://anything/account/name`, or a bare name of the caller's own.

    Raises AwsError MissingParameter, QueueDoesNotExist.
    """
    url = members.get("QueueUrl")
    if not url:
        raise missing_parameter("QueueUrl")
    if _NAME.fullmatch(url) or _FIFO_NAME.fullmatch(url):
        return context.account_id, context.region, url
    found = _URL.fullmatch(url)
    if found is None:
        raise queue_missing() if "://" in url else _bad_address(url)
    return found["account"], context.region, found["name"]


def _bad_address(url: str) -> AwsError:
    return AwsError("InvalidAddress", f"The address {url} is not valid for this endpoint.")


def check_arn(name: str, arn: str) -> None:
    """Raises AwsError InvalidParameterValue."""
    if not _ARN.fullmatch(arn):
        raise invalid_parameter(
            f"You must use this format to specify the {name}: "
            "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )
