"""Scheduler's errors in its words, as its answers were recorded."""

from __future__ import annotations

from lambent.model.errors import AwsError


def validation(message: str) -> AwsError:
    return AwsError("ValidationException", message, 400)


def missing(what: str, name: str) -> AwsError:
    """`what` is "Schedule" or "Schedule group"."""
    return AwsError("ResourceNotFoundException", f"{what} {name} does not exist.", 404)


def conflict(what: str, name: str) -> AwsError:
    return AwsError("ConflictException", f"{what} {name} already exists.", 409)


def quota() -> AwsError:
    return AwsError("ServiceQuotaExceededException", "The request exceeds a service quota.", 402)
