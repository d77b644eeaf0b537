"""Permissions boundaries of users: moto has those of roles alone, and would leave out a user's without a word."""

from __future__ import annotations

from typing import Any, Final

_USERS: Final = {
    "CreateUserResponse.User.PermissionsBoundary": "return_if_not_empty",
    "GetUserResponse.User.PermissionsBoundary": "return_if_not_empty",
    "ListUsersResponse.Users.User.PermissionsBoundary": "never_return",
}


def mend(module: Any) -> None:
    """`module`: moto.iam.responses."""
    response, user_class = module.IamResponse, module.User
    user_class.permissions_boundary_arn = None  # of users that were made before
    user_class.permissions_boundary = property(_described)
    response.RESPONSE_KEY_PATH_TO_TRANSFORMER.update({key: getattr(module, name) for key, name in _USERS.items()})
    create = response.create_user

    def create_user(self: Any) -> Any:
        arn = self._get_param("PermissionsBoundary")
        if arn:
            _need_policy(self.backend, arn)
        answer = create(self)
        if arn:
            self.backend.get_user(self._get_param("UserName")).permissions_boundary_arn = arn
        return answer

    def put_user_permissions_boundary(self: Any) -> Any:
        user, arn = self.backend.get_user(self._get_param("UserName")), self._get_param("PermissionsBoundary")
        _need_policy(self.backend, arn)
        user.permissions_boundary_arn = arn
        return module.EmptyResult()

    def delete_user_permissions_boundary(self: Any) -> Any:
        self.backend.get_user(self._get_param("UserName")).permissions_boundary_arn = None
        return module.EmptyResult()

    for method in (create_user, put_user_permissions_boundary, delete_user_permissions_boundary):
        setattr(response, method.__name__, method)


def _described(user: Any) -> dict[str, str] | None:
    if not user.permissions_boundary_arn:
        return None
    return {
        "PermissionsBoundaryType": "PermissionsBoundaryPolicy",  # as IAM prints it
        "PermissionsBoundaryArn": user.permissions_boundary_arn,
    }


def _need_policy(backend: Any, arn: str) -> None:
    """Raises moto's NoSuchEntity, with IAM's words."""
    from moto.iam.exceptions import NoSuchEntity

    if arn not in backend.managed_policies:
        raise NoSuchEntity(f"Scope ARN: {arn} does not exist or is not attachable.")
