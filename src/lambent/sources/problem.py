"""Why a broker cannot be read."""

from __future__ import annotations

from typing import Final

# What AWS calls the causes, and its sentence about each.
# https://docs.aws.amazon.com/lambda/latest/dg/services-mq-errors.html, of Kafka "Event source mapping errors"
CONFIG_NOT_VALID: Final = "ESM_CONFIG_NOT_VALID: The event source mapping configuration is not valid."
NOT_AUTHENTICATED: Final = "EVENT_SOURCE_AUTHN_ERROR: Lambda failed to authenticate the event source."
NOT_AUTHORIZED: Final = (
    "EVENT_SOURCE_AUTHZ_ERROR: Lambda does not have the required permissions to access the event source."
)
CONNECTION_ERROR: Final = "Connection error."
DETAIL_CHARACTERS: Final = 300


class SourceProblem(Exception):
    """`what` is one of the sentences above; `detail` says what to look at, and holds no secret."""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(f"{what} {detail[:DETAIL_CHARACTERS]}")

    @property
    def result(self) -> str:
        """A LastProcessingResult."""
        return f"PROBLEM: {self}"
