"""What a function's execution role may do, where policies decide."""

from __future__ import annotations

from lambent.model.policy import Policies, Request, evaluate, role_session
from lambent.ports import Directory


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
