"""CloudWatch's errors in its words; where AWS's sentence is not known it is ours, as docs/compatibility.md says."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from lambent.model.errors import AwsError
from lambent.store.database import StoreError


def invalid_value(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)


def invalid_combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombinationException", message)


def missing(name: str) -> AwsError:
    return AwsError("MissingRequiredParameterException", f"The parameter {name} is required.")


def validation(message: str) -> AwsError:
    """What GetMetricData says of its queries."""
    return AwsError("ValidationError", message)


def invalid_token() -> AwsError:
    return AwsError("InvalidNextToken", "The next token is not one that this operation gave.")


def not_offered(what: str) -> AwsError:
    return AwsError("NotImplemented", f"{what} is not built in Lambent: ask for metrics by MetricStat.", 501)


@contextlib.contextmanager
def in_the_words_of_aws() -> Iterator[None]:
    """What the store raises, as AWS says it."""
    try:
        yield
    except (sqlite3.Error, StoreError) as error:
        raise AwsError("InternalServiceFault", f"Metrics cannot be written or read now: {error}", 500) from error
