"""Functions, versions, aliases and layers: kept in SQLite, read from memory.

Everything is in memory as the JSON text of its row, and is decoded when it is first looked at; so ten thousand
functions are loaded in well under a second. Writes go through the database's one writer, and memory follows in the
order of the commits, before whoever wrote is answered.
"""

from __future__ import annotations

import bisect
import fcntl
import os
import secrets
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import attrs
import msgspec

from lambent.model.errors import not_found
from lambent.model.function import (
    LATEST,
    AccountUsage,
    Alias,
    FunctionSettings,
    FunctionVersion,
    LayerVersion,
    State,
    UpdateStatus,
)
from lambent.model.names import FunctionAddress, LayerAddress, is_version
from lambent.ports import CatalogTransaction
from lambent.store.catalog_transaction import Change, SqlTransaction, account_usage, decoder_of
from lambent.store.database import Database, StoreError
from lambent.store.seal_stored import seal_stored

T = TypeVar("T")
V = TypeVar("V")
Key = tuple[str, str, str]  # account, region, name
Document = dict[str, Any]
Listener = Callable[[str, str, str], None]
DocumentListener = Callable[[str, str, str], None]  # account, region, name

SECRET_BYTES: Final = 32


class _Lazy(Generic[V]):
    """A value that is JSON text until somebody looks at it."""

    __slots__ = ("_held", "_kind")
    _held: str | V  # no value of the catalog is itself a string
    _kind: type[V]

    def __init__(self, kind: type[V], held: str | V) -> None:
        self._kind = kind
        self._held = held

    def get(self) -> V:
        if isinstance(self._held, str):
            self._held = decoder_of(self._kind).decode(self._held)
        return self._held


class _Function:
    __slots__ = ("aliases", "latest", "serving", "settings", "versions")

    def __init__(self, latest: _Lazy[FunctionVersion], settings: _Lazy[FunctionSettings]) -> None:
        self.latest = latest
        self.serving: _Lazy[FunctionVersion] | None = None
        self.settings = settings
        self.versions: dict[int, _Lazy[FunctionVersion]] = {}
        self.aliases: dict[str, _Lazy[Alias]] = {}


class SqliteCatalog:
    """The catalog of one data directory. Implements ports.Catalog."""

    def __init__(self, database: Database, lock_fd: int) -> None:
        self._database = database
        self._lock_fd: int | None = lock_fd
        self._functions: dict[Key, _Function] = {}
        self._names: dict[tuple[str, str], list[str]] = {}  # of functions, sorted, by account and region
        self._layers: dict[Key, dict[int, _Lazy[LayerVersion]]] = {}
        self._documents: dict[Key, dict[str, _Lazy[Document]]] = {}  # by account, region, kind
        self._pending: dict[tuple[Key, str], None] = {}  # in the order in which they came
        self._listeners: list[Listener] = []
        self._document_listeners: dict[str, list[DocumentListener]] = {}

    @classmethod
    def open(cls, path: Path) -> SqliteCatalog:
        """Opens or creates the database file and loads it. Blocks.

        Raises StoreError, also when another server has it open: its memory would not see what this one writes.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock_fd = _locked(path.with_name(f"{path.name}.lock"))
        try:
            catalog = cls(Database.open(path), lock_fd)
            seal_stored(path)
        except BaseException:
            os.close(lock_fd)
            raise
        catalog._database.read_now(catalog._load)
        return catalog

    async def close(self) -> None:
        """Waits for what is being written. Safe to call twice."""
        await self._database.close()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    # --- the road's view -------------------------------------------------------------------------------------------

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> FunctionVersion:
        """See ports.FunctionResolver."""
        function = self._functions.get((account_id, region, name))
        found: _Lazy[FunctionVersion] | None = None
        if function is not None:
            if qualifier is None or qualifier == LATEST:
                found = function.serving or function.latest
            elif is_version(qualifier):
                found = function.versions.get(int(qualifier))
            elif (alias := function.aliases.get(qualifier)) is not None:
                found = _version_of_alias(function, alias.get(), draw)
        if found is None:
            raise not_found(f"Function not found: {FunctionAddress(account_id, region, name, qualifier).qualified_arn}")
        return found.get()

    def subscribe(self, changed: Listener) -> None:
        self._listeners.append(changed)

    def subscribe_documents(self, kind: str, changed: DocumentListener) -> None:
        """See ports.Catalog."""
        self._document_listeners.setdefault(kind, []).append(changed)

    # --- ports.CatalogView, from memory ----------------------------------------------------------------------------

    def latest(self, function: FunctionAddress) -> FunctionVersion | None:
        found = self._functions.get(function.key)
        return found.latest.get() if found else None

    def version(self, function: FunctionAddress, number: int) -> FunctionVersion | None:
        found = self._functions.get(function.key)
        held = found.versions.get(number) if found else None
        return held.get() if held else None

    def versions(self, function: FunctionAddress) -> list[FunctionVersion]:
        found = self._functions.get(function.key)
        return [found.versions[number].get() for number in sorted(found.versions)] if found else []

    def alias(self, function: FunctionAddress, name: str) -> Alias | None:
        found = self._functions.get(function.key)
        held = found.aliases.get(name) if found else None
        return held.get() if held else None

    def aliases(self, function: FunctionAddress) -> list[Alias]:
        found = self._functions.get(function.key)
        return [found.aliases[name].get() for name in sorted(found.aliases)] if found else []

    def settings(self, function: FunctionAddress) -> FunctionSettings | None:
        found = self._functions.get(function.key)
        return found.settings.get() if found else None

    def layer_version(self, layer: LayerAddress, number: int) -> LayerVersion | None:
        held = self._layers.get(layer.key, {}).get(number)
        return held.get() if held else None

    def layer_versions(self, layer: LayerAddress) -> list[LayerVersion]:
        held = self._layers.get(layer.key, {})
        return [held[number].get() for number in sorted(held)]

    def function_names(
        self, account_id: str, region: str, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        names = self._names.get((account_id, region), [])
        first = 0 if after is None else bisect.bisect_right(names, after)
        return names[first : None if limit is None else first + limit]

    def layer_names(self, account_id: str, region: str) -> list[str]:
        return sorted(n for (a, r, n), held in self._layers.items() if a == account_id and r == region and held)

    def document(self, kind: str, account_id: str, region: str, name: str) -> Document | None:
        held = self._documents.get((account_id, region, kind), {}).get(name)
        return held.get() if held else None

    def documents(self, kind: str, account_id: str, region: str) -> dict[str, Document]:
        held = self._documents.get((account_id, region, kind), {})
        return {name: held[name].get() for name in sorted(held)}

    def document_places(self, kind: str) -> list[tuple[str, str]]:
        """See ports.Catalog."""
        return sorted((a, r) for (a, r, k), held in self._documents.items() if k == kind and held)

    # --- writing ---------------------------------------------------------------------------------------------------

    async def transact(self, work: Callable[[CatalogTransaction], T]) -> T:
        """See ports.Catalog. Memory and subscribers have it before the caller."""

        def in_database(connection: sqlite3.Connection) -> tuple[T, list[Change]]:
            transaction = SqlTransaction(connection)
            return work(transaction), transaction.changes

        result, _ = await self._database.write(in_database, committed=lambda done: self._apply(done[1]))
        return result

    async def settle(
        self, pending: FunctionVersion, succeeded: bool, reason: str | None = None, reason_code: str | None = None
    ) -> None:
        """See ports.Catalog. A settled version has a new revision, as at AWS."""

        def work(tx: CatalogTransaction) -> None:
            address = FunctionAddress(pending.account_id, pending.region, pending.name)
            current = tx.latest(address) if pending.version == LATEST else tx.version(address, int(pending.version))
            if current is None or current.revision_id != pending.revision_id:
                return
            settled = _settled(current, succeeded, reason, reason_code)
            if pending.version == LATEST:
                tx.put_latest(settled, serving=None if succeeded else tx.serving(address))
            else:
                tx.put_version(settled)

        await self.transact(work)

    def pending(self) -> list[FunctionVersion]:
        found = []
        for key, version in self._pending:
            function = self._functions.get(key)
            held = function and (function.latest if version == LATEST else function.versions.get(int(version)))
            if held:
                found.append(held.get())
        return found

    async def secret(self, name: str) -> bytes:
        def work(connection: sqlite3.Connection) -> bytes:
            connection.execute(
                "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (name, secrets.token_bytes(SECRET_BYTES)),
            )
            value: bytes = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()[0]
            return value

        return await self._database.write(work)

    # --- sums ------------------------------------------------------------------------------------------------------

    async def usage(self, account_id: str, region: str) -> AccountUsage:
        return await self._database.read(lambda connection: account_usage(connection, account_id, region))

    async def referenced_digests(self) -> set[str]:
        """The packages that some version or layer version still needs; the rest may be collected."""
        return await self._database.read(_referenced_digests)

    # --- memory ----------------------------------------------------------------------------------------------------

    def _load(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT account_id, region, name, latest, serving, settings, pending FROM functions")
        for account_id, region, name, latest, serving, settings, pending in rows:
            function = _Function(_Lazy(FunctionVersion, latest), _Lazy(FunctionSettings, settings))
            function.serving = _Lazy(FunctionVersion, serving) if serving is not None else None
            key = (account_id, region, name)
            self._functions[key] = function
            self._names.setdefault((account_id, region), []).append(name)
            if pending:
                self._pending[(key, LATEST)] = None
        for names in self._names.values():
            names.sort()
        for account_id, region, name, version, doc, pending in connection.execute(
            "SELECT account_id, region, name, version, doc, pending FROM versions"
        ):
            key = (account_id, region, name)
            self._functions[key].versions[version] = _Lazy(FunctionVersion, doc)
            if pending:
                self._pending[(key, str(version))] = None
        for account_id, region, name, alias, doc in connection.execute(
            "SELECT account_id, region, name, alias, doc FROM aliases"
        ):
            self._functions[(account_id, region, name)].aliases[alias] = _Lazy(Alias, doc)
        for account_id, region, name, version, doc in connection.execute(
            "SELECT account_id, region, name, version, doc FROM layer_versions"
        ):
            self._layers.setdefault((account_id, region, name), {})[version] = _Lazy(LayerVersion, doc)
        for account_id, region, kind, name, doc in connection.execute(
            "SELECT account_id, region, kind, name, doc FROM documents"
        ):
            self._documents.setdefault((account_id, region, kind), {})[name] = _Lazy(dict, doc)

    def _apply(self, changes: list[Change]) -> None:
        touched: dict[Key, None] = {}
        for change in changes:
            self._APPLIERS[change.kind](self, change)
            if change.kind not in ("layer", "no_layer", "document", "no_document"):
                touched[change.key] = None
        for key in touched:
            for listener in self._listeners:
                listener(*key)
        for change in changes:
            if change.kind in ("document", "no_document"):
                self._tell_of_document(change)

    def _tell_of_document(self, change: Change) -> None:
        account_id, region, kind = change.key
        name = change.value[0] if change.kind == "document" else change.value
        for listener in self._document_listeners.get(kind, ()):
            listener(account_id, region, name)

    def _apply_latest(self, change: Change) -> None:
        latest, serving = change.value
        function = self._functions.get(change.key)
        held = _Lazy(FunctionVersion, latest)
        if function is None:
            function = self._functions[change.key] = _Function(held, _Lazy(FunctionSettings, FunctionSettings()))
            bisect.insort(self._names.setdefault(change.key[:2], []), change.key[2])
        function.latest = held
        function.serving = _Lazy(FunctionVersion, serving) if serving is not None else None
        self._note_pending(change.key, latest)

    def _apply_settings(self, change: Change) -> None:
        self._functions[change.key].settings = _Lazy(FunctionSettings, change.value)

    def _apply_version(self, change: Change) -> None:
        version: FunctionVersion = change.value
        self._functions[change.key].versions[int(version.version)] = _Lazy(FunctionVersion, version)
        self._note_pending(change.key, version)

    def _apply_alias(self, change: Change) -> None:
        alias: Alias = change.value
        self._functions[change.key].aliases[alias.name] = _Lazy(Alias, alias)

    def _apply_layer(self, change: Change) -> None:
        version: LayerVersion = change.value
        self._layers.setdefault(change.key, {})[version.version] = _Lazy(LayerVersion, version)

    def _apply_no_function(self, change: Change) -> None:
        function = self._functions.pop(change.key, None)
        if function is not None:
            names = self._names[change.key[:2]]
            del names[bisect.bisect_left(names, change.key[2])]
        self._pending.pop((change.key, LATEST), None)
        for number in function.versions if function else ():
            self._pending.pop((change.key, str(number)), None)

    def _apply_no_version(self, change: Change) -> None:
        self._functions[change.key].versions.pop(change.value, None)
        self._pending.pop((change.key, str(change.value)), None)

    def _apply_no_alias(self, change: Change) -> None:
        self._functions[change.key].aliases.pop(change.value, None)

    def _apply_no_layer(self, change: Change) -> None:
        held = self._layers.get(change.key, {})
        held.pop(change.value, None)
        if not held:
            self._layers.pop(change.key, None)

    def _apply_document(self, change: Change) -> None:
        name, document = change.value
        self._documents.setdefault(change.key, {})[name] = _Lazy(dict, document)

    def _apply_no_document(self, change: Change) -> None:
        self._documents.get(change.key, {}).pop(change.value, None)

    _APPLIERS: Final[dict[str, Callable[[SqliteCatalog, Change], None]]] = {
        "latest": _apply_latest,
        "settings": _apply_settings,
        "version": _apply_version,
        "alias": _apply_alias,
        "layer": _apply_layer,
        "no_function": _apply_no_function,
        "no_version": _apply_no_version,
        "no_alias": _apply_no_alias,
        "no_layer": _apply_no_layer,
        "document": _apply_document,
        "no_document": _apply_no_document,
    }

    def _note_pending(self, key: Key, version: FunctionVersion) -> None:
        self._pending.pop((key, version.version), None)
        if version.is_pending:
            self._pending[(key, version.version)] = None


def _locked(path: Path) -> int:
    """A descriptor that holds the lock until it is closed or this process ends.

    A record lock, because forked children do not inherit it: they may outlive the server for a moment.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StoreError(
            f"{path.parent} is in use by another server; stop that one or choose another --data"
        ) from error
    return fd


def _version_of_alias(function: _Function, alias: Alias, draw: float) -> _Lazy[FunctionVersion] | None:
    chosen = alias.function_version
    reached = 0.0
    for version, weight in alias.additional_weights.items():
        reached += weight
        if draw < reached:
            chosen = version
            break
    if chosen == LATEST:
        return function.serving or function.latest
    return function.versions.get(int(chosen))


def _settled(version: FunctionVersion, succeeded: bool, reason: str | None, reason_code: str | None) -> FunctionVersion:
    """The state after: a creation fails as a whole, an update leaves the function as it was before."""
    changes: dict[str, Any] = {"revision_id": str(uuid.uuid4())}
    if version.state is State.PENDING:
        changes["state"] = State.ACTIVE if succeeded else State.FAILED
        changes["state_reason"] = None if succeeded else reason
        changes["state_reason_code"] = None if succeeded else reason_code
    changes["last_update_status"] = UpdateStatus.SUCCESSFUL if succeeded else UpdateStatus.FAILED
    changes["last_update_status_reason"] = None if succeeded else reason
    changes["last_update_status_reason_code"] = None if succeeded else reason_code
    return attrs.evolve(version, **changes)


class _Digests(msgspec.Struct):
    """As much of a document as the collector wants."""

    code_digest: str | None = None
    layers: list[_LayerDigest] = []


class _LayerDigest(msgspec.Struct):
    digest: str


def _referenced_digests(connection: sqlite3.Connection) -> set[str]:
    found: set[str] = set()
    decoder = msgspec.json.Decoder(_Digests)
    for (doc,) in connection.execute(
        "SELECT latest FROM functions UNION ALL SELECT serving FROM functions WHERE serving IS NOT NULL "
        "UNION ALL SELECT doc FROM versions UNION ALL SELECT doc FROM layer_versions"
    ):
        digests = decoder.decode(doc)
        if digests.code_digest is not None:
            found.add(digests.code_digest)
        found.update(layer.digest for layer in digests.layers)
    return found
