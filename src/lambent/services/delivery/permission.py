"""Whether a rule or a schedule may call its target, where policies decide.

A target with a role is called by the role; one without needs a resource policy that lets the service:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress, parse_function_ref
from lambent.model.policy import DocumentKind, Policies, Principal
from lambent.model.request import RequestContext
from lambent.ports import Clients
from lambent.store.deliveries import Delivery

AllowFunction = Callable[[str, str, FunctionAddress, Mapping[str, str]], None]
"""`(service, action, function, context)`: raises AwsError when the function's policy does not let the service."""

RoleMay = Callable[[str, str, str, str], Awaitable[bool]]
"""`(role ARN, session name, action, resource)`: by the role's own policies. Raises AwsError."""

PRINCIPALS: Final = {"rule": "events.amazonaws.com", "schedule": "scheduler.amazonaws.com"}
SESSION: Final = "EventBridge"  # the name of roles' sessions
_ANYTHING: Final = policy.parse_policy(
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
    DocumentKind.IDENTITY,
)
_ACTIONS: Final = {
    "lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish", "kinesis": "kinesis:PutRecord",
    "firehose": "firehose:PutRecord", "states": "states:StartExecution", "logs": "logs:PutLogEvents",
    "events": "events:PutEvents",
}  # fmt: skip


class Permission:
    def __init__(
        self, allow_function: AllowFunction, role_may: RoleMay, clients: Clients, foreign_only: bool = False
    ) -> None:
        """`foreign_only`: targets of the owner's own account may be called, whatever the policies say."""
        self._foreign_only = foreign_only
        self._allow_function = allow_function
        self._role_may = role_may
        self._clients = clients

    async def check(self, delivery: Delivery, context: RequestContext) -> None:
        """Raises AwsError, 403, when the target may not be called."""
        about = delivery.about
        kind = about.get("service", about["kind"])
        service = delivery.lane.split(":", 3)[2]
        action = _ACTIONS.get(service)
        role = about["target"].get("RoleArn")
        is_foreign = context.account_id != about["account"]
        if service == "events" or (self._foreign_only and not is_foreign):
            return  # buses ask their own policies
        if service == "scheduler":
            _, _, called, operation = delivery.lane.rsplit(":", 3)
            action = f"{called}:{operation[:1].upper()}{operation[1:]}"
        if action is None:
            return
        if role:
            resource = "*" if service == "scheduler" else delivery.lane
            if role.split(":")[4] != about["account"]:
                raise _denied(role, action, resource)
            if not self._foreign_only and not await self._role_may(role, SESSION, action, resource):
                raise _denied(role, action, resource)
            if not is_foreign:
                return
        values = {"aws:SourceArn": about["owner"], "aws:SourceAccount": about["account"]}
        if service == "lambda":
            ref = parse_function_ref(delivery.lane)
            function = FunctionAddress(context.account_id, context.region, ref.name, ref.qualifier)
            self._allow_function(PRINCIPALS[kind], action, function, values)
        elif service in ("sqs", "sns"):
            asking = {policy.service(PRINCIPALS[kind]): {**values, "aws:PrincipalServiceName": PRINCIPALS[kind]}}
            if role:
                asking[policy.role_session(role, SESSION)] = values
            await self._by_resource(delivery, context, service, asking)
        elif is_foreign:
            raise _denied(PRINCIPALS[kind], action, delivery.lane)

    async def _by_resource(
        self, delivery: Delivery, context: RequestContext, service: str, asking: Mapping[Principal, Mapping[str, str]]
    ) -> None:
        """One of those who ask must be let in by the target's own policy."""
        if service == "sqs":
            name = delivery.lane.rsplit(":", 1)[1]
            queue = await self._clients.call(context, "sqs", "GetQueueUrl", {"QueueName": name})
            asked: dict[str, Any] = {"QueueUrl": queue["QueueUrl"], "AttributeNames": ["Policy"]}
            answer = await self._clients.call(context, "sqs", "GetQueueAttributes", asked)
        else:
            answer = await self._clients.call(context, "sns", "GetTopicAttributes", {"TopicArn": delivery.lane})
        document = (answer.get("Attributes") or {}).get("Policy")
        action = _ACTIONS[service]
        try:
            compiled = policy.parse_policy(document, DocumentKind.RESOURCE) if document else None
        except policy.MalformedPolicy:
            compiled = None  # a policy that cannot be read lets nobody in
        for principal, values in asking.items():
            request = policy.Request(
                principal=principal, action=action, resource=delivery.lane, resource_account_id=context.account_id,
                context=policy.context_of(values),
            )  # fmt: skip
            # The role's own policies have been asked already.
            policies = Policies(identity=(_ANYTHING,), resource=compiled)
            if compiled is not None and policy.evaluate(request, policies).is_allowed:
                return
        raise _denied(next(iter(asking)).arn, action, delivery.lane)


def _denied(who: str, action: str, resource: str) -> AwsError:
    return AwsError("AccessDenied", f"{who} is not authorized to perform: {action} on resource: {resource}", 403)
