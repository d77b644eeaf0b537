"""SQS's errors in its words. The wire layer adds the codes of the older protocol.

Codes and statuses: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html and each
operation's page.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator

from lambent.model.errors import AwsError
from lambent.store.queues import (
    PurgeInProgress,
    QueueDeletedRecently,
    QueueMissing,
    TooManyInFlight,
)

log = logging.getLogger(__name__)


def invalid_parameter(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)


def invalid_value(name: str, value: object, reason: str) -> AwsError:
    return invalid_parameter(f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> AwsError:
    return AwsError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")


def invalid_attribute_value(message: str) -> AwsError:
    return AwsError("InvalidAttributeValue", message)


def unknown_attribute(name: str) -> AwsError:
    return AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def queue_missing() -> AwsError:
    return AwsError("QueueDoesNotExist", "The specified queue does not exist.")


def access_denied() -> AwsError:
    return AwsError("AccessDeniedException", "Access to the resource is denied.", 403)


def resource_missing(parameter: str) -> AwsError:
    message = f"The resource that you specified for the {parameter} parameter doesn't exist."
    return AwsError("ResourceNotFoundException", message, 404)


@contextlib.contextmanager
def in_the_words_of_aws() -> Iterator[None]:
    """What the store raises, as AWS says it."""
    try:
        yield
    except QueueMissing as error:
        raise queue_missing() from error
    except QueueDeletedRecently as error:
        message = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
        raise AwsError("QueueDeletedRecently", message) from error
    except PurgeInProgress as error:
        message = f"Only one PurgeQueue operation on {error} is allowed every 60 seconds."
        raise AwsError("PurgeQueueInProgress", message, 403) from error
    except TooManyInFlight as error:
        raise AwsError("OverLimit", "The queue has as many messages in flight as it may have: 120000.", 403) from error
    except sqlite3.Error as error:
        log.error("a queue cannot be read or written (%s); make room on the disk", error)
        raise AwsError("InternalFailure", f"The queue cannot be read or written now: {error}", 500) from error
