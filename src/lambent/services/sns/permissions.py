"""A topic's policy: the one that every topic begins with, AddPermission and RemovePermission, and what it lets others do.

https://docs.aws.amazon.com/sns/latest/api/API_AddPermission.html
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress, parse_function_ref
from lambent.model.request import RequestContext
from lambent.services.sns.errors import Wrong, invalid, not_allowed
from lambent.services.sns.names import account_in, region_in
from lambent.store.topics import Topic

PRINCIPAL: Final = "sns.amazonaws.com"
_DEFAULT_ACTIONS: Final = (
    "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission", "SNS:DeleteTopic",
    "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
)  # fmt: skip
_ACTIONS: Final = frozenset(
    {
        "Publish", "RemovePermission", "SetTopicAttributes", "DeleteTopic", "ListSubscriptionsByTopic",
        "GetTopicAttributes", "Receive", "AddPermission", "Subscribe",
    }
)  # fmt: skip
_ACCOUNT: Final = re.compile(r"[0-9]{12}")

AllowFunction = Callable[[str, str, FunctionAddress, Mapping[str, str]], None]
"""`(service, action, function, context)`: raises AwsError when the function's policy does not let the service."""

PolicyOfQueue = Callable[[str], str | None]
"""By the queue's ARN."""


def default_policy(arn: str) -> str:
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": list(_DEFAULT_ACTIONS),
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": account_in(arn)}},
    }
    return _text({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})


def policy_of(topic: Topic) -> str:
    return topic.attributes.get("Policy") or default_policy(topic.arn)


def check_policy(text: str) -> None:
    """Raises Wrong."""
    try:
        _parsed(text)
    except policy.MalformedPolicy as error:
        raise Wrong("Policy Error: null") from error


def check_permitted(context: RequestContext, action: str, topic: Topic) -> None:
    """Raises AwsError AuthorizationError when somebody of another account may not do it.

    Where signatures are checked, the gateway has decided already: then the caller's principal is known.
    """
    if topic.account_id == context.account_id or context.principal_arn is not None:
        return
    principal = policy.root(context.account_id)
    values = {
        "aws:PrincipalArn": principal.arn, "aws:PrincipalAccount": context.account_id,
        "aws:SourceOwner": context.account_id,
    }  # fmt: skip
    request = policy.Request(
        principal=principal, action=f"sns:{action}", resource=topic.arn, resource_account_id=topic.account_id,
        context=policy.context_of(values),
    )  # fmt: skip
    if not policy.evaluate(request, policy.Policies(resource=_parsed(policy_of(topic)))).is_allowed:
        raise not_allowed(principal.arn, action, topic.arn)


def with_permission(topic: Topic, label: str, account_ids: Sequence[str], actions: Sequence[str]) -> str:
    """The policy with one statement more. Raises AwsError."""
    if any(action not in _ACTIONS for action in actions) or not actions:
        raise invalid("Policy statement action out of service scope!")
    if not account_ids or not all(_ACCOUNT.fullmatch(account_id) for account_id in account_ids):
        raise invalid("AWSAccountId")
    document = _document(topic)
    if any(isinstance(s, dict) and s.get("Sid") == label for s in document["Statement"]):
        raise invalid("Statement already exists")
    principals = [f"arn:aws:iam::{account_id}:root" for account_id in account_ids]
    names = [f"SNS:{action}" for action in actions]
    document["Statement"].append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": names[0] if len(names) == 1 else names,
            "Resource": topic.arn,
        }
    )
    return _text(document)


def without_permission(topic: Topic, label: str) -> str:
    document = _document(topic)
    document["Statement"] = [s for s in document["Statement"] if not (isinstance(s, dict) and s.get("Sid") == label)]
    return _text(document)


class MaySend:
    """Whether SNS may send to queues and functions, by their resource policies, where policies decide."""

    def __init__(
        self, policy_of_queue: PolicyOfQueue, allow_function: AllowFunction, foreign_only: bool = False
    ) -> None:
        """`foreign_only`: what is in the topic's own account is allowed."""
        self._policy_of_queue = policy_of_queue
        self._allow_function = allow_function
        self._foreign_only = foreign_only

    def check_queue(self, queue_arn: str, topic_arn: str) -> None:
        """Raises AwsError AccessDenied."""
        if self._foreign_only and account_in(queue_arn) == account_in(topic_arn):
            return
        document = self._policy_of_queue(queue_arn)
        request = policy.Request(
            principal=policy.service(PRINCIPAL), action="sqs:SendMessage", resource=queue_arn,
            resource_account_id=account_in(queue_arn), context=policy.context_of(_source(topic_arn)),
        )  # fmt: skip
        policies = policy.Policies(resource=_parsed(document) if document else None)
        decision = policy.evaluate(request, policies)
        if not decision.is_allowed:
            raise AwsError("AccessDenied", policy.denial_message(request, decision), 403)

    def check_function(self, function_arn: str, topic_arn: str) -> None:
        """Raises AwsError AccessDeniedException."""
        if self._foreign_only and account_in(function_arn) == account_in(topic_arn):
            return
        ref = parse_function_ref(function_arn)
        place = (account_in(function_arn), region_in(function_arn))
        address = FunctionAddress(*place, ref.name, ref.qualifier)
        self._allow_function(PRINCIPAL, "lambda:InvokeFunction", address, _source(topic_arn))


def _source(topic_arn: str) -> dict[str, str]:
    return {
        "aws:SourceArn": topic_arn,
        "aws:SourceAccount": account_in(topic_arn),
        "aws:PrincipalServiceName": PRINCIPAL,
    }


def _document(topic: Topic) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(policy_of(topic))
    if not isinstance(document["Statement"], list):
        document["Statement"] = [document["Statement"]]
    return document


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> policy.Policy:
    """Raises MalformedPolicy."""
    return policy.parse_policy(text, policy.DocumentKind.RESOURCE)
