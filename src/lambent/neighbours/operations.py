"""What an operation's name says: whether it changes anything, and whether others must wait while it runs."""

from __future__ import annotations

import re
from typing import Final

_READS: Final = re.compile(
    r"(?:BatchGet|BatchDescribe|BatchCheck|Check|Count|Decode|Describe|Discover|Download|Estimate|Get|Head|List|Lookup|"
    r"Poll|Preview|Query|Scan|Search|Select|Simulate|Test|TransactGet|Validate|Verify)(?=[A-Z]|$)"
)
# Names that read but write, or write but read.
_READS_TOO: Final = frozenset(
    {
        ("kms", "Decrypt"), ("kms", "Encrypt"), ("kms", "GenerateDataKey"), ("kms", "GenerateDataKeyPair"),
        ("kms", "GenerateDataKeyPairWithoutPlaintext"), ("kms", "GenerateDataKeyWithoutPlaintext"),
        ("kms", "GenerateMac"), ("kms", "GenerateRandom"), ("kms", "ReEncrypt"), ("kms", "Sign"),
        ("iam", "GenerateCredentialReport"), ("cognito-identity", "GetCredentialsForIdentity"),
    }
)  # fmt: skip
_WRITES_TOO: Final = frozenset(
    {("cognito-identity", "GetId"), ("cognito-identity", "GetOpenIdTokenForDeveloperIdentity")}
)
# These wait for something that other requests to the same service bring about.
_WAITING: Final = frozenset(
    {("stepfunctions", "StartSyncExecution"), ("stepfunctions", "GetActivityTask"), ("sqs", "ReceiveMessage")}
)
# Messages and records of services in whose place Lambent's own durable ones are to come: held in memory only.
_PASSING: Final = frozenset(
    {
        ("sqs", "SendMessage"), ("sqs", "SendMessageBatch"), ("sqs", "ReceiveMessage"), ("sqs", "DeleteMessage"),
        ("sqs", "DeleteMessageBatch"), ("sqs", "ChangeMessageVisibility"), ("sqs", "ChangeMessageVisibilityBatch"),
        ("kinesis", "PutRecord"), ("kinesis", "PutRecords"), ("sns", "Publish"), ("sns", "PublishBatch"),
        ("events", "PutEvents"), ("firehose", "PutRecord"),
        ("firehose", "PutRecordBatch"), ("xray", "PutTraceSegments"), ("xray", "PutTelemetryRecords"),
    }
)  # fmt: skip


def is_read(service: str, operation: str) -> bool:
    """Whether its answer need not wait for the disk."""
    asked = (service, operation)
    if asked in _WRITES_TOO:
        return False
    return asked in _READS_TOO or asked in _PASSING or _READS.match(operation) is not None


def waits(service: str, operation: str) -> bool:
    """Whether it must run without its service's lock."""
    return (service, operation) in _WAITING


def changes_identities(service: str) -> bool:
    """Whether what it writes may change who may do what."""
    return service == "iam"
