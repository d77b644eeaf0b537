"""SNS's errors in its words. Codes and statuses: https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html, its model."""

from __future__ import annotations

from lambent.model.errors import AwsError, LambentError


class Wrong(LambentError):
    """What is wrong with an attribute's value. Where it was given, AWS says before it."""


def invalid(what: str) -> AwsError:
    return AwsError("InvalidParameterException", f"Invalid parameter: {what}")


def invalid_attribute(problem: Wrong, is_among_others: bool) -> AwsError:
    """`is_among_others`: it came in a map of attributes."""
    return invalid(f"Attributes Reason: {problem}" if is_among_others else str(problem))


def invalid_value(message: str) -> AwsError:
    """Of a message's attributes."""
    return AwsError("InvalidParameterValueException", message)


def no_topic() -> AwsError:
    return AwsError("NotFoundException", "Topic does not exist", 404)


def no_subscription() -> AwsError:
    return AwsError("NotFoundException", "Subscription does not exist", 404)


def no_resource() -> AwsError:
    return AwsError("ResourceNotFoundException", "Resource does not exist", 404)


def not_allowed(principal: str, action: str, arn: str) -> AwsError:
    return AwsError(
        "AuthorizationErrorException",
        f"User: {principal} is not authorized to perform: SNS:{action} on resource: {arn} because no resource-based "
        f"policy allows the SNS:{action} action",
        403,
    )


def not_offered(what: str) -> AwsError:
    return AwsError("NotImplemented", f"{what} is not offered by this server.", 501)
