"""Catalogs that were written before environment variables were encrypted: encrypts what is in them, once.

A catalog without the service's key is such a one, or new. Afterwards the file is rewritten, so that no page of it
still holds what was readable.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec

from lambent.model.sealing import KEY_BYTES, SERVICE_KEY, seal
from lambent.store.database import connect

_DOCUMENTS: Final = (
    ("functions", "latest", "account_id, region, name"),
    ("functions", "serving", "account_id, region, name"),
    ("versions", "doc", "account_id, region, name, version"),
)


def seal_stored(path: Path) -> None:
    """Makes the service's key where there is none yet. Blocks. Raises sqlite3.Error."""
    with contextlib.closing(connect(path)) as connection:
        if connection.execute("SELECT 1 FROM secrets WHERE name = ?", (SERVICE_KEY,)).fetchone():
            return
        key = secrets.token_bytes(KEY_BYTES)
        connection.execute("BEGIN IMMEDIATE")
        changed = sum(_seal_column(connection, key, *column) for column in _DOCUMENTS)
        connection.execute("INSERT INTO secrets (name, value) VALUES (?, ?)", (SERVICE_KEY, key))
        connection.execute("COMMIT")
        if changed:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _seal_column(connection: sqlite3.Connection, key: bytes, table: str, column: str, key_columns: str) -> int:
    rows = connection.execute(
        f"SELECT {column}, {key_columns} FROM {table} WHERE json_extract({column}, '$.environment') <> '{{}}'"
    ).fetchall()
    for text, *row_key in rows:
        where = " AND ".join(f"{name} = ?" for name in key_columns.split(", "))
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (_sealed(text, key), *row_key))
    return len(rows)


def _sealed(text: str, key: bytes) -> str:
    document: dict[str, Any] = msgspec.json.decode(text)
    variables = document.pop("environment")
    arn = f"arn:aws:lambda:{document['region']}:{document['account_id']}:function:{document['name']}"
    document["sealed"] = msgspec.to_builtins(seal(variables, arn, key, key))
    # A customer's key could not be asked before; it is at the next change of the function's variables.
    return msgspec.json.encode(document).decode()
