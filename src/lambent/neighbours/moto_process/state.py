"""What survives: every backend that was changed is on disk before its client gets an answer.

One thread writes. It takes all that waits, copies each backend under its lock, commits them together, and lets all who
wait go on: many clients cost one `fsync`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import moto

from lambent.model.errors import AwsError
from lambent.neighbours.moto_process import collections, identities
from lambent.neighbours.moto_process.backends import Unit, backend_of, lock_of, shell
from lambent.neighbours.moto_process.collections import Bodies, Collection
from lambent.neighbours.moto_process.pickling import restored, saved

log = logging.getLogger(__name__)

LATER_S: Final = 2.0  # how long a change that nobody was promised may wait
TRIES: Final = 5  # a backend may be changed by a thread of its own while it is copied
DATABASE: Final = "state.db"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS units (name TEXT PRIMARY KEY, moto TEXT NOT NULL, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS collections (id TEXT PRIMARY KEY, unit TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    collection TEXT NOT NULL, name TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (collection, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (access_key_id TEXT PRIMARY KEY, document BLOB NOT NULL);
"""


@attrs.define
class _Waiting:
    """A round of writing: what goes into it, and what came of it."""

    units: set[Unit] = attrs.field(factory=set)
    done: threading.Event = attrs.field(factory=threading.Event)
    failure: str | None = None


@attrs.define
class _Copy:
    """A backend as it is to be written."""

    unit: Unit
    state: bytes
    digest: bytes
    collections: list[Collection]
    entries: list[tuple[Collection, str, bytes | None]]


class State:
    """The database of one folder. `keep` is for any thread."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self._folder = folder
        self._database = database
        self._digests: dict[Unit, bytes] = {}
        self._collections: dict[Unit, frozenset[str]] = {}
        self._known_keys: dict[str, bytes] = {}
        self._unsaved: dict[str, str] = {}  # services whose state cannot be copied, and why
        self._unreadable: dict[Unit, str] = {}
        self._wake = threading.Condition()
        self._next = _Waiting()
        self._later: set[Unit] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="state")

    @classmethod
    def open(cls, folder: Path) -> State:
        """Restores what the folder has. Raises sqlite3.Error when it cannot be read."""
        collections.install(folder)
        database = sqlite3.connect(folder / DATABASE, check_same_thread=False, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(_SCHEMA)
        state = cls(folder, database)
        state._restore()
        state._thread.start()
        return state

    def keep(self, units: Iterable[Unit]) -> None:
        """Returns when these backends are on disk as they are now. Raises AwsError when they cannot be written."""
        with self._wake:
            waiting = self._next
            waiting.units.update(units)
            self._wake.notify()
        waiting.done.wait()
        if waiting.failure is not None:
            raise AwsError("InternalFailure", f"The change could not be written to disk: {waiting.failure}", 500)

    def look_later(self, units: Iterable[Unit]) -> None:
        """These may have changed by themselves: they are written soon, if so."""
        with self._wake:
            self._later.update(units)

    def refuse_unreadable(self, unit: Unit | None) -> None:
        """Raises AwsError for a backend whose saved state could not be read: serving it empty would lose it."""
        if unit in self._unreadable:
            raise AwsError(
                "InternalFailure",
                f"The saved state of {unit.service} could not be read ({self._unreadable[unit]}). It is kept in "
                f"{self._folder / DATABASE}; start the version of Lambent that wrote it.",
                500,
            )

    def status(self) -> dict[str, Any]:
        return {"units": len(self._digests), "unsaved": dict(self._unsaved)}

    def close(self) -> None:
        """Writes what is left."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._database.close()

    # Writing

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._next.units and not self._closing:
                    self._wake.wait(LATER_S)
                round_, self._next = self._next, _Waiting()
                idle = not round_.units
                if idle or self._closing:
                    round_.units |= self._later
                    self._later.clear()
                closing = self._closing
            try:
                self._write(round_)
            except Exception as error:  # the outermost edge of a round: whoever waits for it must hear of it
                log.exception("state was not written; report it with this traceback")
                round_.failure = repr(error)
            round_.done.set()
            if closing:
                return

    def _write(self, round_: _Waiting) -> None:
        copies = [copy for unit in sorted(round_.units) if (copy := self._copied(unit)) is not None]
        if not copies:
            return
        unused, Bodies.unused[:] = list(Bodies.unused), []
        try:
            self._commit(copies)
        except sqlite3.Error as error:
            Bodies.unused.extend(unused)
            for copy in copies:
                for collection, name, _ in copy.entries:
                    collection.changed.add(name)
            log.error("state cannot be written: %s; make room for %s", error, self._folder)
            round_.failure = str(error)
            return
        Bodies.remove_unused(unused)

    def _copied(self, unit: Unit) -> _Copy | None:
        """None when there is nothing new, or when it cannot be copied at all, which is said once."""
        if unit in self._unreadable:
            return None
        try:
            state, met = _tried(unit)
        except LookupError:
            return None
        except Exception as error:  # whatever moto put into it: one service less to save, not all of them
            if unit.service not in self._unsaved:
                log.warning("the state of %s is not saved, a restart forgets it: %s", unit.service, error)
                self._unsaved[unit.service] = str(error)
            return None
        with lock_of(unit):
            entries = [entry for collection in met for entry in _changed(collection)]
        digest = hashlib.blake2b(state, digest_size=16).digest()
        if not entries and self._digests.get(unit) == digest:
            return None
        return _Copy(unit, state, digest, met, entries)

    def _commit(self, copies: list[_Copy]) -> None:
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        try:
            for copy in copies:
                name = copy.unit.text
                if self._digests.get(copy.unit) != copy.digest:
                    execute("INSERT OR REPLACE INTO units VALUES (?, ?, ?)", (name, moto.__version__, copy.state))
                self._commit_collections(copy)
                for collection, entry_name, state in copy.entries:
                    place = (collection.collection_id, entry_name)
                    if state is None:
                        execute("DELETE FROM entries WHERE collection = ? AND name = ?", place)
                    else:
                        execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (*place, state))
            if any(copy.unit.service in identities.SERVICES for copy in copies):
                self._commit_keys()
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise
        for copy in copies:
            self._digests[copy.unit] = copy.digest
            self._collections[copy.unit] = frozenset(c.collection_id for c in copy.collections)

    def _commit_collections(self, copy: _Copy) -> None:
        now = frozenset(c.collection_id for c in copy.collections)
        before = self._collections.get(copy.unit, frozenset())
        for gone in before - now:
            self._database.execute("DELETE FROM entries WHERE collection = ?", (gone,))
            self._database.execute("DELETE FROM collections WHERE id = ?", (gone,))
        for new in now - before:
            self._database.execute("INSERT OR REPLACE INTO collections VALUES (?, ?)", (new, copy.unit.text))

    def _commit_keys(self) -> None:
        now = identities.packed_keys()
        for key_id in self._known_keys.keys() - now.keys():
            self._database.execute("DELETE FROM keys WHERE access_key_id = ?", (key_id,))
        for key_id, document in now.items():
            if self._known_keys.get(key_id) != document:
                self._database.execute("INSERT OR REPLACE INTO keys VALUES (?, ?)", (key_id, document))
        self._known_keys = now

    # Reading

    def _restore(self) -> None:
        rows = [
            (Unit.parse(name), state)
            for name, state in self._database.execute("SELECT name, state FROM units").fetchall()
        ]
        shells = [shell(unit) for unit, _ in rows]
        for (unit, state), backend in zip(rows, shells, strict=True):
            try:
                backend.__dict__.update(restored(state))
            except Exception as error:  # one service less, not all of them; what is on disk stays as it is
                log.error("the state of %s in %s cannot be read: %r; it is left as it is", unit, self._folder, error)
                self._unreadable[unit] = repr(error)
            self._digests[unit] = hashlib.blake2b(state, digest_size=16).digest()
        for collection_id, name, state in self._database.execute("SELECT collection, name, state FROM entries"):
            if (collection := collections.restoring.get(collection_id)) is not None:
                collection.fill(name, restored(state))
        for collection in collections.restoring.values():
            collection.changed.clear()
        collections.restoring.clear()
        of_unit: dict[Unit, set[str]] = {}
        for collection_id, unit_text in self._database.execute("SELECT id, unit FROM collections"):
            of_unit.setdefault(Unit.parse(unit_text), set()).add(collection_id)
        self._collections = {unit: frozenset(ids) for unit, ids in of_unit.items()}
        self._known_keys = dict(self._database.execute("SELECT access_key_id, document FROM keys"))
        stray = [path.name for path in (self._folder / collections.FOLDER).iterdir() if path.name not in Bodies.used]
        Bodies.remove_unused(stray)
        Bodies.used.clear()


def _tried(unit: Unit) -> tuple[bytes, list[Collection]]:
    """A copy of a backend. Raises LookupError when it is gone, and what pickling raises."""
    for attempt in range(TRIES):
        with lock_of(unit):
            try:
                return saved(backend_of(unit).__dict__)
            except RuntimeError:  # changed while it was copied, by a thread that takes no lock
                if attempt == TRIES - 1:
                    raise
    raise AssertionError("unreachable")


def _changed(collection: Collection) -> Iterable[tuple[Collection, str, bytes | None]]:
    names, collection.changed = collection.changed, set()
    for name in names:
        entry = collection.entry(name)
        gone = entry is None or (isinstance(entry, list) and not entry)
        yield collection, name, None if gone else saved(entry)[0]
