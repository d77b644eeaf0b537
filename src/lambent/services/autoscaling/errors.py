"""Application Auto Scaling's errors in its words, where they are known."""

from __future__ import annotations

from lambent.model.errors import AwsError
from lambent.services.autoscaling.names import DIMENSION, NAMESPACE


def validation(message: str) -> AwsError:
    return AwsError("ValidationException", message, 400)


def unsupported() -> AwsError:
    return validation("Unsupported service namespace, resource type or scalable dimension")


def no_target(resource_id: str, verb: str = "found") -> AwsError:
    """`verb` is "found" where the target itself is asked for, "registered" where something is to belong to it."""
    return _missing(f"No scalable target {verb} for {_where(resource_id)}")


def no_policy(resource_id: str, name: str) -> AwsError:
    return _missing(f"No scaling policy found for {_where(resource_id)}, policy name: {name}")


def no_action(resource_id: str, name: str) -> AwsError:
    return _missing(f"No scheduled action found for {_where(resource_id)}, scheduled action name: {name}")


def too_many(what: str, most: int) -> AwsError:
    return AwsError("LimitExceededException", f"The number of {what} may not be greater than {most}.", 400)


def too_many_tags(arn: str, most: int) -> AwsError:
    message = f"The number of tags on a scalable target may not be greater than {most}."
    return AwsError("TooManyTagsException", message, 400, {"ResourceName": arn})


def bad_token() -> AwsError:
    return AwsError("InvalidNextTokenException", "The next token is not valid.", 400)


def _missing(message: str) -> AwsError:
    return AwsError("ObjectNotFoundException", message, 400)


def _where(resource_id: str) -> str:
    return f"service namespace: {NAMESPACE}, resource ID: {resource_id}, scalable dimension: {DIMENSION}"
