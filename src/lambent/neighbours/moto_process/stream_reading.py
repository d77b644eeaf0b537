"""The operations of DynamoDB Streams over change_records.py, in place of moto's, which know one stream and no errors.

API = https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Final

from lambent.neighbours.moto_process.change_records import KEPT_S, ChangeLog, number_at, streams_of

ITERATOR_S: Final = 15 * 60  # API, GetShardIterator
RECORDS_MOST: Final = 1000  # API, GetRecords
RECORDS_BYTES: Final = 1024 * 1024  # API, GetRecords
STREAMS_MOST: Final = 100  # API, ListStreams
_PREFIX: Final = "com.amazonaws.dynamodb.v20120810#"


def mend_responses(module: Any) -> None:
    """`moto.dynamodbstreams.responses`."""
    handler, answer = module.DynamoDBStreamsHandler, module.ActionResult
    handler.describe_stream = lambda self: answer(_describe_stream(self))
    handler.list_streams = lambda self: answer(_list_streams(self))
    handler.get_shard_iterator = lambda self: answer(_get_shard_iterator(self))
    handler.get_records = lambda self: answer(_get_records(self))


def _describe_stream(request: Any) -> dict[str, Any]:
    log = _find(request, request._get_param("StreamArn"))
    shards = [log.to_json()] if request._get_param("ExclusiveStartShardId") != log.id else []
    described = {
        "StreamArn": log.arn,
        "StreamLabel": log.label,
        "StreamStatus": "DISABLED" if log.is_closed else "ENABLED",
        "StreamViewType": log.view_type,
        "CreationRequestDateTime": log.created_on,
        "TableName": log.table.name,
        "KeySchema": log.table.schema,
        "Shards": shards,
    }
    return {"StreamDescription": described}


def _list_streams(request: Any) -> dict[str, Any]:
    name, after = request._get_param("TableName"), request._get_param("ExclusiveStartStreamArn")
    limit = int(request._get_param("Limit") or STREAMS_MOST)
    if not 1 <= limit <= STREAMS_MOST:
        raise _bad_limit(limit, STREAMS_MOST)
    tables = request.backend.dynamodb.tables
    logs = [log for table in list(tables.values()) if name in (None, table.name) for log in streams_of(table)]
    arns = [log.arn for log in logs]
    start = arns.index(after) + 1 if after in arns else 0
    page = logs[start : start + limit]
    told: dict[str, Any] = {
        "Streams": [{"StreamArn": log.arn, "TableName": log.table.name, "StreamLabel": log.label} for log in page]
    }
    if start + limit < len(logs):
        told["LastEvaluatedStreamArn"] = page[-1].arn
    return told


def _get_shard_iterator(request: Any) -> dict[str, Any]:
    log = _find(request, request._get_param("StreamArn"))
    shard = request._get_param("ShardId")
    if shard != log.id:
        raise _error(
            "ResourceNotFoundException", f"Requested resource not found: Shard: {shard} in {log.arn} not found"
        )
    kind = request._get_param("ShardIteratorType")
    given = request._get_param("SequenceNumber")
    if kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        if not (isinstance(given, str) and given.isdecimal()):
            raise _error("ValidationException", f"{kind} needs a SequenceNumber")
        number = int(given)
        if number < number_at(time.time() - KEPT_S):
            raise _error("TrimmedDataAccessException", "The requested sequence number is beyond the trim horizon.")
        after = number if kind == "AFTER_SEQUENCE_NUMBER" else number - 1
    elif kind == "AT_TIMESTAMP":
        after = number_at(float(request._get_param("Timestamp"))) - 1
    else:
        after = log.last_number() if kind == "LATEST" else 0
    return {"ShardIterator": _iterator(log, after)}


def _get_records(request: Any) -> dict[str, Any]:
    limit = int(request._get_param("Limit") or RECORDS_MOST)
    if not 1 <= limit <= RECORDS_MOST:
        raise _bad_limit(limit, RECORDS_MOST)
    arn, shard, after, issued_s = _read_iterator(request._get_param("ShardIterator"))
    if time.time() - issued_s > ITERATOR_S:
        raise _error("ExpiredIteratorException", "The provided iterator has expired.")
    log = _find(request, arn)
    if shard != log.id:
        raise _error("ResourceNotFoundException", f"Requested resource not found: Shard: {shard} in {arn} not found")
    position = max(after, number_at(time.time() - KEPT_S))
    given: list[dict[str, Any]] = []
    given_bytes = 0
    closed = log.is_closed  # before its last records are looked at
    for number, record in log.records.after(position, limit):
        given_bytes += record["dynamodb"]["SizeBytes"]
        if given and given_bytes > RECORDS_BYTES:
            break
        given.append(record)
        position = number
    told: dict[str, Any] = {"Records": given}
    if not closed or position < log.last_number():
        told["NextShardIterator"] = _iterator(log, position)
    return told


def _find(request: Any, arn: str) -> ChangeLog:
    parts = (arn or "").split(":", 5)
    name = parts[5].split("/")[1] if len(parts) == 6 and parts[5].count("/") >= 3 else None
    table = request.backend.dynamodb.tables.get(name)
    for log in streams_of(table) if table is not None else ():
        if log.arn == arn:
            return log
    raise _error("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")


def _iterator(log: ChangeLog, after: int) -> str:
    held = json.dumps([log.id, str(after), time.time()]).encode()
    return f"{log.arn}|1|{base64.b64encode(held).decode()}"


def _read_iterator(text: str) -> tuple[str, str, int, float]:
    """Stream, shard, the number after which it goes on, when it was given."""
    arn, _, packed = (text or "").rpartition("|1|")
    try:
        shard, after, issued_s = json.loads(base64.b64decode(packed, validate=True))
        return arn, str(shard), int(after), float(issued_s)
    except (ValueError, TypeError) as error:
        raise _error("ValidationException", "Invalid ShardIterator") from error


def _error(code: str, message: str) -> Exception:
    from moto.core.exceptions import JsonRESTError

    error: Exception = JsonRESTError(_PREFIX + code, message)
    return error


def _bad_limit(limit: int, most: int) -> Exception:
    bound = (
        f"Member must have value less than or equal to {most}"
        if limit > most
        else ("Member must have value greater than or equal to 1")
    )
    return _error(
        "ValidationException",
        f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: {bound}",
    )
