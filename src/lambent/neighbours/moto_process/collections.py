"""What grows without bound in moto's memory, kept entry by entry: S3's objects, with their bytes in files, and DynamoDB's items."""

from __future__ import annotations

import ast
import os
import threading
import types
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from moto.s3.utils import _VersionedKeyStore

INLINE_MAX_BYTES: Final = 32 * 1024  # smaller objects live in the database, larger ones in files
FOLDER: Final = "objects"


class Collection:
    """Entries by name, and which of them have changed since they were last kept."""

    collection_id: str
    changed: set[str]

    def begin(self) -> None:
        self.collection_id = uuid.uuid4().hex
        self.changed = set()

    def become_another(self) -> None:
        """This is a copy of one that is kept elsewhere: everything in it is new."""
        self.collection_id = uuid.uuid4().hex
        self.changed = set(self.names())

    def names(self) -> Iterator[str]:
        raise NotImplementedError

    def entry(self, name: str) -> Any:
        """None when it is gone."""
        raise NotImplementedError

    def fill(self, name: str, entry: Any) -> None:
        raise NotImplementedError


class Objects(Collection, _VersionedKeyStore):  # type: ignore[misc]
    """A bucket's objects, each with its versions."""

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.changed.add(key)

    def setlist(self, key: Any, list_: Any) -> None:
        super().setlist(key, list_)
        self.changed.add(key)

    def pop(self, key: str) -> None:
        super().pop(key)
        self.changed.add(key)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self.changed.add(key)

    def names(self) -> Iterator[str]:
        return iter(dict.keys(self))

    def entry(self, name: str) -> Any:
        return dict.get(self, name)

    def fill(self, name: str, entry: Any) -> None:
        dict.__setitem__(self, name, entry)


class Items(Collection, defaultdict[Any, Any]):
    """A table's items by hash key, and by range key where the table has one."""

    def __init__(self) -> None:
        super().__init__(dict)
        self.begin()

    def __reduce__(self) -> Any:  # for copies: moto copies tables before it changes several
        return (_items_copy, (dict(self), self.collection_id, set(self.changed)))

    def mark(self, hash_key: Any, range_key: Any) -> None:
        self.changed.add(_item_name(hash_key, range_key))

    def names(self) -> Iterator[str]:
        for hash_key, held in dict.items(self):
            if isinstance(held, dict):
                for range_key in held:
                    yield _item_name(hash_key, range_key)
            else:
                yield _item_name(hash_key, None)

    def entry(self, name: str) -> Any:
        hash_key, range_key = _item_keys(name)
        held = dict.get(self, hash_key)
        return held.get(range_key) if isinstance(held, dict) else held

    def fill(self, name: str, entry: Any) -> None:
        hash_key, range_key = _item_keys(name)
        if range_key is None:
            dict.__setitem__(self, hash_key, entry)
        else:
            self[hash_key][range_key] = entry


def _items_copy(held: dict[Any, Any], collection_id: str, changed: set[str]) -> Items:
    copy = Items()
    dict.update(copy, held)
    copy.collection_id, copy.changed = collection_id, changed
    return copy


def _item_name(hash_key: Any, range_key: Any) -> str:
    return repr((hash_key.to_json(), range_key.to_json() if range_key is not None else None))


def _item_keys(name: str) -> tuple[Any, Any]:
    from moto.dynamodb.models.dynamo_type import DynamoType

    hash_key, range_key = ast.literal_eval(name)
    return DynamoType(hash_key), DynamoType(range_key) if range_key is not None else None


_kinds: Final[dict[str, type[Any]]] = {"Objects": Objects, "Items": Items}


def add_kind(kind: type[Any]) -> None:
    """Somebody else's collection, which is found again by its class's name."""
    _kinds[kind.__name__] = kind


restoring: Final[dict[str, Collection]] = {}
"""Collections made while state is restored, to be filled afterwards."""


def collection_named(kind: str, collection_id: str) -> Collection:
    collection: Collection = _kinds[kind]()
    collection.collection_id = collection_id
    restoring[collection_id] = collection
    return collection


# The bytes of objects


class Bodies:
    """The files of the objects' bytes. What is no longer needed is removed after the next commit."""

    folder: Path | None = None
    used: Final[set[str]] = set()
    unused: Final[list[str]] = []

    @classmethod
    def path(cls, name: str) -> Path:
        assert cls.folder is not None
        return cls.folder / name

    @classmethod
    def remove_unused(cls, names: list[str]) -> None:
        for name in names:
            cls.path(name).unlink(missing_ok=True)


class Body:
    """Stands where moto has a temporary file: an object's bytes, written once, in a file when they are many."""

    def __init__(self, max_size: int = 0) -> None:
        self._data = b""
        self._name: str | None = None
        self._position = 0

    def write(self, data: bytes) -> int:
        whole = self.read_all() + data if self._position else bytes(data)
        self._forget()
        if len(whole) <= INLINE_MAX_BYTES:
            self._data = whole
        else:
            self._name = uuid.uuid4().hex
            _write_file(Bodies.path(self._name), whole)
            Bodies.used.add(self._name)
        self._position = len(whole)
        return len(data)

    def read_all(self) -> bytes:
        return self._data if self._name is None else Bodies.path(self._name).read_bytes()

    def read(self, size: int = -1) -> bytes:
        if self._name is None:
            end = len(self._data) if size < 0 else self._position + size
            piece = self._data[self._position : end]
        else:
            with Bodies.path(self._name).open("rb") as file:
                file.seek(self._position)
                piece = file.read(size)
        self._position += len(piece)
        return piece

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            position += len(self._data) if self._name is None else Bodies.path(self._name).stat().st_size
        elif whence == os.SEEK_CUR:
            position += self._position
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        kept = self.read_all()[: self._position if size is None else size]
        if not kept:
            self._forget()
            return 0
        position, self._position = self._position, 0
        self.write(kept)
        self._position = position
        return len(kept)

    def close(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._data = b""
        if self._name is not None:
            Bodies.unused.append(self._name)
            self._name = None

    def reduced(self) -> tuple[bytes, str | None]:
        return self._data, self._name


def body_named(data: bytes, name: str | None) -> Body:
    body = Body()
    body._data, body._name = data, name
    if name is not None:
        Bodies.used.add(name)
    return body


def _write_file(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


# Where moto makes them


def install(folder: Path) -> None:
    """Lets S3 and DynamoDB hold their data here, below `folder`."""
    Bodies.folder = folder / FOLDER
    Bodies.folder.mkdir(exist_ok=True)
    from moto.dynamodb.models import table
    from moto.s3 import models as s3

    s3.tempfile = types.SimpleNamespace(SpooledTemporaryFile=Body)
    s3._VersionedKeyStore = Objects
    _watch_table(table.Table)


def _watch_table(table: Any) -> None:
    """Items are changed in place too, once they were got; so whatever a writing request gets counts as changed."""
    begin, put, get, delete = table.__init__, table.put_item, table.get_item, table.delete_item

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.items = Items()

    def put_item(self: Any, item_attrs: Any, *args: Any, **kwargs: Any) -> Any:
        item = put(self, item_attrs, *args, **kwargs)
        if isinstance(self.items, Items):
            self.items.mark(item.hash_key, item.range_key)
        return item

    def get_item(self: Any, hash_key: Any, range_key: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.items, Items) and getattr(writing, "now", False):
            self.items.mark(hash_key, range_key)
        return get(self, hash_key, range_key, *args, **kwargs)

    def delete_item(self: Any, hash_key: Any, range_key: Any) -> Any:
        if isinstance(self.items, Items):
            self.items.mark(hash_key, range_key)
        return delete(self, hash_key, range_key)

    table.__init__, table.put_item, table.get_item, table.delete_item = init, put_item, get_item, delete_item


def mark_object(bucket_name: str, key: str) -> None:
    """An object's own members (tags, locks, access) are changed in place: who asked to change it has changed it."""
    from moto.s3.models import s3_backends

    for account in list(dict.values(s3_backends)):
        for backend in list(dict.values(account)):
            bucket = backend.buckets.get(bucket_name)
            if bucket is not None and isinstance(bucket.keys, Objects):
                bucket.keys.changed.add(key)


writing: Final = threading.local()
"""`now` is true in a thread that serves a request which may change something."""
