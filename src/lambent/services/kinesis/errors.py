"""Kinesis's errors in its words. All have status 400.

Where AWS's sentence is not known it is ours: docs/compatibility.md names those.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from lambent.model.errors import AwsError
from lambent.store.streams import Shard, Stream, StreamKey, StreamMissing


def invalid_argument(message: str) -> AwsError:
    return AwsError("InvalidArgumentException", message)


def validation(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def limit_exceeded(message: str) -> AwsError:
    return AwsError("LimitExceededException", message)


def not_found(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message)


def in_use(message: str) -> AwsError:
    return AwsError("ResourceInUseException", message)


def stream_missing(key: StreamKey) -> AwsError:
    return not_found(f"Stream {key[2]} under account {key[0]} not found.")


def shard_missing(stream: Stream, name: str) -> AwsError:
    return not_found(f"Could not find shard {name} in stream {stream.name} under account {stream.account_id}.")


def shard_gone(stream_name: str, account_id: str, shard_name: str) -> AwsError:
    """What operations on records say of a shard or a stream that is not there."""
    return not_found(f"Shard {shard_name} in stream {stream_name} under account {account_id} does not exist")


def shard_closed(stream: Stream, shard: Shard) -> AwsError:
    return invalid_argument(
        f"Shard {shard.name} in stream {stream.name} under account {stream.account_id} has already been merged or "
        "split, and thus is not eligible for merging or splitting."
    )


def on_demand(stream: Stream) -> AwsError:
    return validation(
        f"Request is invalid. Stream {stream.name} under account {stream.account_id} is in On-Demand mode."
    )


def consumer_missing(name_or_arn: str, account_id: str) -> AwsError:
    return not_found(f"Consumer {name_or_arn}, account {account_id} not found.")


def rate_exceeded(stream: Stream, shard: Shard) -> AwsError:
    return AwsError(
        "ProvisionedThroughputExceededException",
        f"Rate exceeded for shard {shard.name} in stream {stream.name} under account {stream.account_id}.",
    )


def dry_run() -> AwsError:
    return AwsError("DryRunOperationException", "The request would have succeeded, but the DryRun parameter is set.")


@contextlib.contextmanager
def in_the_words_of_aws(key: StreamKey) -> Iterator[None]:
    """What the store raises about this stream, as AWS says it."""
    try:
        yield
    except StreamMissing as error:
        raise stream_missing(key) from error
    except sqlite3.Error as error:
        raise AwsError("InternalFailureException", "The stream cannot be written or read now.", 500) from error
