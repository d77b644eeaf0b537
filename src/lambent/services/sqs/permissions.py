"""AddPermission and RemovePermission: statements of a queue's policy, written for who does not write policies.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.services.sqs.errors import invalid_parameter, invalid_value, missing_parameter
from lambent.store.queues import Queue

ACTIONS_MAX: Final = 7
# What others can be allowed; everything else is the owner's.
_SHARED: Final = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")


def with_permission(
    queue: Queue, label: str, account_ids: Sequence[str], actions: Sequence[str], known: frozenset[str]
) -> str:
    """The policy with one statement more. `known`: all operations of SQS. Raises AwsError."""
    _check(label, account_ids, actions, known)
    policy = _policy(queue)
    statements: list[Any] = policy["Statement"]
    if any(isinstance(s, dict) and s.get("Sid") == label for s in statements):
        raise invalid_value("Label", label, "Already exists.")
    principals = [f"arn:aws:iam::{account_id}:root" for account_id in account_ids]
    allowed = [f"SQS:{action}" for action in actions]
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": allowed[0] if len(allowed) == 1 else allowed,
            "Resource": queue.arn,
        }
    )
    return json.dumps(policy, separators=(",", ":"))


def without_permission(queue: Queue, label: str) -> str | None:
    """The policy without that statement; None when nothing is left. Raises AwsError."""
    policy = _policy(queue)
    left = [s for s in policy["Statement"] if not (isinstance(s, dict) and s.get("Sid") == label)]
    if len(left) == len(policy["Statement"]):
        raise invalid_value("Label", label, "can't find label.")
    policy["Statement"] = left
    return json.dumps(policy, separators=(",", ":")) if left else None


def _policy(queue: Queue) -> dict[str, Any]:
    text = queue.attributes.get("Policy")
    if text is None:
        return {"Version": "2008-10-17", "Id": f"{queue.arn}/SQSDefaultPolicy", "Statement": []}
    policy: dict[str, Any] = json.loads(text)
    if not isinstance(policy["Statement"], list):
        policy["Statement"] = [policy["Statement"]]
    return policy


def _check(label: str, account_ids: Sequence[str], actions: Sequence[str], known: frozenset[str]) -> None:
    if not _LABEL.fullmatch(label):
        reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        raise invalid_value("Label", label, reason)
    if not account_ids:
        raise missing_parameter("AWSAccountIds")
    for account_id in account_ids:
        if not _ACCOUNT.fullmatch(account_id):
            raise invalid_value("PrincipalId", f"[{account_id}]", "Unable to verify.")
    if not actions:
        raise missing_parameter("Actions")
    if len(actions) > ACTIONS_MAX:
        message = f"{len(actions)} Actions were found, maximum allowed is {ACTIONS_MAX}."
        raise AwsError("OverLimit", message, 403)
    for action in actions:
        if action not in known and action != "*":
            reason = "Please refer to the appropriate WSDL for a list of valid actions. "
            raise invalid_parameter(f"Value SQS:{action} for parameter ActionName is invalid. Reason: {reason}")
        if action not in _SHARED:
            raise invalid_value("ActionName", f"SQS:{action}", "Only the queue owner is allowed to invoke this action.")
