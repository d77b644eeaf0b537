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
# The same of Kafka: "Authentication and authorization errors" of https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html
KAFKA_SASL_FAILED: Final = "SASL authentication failed."
KAFKA_NOT_AUTHORIZED: Final = "Cluster failed to authorize Lambda."
KAFKA_SERVER_REFUSED: Final = "Server failed to authenticate Lambda."
KAFKA_SERVER_NOT_TRUSTED: Final = "Lambda failed to authenticate server."
KAFKA_BAD_CERTIFICATE: Final = "Provided certificate or private key is invalid."
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
