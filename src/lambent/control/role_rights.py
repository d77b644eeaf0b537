"""What a function's execution role may do, where policies decide: AWS asks before it takes what needs the role's rights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.destinations import destination_service, given_destination
from lambent.model.errors import invalid_parameter
from lambent.model.function import FunctionVersion
from lambent.model.policy import Policies, Request, evaluate, role_session
from lambent.ports import Directory

# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html, by the target's service.
_SENDING: Final[Mapping[str, str]] = {
    "sqs": "SendMessage", "sns": "Publish", "lambda": "InvokeFunction", "events": "PutEvents", "s3": "PutObject",
}  # fmt: skip


class RoleRights:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def may(self, role_arn: str, session_name: str, action: str, resource: str) -> bool:
        """By the role's own policies and boundary; nothing is known of the conditions under which it will be asked.

        Raises AwsError when the role's policies cannot be read.
        """
        known = await self._directory.policies(role_arn)
        principal = role_session(role_arn, session_name)
        request = Request(
            principal=principal, action=action, resource=resource, resource_account_id=principal.account_id
        )
        return evaluate(request, Policies(identity=known.documents, boundary=known.boundary)).is_allowed

    async def check_function(self, version: FunctionVersion) -> None:
        """Raises AwsError InvalidParameterValueException when the role may not use its dead-letter target or network."""
        target = (version.extra.get("DeadLetterConfig") or {}).get("TargetArn")
        if target:
            service = target.split(":")[2]
            await self._need(version, f"{service}:{_SENDING[service]}", target, service.upper())
        if (version.extra.get("VpcConfig") or {}).get("SubnetIds"):
            # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, "Required IAM permissions"
            interfaces = f"arn:aws:ec2:{version.region}:{version.account_id}:network-interface/*"
            await self._need(version, "ec2:CreateNetworkInterface", interfaces, "EC2")

    async def check_destinations(self, version: FunctionVersion, config: Mapping[str, Any]) -> None:
        """Raises AwsError InvalidParameterValueException when the role may not send to where records are to go."""
        for side in ("OnSuccess", "OnFailure"):
            arn = given_destination(config, side)
            service = destination_service(arn) if arn is not None else None
            if arn is None or service is None or service not in _SENDING:
                continue
            action = _SENDING[service]
            resource = arn if service != "s3" else f"{arn}/*"
            if not await self.may(version.role, version.name, f"{service}:{action}", resource):
                raise invalid_parameter(
                    f"The function's execution role does not have permissions to call {action} on {arn}"
                )

    async def _need(self, version: FunctionVersion, action: str, resource: str, shown: str) -> None:
        if not await self.may(version.role, version.name, action, resource):
            name = action.partition(":")[2]
            raise invalid_parameter(f"The provided execution role does not have permissions to call {name} on {shown}")
