"""What a queue's policy lets other accounts do.

Where signatures are checked, the gateway decides first, and what it refuses never comes here.
"""

from __future__ import annotations

import functools

from lambent.model import policy
from lambent.model.request import RequestContext
from lambent.services.sqs.errors import invalid_attribute_value
from lambent.store.queues import Queue


def permits(context: RequestContext, action: str, queue: Queue) -> bool:
    """Whether the caller's account may do an action ("SendMessage") with a queue of another one."""
    text = queue.attributes.get("Policy")
    if text is None:
        return False
    principal = policy.root(context.account_id)
    values = {"aws:PrincipalArn": principal.arn, "aws:PrincipalAccount": context.account_id}
    request = policy.Request(
        principal=principal,
        action=f"sqs:{action}",
        resource=queue.arn,
        resource_account_id=queue.account_id,
        context=policy.context_of(values),
    )
    return policy.evaluate(request, policy.Policies(resource=_parsed(text))).is_allowed


def check_policy(text: str) -> None:
    """Raises AwsError InvalidAttributeValue."""
    try:
        _parsed(text)
    except policy.MalformedPolicy as error:
        raise invalid_attribute_value("Invalid value for the parameter Policy.") from error


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> policy.Policy:
    """Raises MalformedPolicy."""
    return policy.parse_policy(text, policy.DocumentKind.RESOURCE)
