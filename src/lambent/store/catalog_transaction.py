"""The catalog inside one SQLite transaction, and what it changed, for the memory beside it."""

from __future__ import annotations

import sqlite3
from typing import Any, Final, TypeVar

import attrs
import msgspec

from lambent.model.function import LATEST, AccountUsage, Alias, FunctionSettings, FunctionVersion, LayerVersion
from lambent.model.names import FunctionAddress, LayerAddress

V = TypeVar("V")
Document = dict[str, Any]


@attrs.frozen
class Change:
    """One step that memory has to follow. `value` depends on `kind`; see the methods below."""

    kind: str
    key: tuple[str, str, str]  # account, region, name; of a document: account, region, kind
    value: Any = None


_DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (FunctionVersion, FunctionSettings, Alias, LayerVersion, dict)
}


def decoder_of(kind: type[V]) -> msgspec.json.Decoder[V]:
    return _DECODERS[kind]


def encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def encode_version(version: FunctionVersion) -> str:
    """Raises ValueError for readable environment variables: they never reach the disk."""
    if version.environment:
        raise ValueError(f"the environment variables of {version.qualified_arn} are not sealed")
    return encode(version)


class SqlTransaction:
    """Implements ports.CatalogTransaction. Lives on the writer's thread, for the length of one savepoint."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changes: list[Change] = []

    # --- reading ---------------------------------------------------------------------------------------------------

    def _one(self, kind: type[V], sql: str, parameters: tuple[Any, ...]) -> V | None:
        row = self._connection.execute(sql, parameters).fetchone()
        return decoder_of(kind).decode(row[0]) if row is not None and row[0] is not None else None

    def _many(self, kind: type[V], sql: str, parameters: tuple[Any, ...]) -> list[V]:
        return [decoder_of(kind).decode(doc) for (doc,) in self._connection.execute(sql, parameters)]

    def latest(self, function: FunctionAddress) -> FunctionVersion | None:
        sql = "SELECT latest FROM functions WHERE account_id = ? AND region = ? AND name = ?"
        return self._one(FunctionVersion, sql, function.key)

    def serving(self, function: FunctionAddress) -> FunctionVersion | None:
        sql = "SELECT serving FROM functions WHERE account_id = ? AND region = ? AND name = ?"
        return self._one(FunctionVersion, sql, function.key)

    def settings(self, function: FunctionAddress) -> FunctionSettings | None:
        sql = "SELECT settings FROM functions WHERE account_id = ? AND region = ? AND name = ?"
        return self._one(FunctionSettings, sql, function.key)

    def version(self, function: FunctionAddress, number: int) -> FunctionVersion | None:
        sql = "SELECT doc FROM versions WHERE account_id = ? AND region = ? AND name = ? AND version = ?"
        return self._one(FunctionVersion, sql, (*function.key, number))

    def versions(self, function: FunctionAddress) -> list[FunctionVersion]:
        sql = "SELECT doc FROM versions WHERE account_id = ? AND region = ? AND name = ? ORDER BY version"
        return self._many(FunctionVersion, sql, function.key)

    def alias(self, function: FunctionAddress, name: str) -> Alias | None:
        sql = "SELECT doc FROM aliases WHERE account_id = ? AND region = ? AND name = ? AND alias = ?"
        return self._one(Alias, sql, (*function.key, name))

    def aliases(self, function: FunctionAddress) -> list[Alias]:
        sql = "SELECT doc FROM aliases WHERE account_id = ? AND region = ? AND name = ? ORDER BY alias"
        return self._many(Alias, sql, function.key)

    def layer_version(self, layer: LayerAddress, number: int) -> LayerVersion | None:
        sql = "SELECT doc FROM layer_versions WHERE account_id = ? AND region = ? AND name = ? AND version = ?"
        return self._one(LayerVersion, sql, (*layer.key, number))

    def layer_versions(self, layer: LayerAddress) -> list[LayerVersion]:
        sql = "SELECT doc FROM layer_versions WHERE account_id = ? AND region = ? AND name = ? ORDER BY version"
        return self._many(LayerVersion, sql, layer.key)

    def document(self, kind: str, account_id: str, region: str, name: str) -> Document | None:
        sql = "SELECT doc FROM documents WHERE account_id = ? AND region = ? AND kind = ? AND name = ?"
        return self._one(dict, sql, (account_id, region, kind, name))

    def documents(self, kind: str, account_id: str, region: str) -> dict[str, Document]:
        sql = "SELECT name, doc FROM documents WHERE account_id = ? AND region = ? AND kind = ? ORDER BY name"
        rows = self._connection.execute(sql, (account_id, region, kind))
        return {name: decoder_of(dict).decode(doc) for name, doc in rows}

    def usage(self, account_id: str, region: str) -> AccountUsage:
        return account_usage(self._connection, account_id, region)

    # --- writing ---------------------------------------------------------------------------------------------------

    def create_function(self, latest: FunctionVersion, settings: FunctionSettings) -> None:
        key = (latest.account_id, latest.region, latest.name)
        self._connection.execute(
            "INSERT INTO functions (account_id, region, name, latest, settings, pending) VALUES (?, ?, ?, ?, ?, ?)",
            (*key, encode_version(latest), encode(settings), latest.is_pending),
        )
        self.changes += [Change("latest", key, (latest, None)), Change("settings", key, settings)]

    def put_latest(self, latest: FunctionVersion, serving: FunctionVersion | None = None) -> None:
        if latest.version != LATEST:
            raise ValueError(f"{latest.version} is not $LATEST")
        key = (latest.account_id, latest.region, latest.name)
        self._connection.execute(
            "UPDATE functions SET latest = ?, serving = ?, pending = ? WHERE account_id = ? AND region = ? AND name = ?",
            (encode_version(latest), encode_version(serving) if serving is not None else None, latest.is_pending, *key),
        )
        self.changes.append(Change("latest", key, (latest, serving)))

    def put_settings(self, function: FunctionAddress, settings: FunctionSettings) -> None:
        self._connection.execute(
            "UPDATE functions SET settings = ? WHERE account_id = ? AND region = ? AND name = ?",
            (encode(settings), *function.key),
        )
        self.changes.append(Change("settings", function.key, settings))

    def delete_function(self, function: FunctionAddress) -> None:
        self._connection.execute("DELETE FROM functions WHERE account_id = ? AND region = ? AND name = ?", function.key)
        self.changes.append(Change("no_function", function.key))

    def put_version(self, version: FunctionVersion) -> None:
        key = (version.account_id, version.region, version.name)
        self._connection.execute(
            "INSERT INTO versions (account_id, region, name, version, doc, pending) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET doc = excluded.doc, pending = excluded.pending",
            (*key, int(version.version), encode_version(version), version.is_pending),
        )
        self.changes.append(Change("version", key, version))

    def delete_version(self, function: FunctionAddress, number: int) -> None:
        self._connection.execute(
            "DELETE FROM versions WHERE account_id = ? AND region = ? AND name = ? AND version = ?",
            (*function.key, number),
        )
        self.changes.append(Change("no_version", function.key, number))

    def put_alias(self, alias: Alias) -> None:
        key = (alias.account_id, alias.region, alias.function_name)
        self._connection.execute(
            "INSERT INTO aliases (account_id, region, name, alias, doc) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET doc = excluded.doc",
            (*key, alias.name, encode(alias)),
        )
        self.changes.append(Change("alias", key, alias))

    def delete_alias(self, function: FunctionAddress, name: str) -> None:
        self._connection.execute(
            "DELETE FROM aliases WHERE account_id = ? AND region = ? AND name = ? AND alias = ?",
            (*function.key, name),
        )
        self.changes.append(Change("no_alias", function.key, name))

    def put_layer_version(self, version: LayerVersion) -> None:
        key = (version.account_id, version.region, version.name)
        self._connection.execute(
            "INSERT INTO layer_versions (account_id, region, name, version, doc) VALUES (?, ?, ?, ?, ?)",
            (*key, version.version, encode(version)),
        )
        self.changes.append(Change("layer", key, version))

    def delete_layer_version(self, layer: LayerAddress, number: int) -> None:
        self._connection.execute(
            "DELETE FROM layer_versions WHERE account_id = ? AND region = ? AND name = ? AND version = ?",
            (*layer.key, number),
        )
        self.changes.append(Change("no_layer", layer.key, number))

    def put_document(self, kind: str, account_id: str, region: str, name: str, document: Document) -> None:
        self._connection.execute(
            "INSERT INTO documents (account_id, region, kind, name, doc) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET doc = excluded.doc",
            (account_id, region, kind, name, encode(document)),
        )
        self.changes.append(Change("document", (account_id, region, kind), (name, document)))

    def delete_document(self, kind: str, account_id: str, region: str, name: str) -> None:
        self._connection.execute(
            "DELETE FROM documents WHERE account_id = ? AND region = ? AND kind = ? AND name = ?",
            (account_id, region, kind, name),
        )
        self.changes.append(Change("no_document", (account_id, region, kind), name))

    def next_version(self, address: FunctionAddress | LayerAddress) -> int:
        kind = "layer" if isinstance(address, LayerAddress) else "function"
        row = self._connection.execute(
            "INSERT INTO counters (account_id, region, kind, name, last) VALUES (?, ?, ?, ?, 1) "
            "ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
            (address.account_id, address.region, kind, address.name),
        ).fetchone()
        return int(row[0])


def account_usage(connection: sqlite3.Connection, account_id: str, region: str) -> AccountUsage:
    row = connection.execute(
        "SELECT functions, code_bytes, reserved FROM usage WHERE account_id = ? AND region = ?", (account_id, region)
    ).fetchone()
    functions, code_bytes, reserved = row or (0, 0, 0)
    return AccountUsage(function_count=functions, code_bytes=code_bytes, reserved_concurrency=reserved)
