"""EventBridge's errors in its words, as its answers were recorded."""

from __future__ import annotations

from lambent.model.errors import AwsError


def validation(message: str) -> AwsError:
    return AwsError("ValidationException", message, 400)


def invalid(parameter: str, reason: str) -> AwsError:
    return validation(f"Parameter {parameter} is not valid. Reason: {reason}")


def missing(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message, 400)


def exists(message: str) -> AwsError:
    return AwsError("ResourceAlreadyExistsException", message, 400)


def too_many() -> AwsError:
    return AwsError("LimitExceededException", "The requested resource exceeds the maximum number allowed.", 400)


def bad_pattern(reason: str) -> AwsError:
    return AwsError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {reason}", 400)


def no_bus(name: str) -> AwsError:
    return missing(f"Event bus {name} does not exist.")


def no_rule(name: str, bus: str) -> AwsError:
    return missing(f"Rule {name} does not exist on EventBus {bus}.")


def not_offered(operation: str) -> AwsError:
    return AwsError("OperationDisabledException", f"{operation} is not offered by this server.", 400)
