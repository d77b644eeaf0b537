"""DynamoDB's change records: one shard for each stream of a table, its records kept on disk with the items.

moto's own are in memory only, tell of items that did not change and of two changes where one was made. Sequence numbers are
made from the clock: they go on growing whatever happened before, so no reader's position ever names another record.

STREAMS = https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
TTL = https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html
"""

from __future__ import annotations

import bisect
import contextlib
import copy
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from lambent.neighbours.moto_process.collections import Collection, add_kind

log = logging.getLogger(__name__)

KEPT_S: Final = 24 * 3600  # STREAMS
EXPIRED_MOST_S: Final = 5 * 365 * 86_400  # TTL: what is longer past is not deleted
LOOK_EVERY_S: Final = 2.0  # for items whose time is over; AWS takes up to days
REST_FACTOR: Final = 50  # looking takes no more than a fiftieth of the time
_FIRST: Final = 10**21  # 22 digits, as many as AWS's often have
_EXPIRY: Final = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}  # TTL

_current: Final = threading.local()


def number_at(time_s: float) -> int:
    """The lowest sequence number of a moment."""
    return _FIRST + int(time_s * 1_000_000) * 1000


class Records(Collection):
    """Records by their numbers, which only grow. One thread adds while others read: lists are only replaced or extended."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._held: dict[int, dict[str, Any]] = {}
        self.begin()

    def __deepcopy__(self, memo: Any) -> Records:
        """For moto's copies of tables before transactions; records themselves never change."""
        other = Records()
        other.numbers, other._held = list(self.numbers), dict(self._held)
        other.collection_id, other.changed = self.collection_id, set(self.changed)
        return other

    def names(self) -> Iterator[str]:
        return iter([str(number) for number in self.numbers])

    def entry(self, name: str) -> Any:
        return self._held.get(int(name))

    def fill(self, name: str, entry: Any) -> None:
        self._held[int(name)] = entry
        bisect.insort(self.numbers, int(name))

    def add(self, number: int, record: dict[str, Any]) -> None:
        self._held[number] = record
        self.numbers.append(number)
        self.changed.add(str(number))

    def after(self, number: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        numbers = self.numbers
        start = bisect.bisect_right(numbers, number)
        found = [(each, self._held.get(each)) for each in numbers[start : start + limit]]
        return [(each, record) for each, record in found if record is not None]

    def forget_before(self, number: int) -> None:
        """All of them but the last: the next number comes after it."""
        end = min(bisect.bisect_left(self.numbers, number), len(self.numbers) - 1)
        if end > 0:
            for gone in self.numbers[:end]:
                del self._held[gone]
                self.changed.add(str(gone))
            self.numbers = self.numbers[end:]


class ChangeLog:
    """One stream of a table. Stands where moto has its StreamShard."""

    def __init__(self, account_id: str, table: Any) -> None:
        self.account_id = account_id
        self.table = table
        now_s = time.time()
        self.label: str = table.latest_stream_label
        self.view_type: str = table.stream_specification["StreamViewType"]
        self.id = f"shardId-{int(now_s * 1000):020d}-{uuid.uuid4().hex[:8]}"
        self.created_on = datetime.now(UTC).replace(tzinfo=None)
        self.starting_sequence_number = number_at(now_s)
        self.ending_sequence_number: int | None = None
        self.records = Records()

    @property
    def arn(self) -> str:
        return f"{self.table.table_arn}/stream/{self.label}"

    @property
    def is_closed(self) -> bool:
        return self.ending_sequence_number is not None

    def close(self) -> None:
        if not self.is_closed:
            self.ending_sequence_number = self._next_number()

    def add(self, old: Any, new: Any) -> None:
        """Whatever moto says that happened to an item."""
        if self.is_closed:
            return
        pending = getattr(_current, "pending", None)
        if pending is not None:  # an update, which is told once and as a whole
            pending.append((self, old, new))
            return
        before = copy.deepcopy(old.to_json()["Attributes"]) if old is not None else None
        after = copy.deepcopy(new.to_json()["Attributes"]) if new is not None else None
        if before == after:
            return
        number = self._next_number()
        self.records.add(number, self._record(number, before, after))
        self.records.forget_before(number_at(time.time() - KEPT_S))

    def to_json(self) -> dict[str, Any]:
        numbers = {"StartingSequenceNumber": str(self.starting_sequence_number)}
        if self.is_closed:
            numbers["EndingSequenceNumber"] = str(self.ending_sequence_number)
        return {"ShardId": self.id, "SequenceNumberRange": numbers}

    def last_number(self) -> int:
        """Of the newest record."""
        numbers = self.records.numbers
        return numbers[-1] if numbers else self.starting_sequence_number

    def _next_number(self) -> int:
        return max(self.last_number() + 1, number_at(time.time()))

    def _record(self, number: int, old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
        one = new if new is not None else old
        assert one is not None
        names = [name for name in (self.table.hash_key_attr, self.table.range_key_attr) if name is not None]
        keys = {name: one[name] for name in names}
        told: dict[str, Any] = {
            "ApproximateCreationDateTime": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
            "Keys": keys,
            "SequenceNumber": str(number),
            "StreamViewType": self.view_type,
        }
        if self.view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES") and new is not None:
            told["NewImage"] = new
        if self.view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES") and old is not None:
            told["OldImage"] = old
        told["SizeBytes"] = sum(_size(told.get(name, {})) for name in ("Keys", "NewImage", "OldImage"))
        record = {
            "eventID": uuid.uuid4().hex,
            "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self.table.table_arn.split(":")[3],
            "dynamodb": told,
        }
        if getattr(_current, "expiring", False):
            record["userIdentity"] = dict(_EXPIRY)
        return record


def _size(attributes: dict[str, Any]) -> int:
    """As DynamoDB counts: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html"""
    return sum(len(name.encode()) + _value_size(value) for name, value in attributes.items())


def _value_size(value: dict[str, Any]) -> int:
    ((kind, held),) = value.items()
    if kind == "M":
        return 3 + sum(len(name.encode()) + 1 + _value_size(inner) for name, inner in held.items())
    if kind == "L":
        return 3 + sum(1 + _value_size(inner) for inner in held)
    if kind in ("SS", "NS", "BS"):
        return sum(_value_size({kind[0]: inner}) for inner in held)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "N":
        return (len(held) + 1) // 2 + 1
    return len(held.encode() if isinstance(held, str) else held) * (3 if kind == "B" else 4) // 4


def streams_of(table: Any) -> list[ChangeLog]:
    """The table's streams that are still kept, oldest first."""
    past = _past(table)
    return [*past, table.stream_shard] if table.stream_shard is not None else past


def _past(table: Any) -> list[ChangeLog]:
    oldest = number_at(time.time() - KEPT_S)
    return [each for each in vars(table).get("past_streams", ()) if each.ending_sequence_number >= oldest]


# What moto does otherwise


def mend_table(module: Any) -> None:
    """`moto.dynamodb.models.table`."""
    module.StreamShard = ChangeLog
    add_kind(Records)
    specify = module.Table.set_stream_specification

    def set_stream_specification(self: Any, streams: dict[str, Any] | None) -> None:
        before = getattr(self, "stream_shard", None)
        if before is not None:
            before.close()
        specify(self, streams)
        if before is not None and self.stream_shard is not before:
            self.past_streams = [*_past(self), before]

    module.Table.set_stream_specification = set_stream_specification


def mend_models(module: Any) -> None:
    """`moto.dynamodb.models`."""
    backend = module.DynamoDBBackend
    update_item = backend.update_item

    def updated(self: Any, *args: Any, **kwargs: Any) -> Any:
        """moto makes an item before it updates it, and tells of both."""
        pending: list[tuple[ChangeLog, Any, Any]] = []
        _current.pending = pending
        try:
            item = update_item(self, *args, **kwargs)
        finally:
            _current.pending = None
        if pending:
            change_log, _, new = pending[-1]
            change_log.add(pending[0][1], new)
        return item

    def update_table_streams(self: Any, table: Any, stream_specification: dict[str, Any]) -> None:
        wanted = stream_specification.get("StreamEnabled") or stream_specification.get("StreamViewType")
        if wanted and table.stream_shard is not None and not table.stream_shard.is_closed:
            raise module.StreamAlreadyEnabledException
        table.set_stream_specification(stream_specification)

    backend.update_item, backend.update_table_streams = updated, update_table_streams


# Items whose time is over


@contextlib.contextmanager
def _expiring() -> Iterator[None]:
    _current.expiring = True
    try:
        yield
    finally:
        _current.expiring = False


def expire(table: Any, now_s: float) -> int:
    """Deletes the items of a table whose time is over; how many."""
    if table.ttl.get("TimeToLiveStatus") != "ENABLED":
        return 0
    name = table.ttl["AttributeName"]
    gone = [item for item in list(_items(table)) if _is_over(item, name, now_s)]
    with _expiring():
        for item in gone:
            table.delete_item(item.hash_key, item.range_key)
    return len(gone)


def _items(table: Any) -> Iterator[Any]:
    for held in list(dict.values(table.items)):
        if isinstance(held, dict):
            yield from list(held.values())
        else:
            yield held


def _is_over(item: Any, name: str, now_s: float) -> bool:
    value = item.attrs.get(name)
    if value is None or value.type != "N":
        return False
    try:
        ends_s = float(value.value)
    except ValueError:
        return False
    return now_s - EXPIRED_MOST_S < ends_s < now_s


def expire_regularly(state: Any) -> None:
    """For a thread of its own, as long as the process lives."""
    rest_s = LOOK_EVERY_S
    while True:
        time.sleep(rest_s)
        began_s = time.monotonic()
        try:
            _expire_everywhere(state)
        except Exception:  # the outermost edge of one look: the next one may go better
            log.exception("expired items were not deleted; report it with this traceback")
        rest_s = max(LOOK_EVERY_S, (time.monotonic() - began_s) * REST_FACTOR)


def _expire_everywhere(state: Any) -> None:
    from moto.dynamodb.models import dynamodb_backends

    from lambent.neighbours.moto_process import collections
    from lambent.neighbours.moto_process.backends import run, unit_of

    collections.writing.now = True
    for account in list(dict.values(dynamodb_backends)):
        for backend in list(dict.values(account)):
            if not any(table.ttl.get("TimeToLiveStatus") == "ENABLED" for table in list(backend.tables.values())):
                continue
            unit = unit_of(backend)
            with run(unit):
                deleted = sum(expire(table, time.time()) for table in list(backend.tables.values()))
            if deleted:
                state.keep({unit})
