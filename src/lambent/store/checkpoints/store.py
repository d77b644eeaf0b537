"""The checkpoint store: positions by mapping and shard, as the poller made them. Used on one event loop."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from lambent.store.database import Database

Position = Mapping[str, Any]


class CheckpointStore:
    """One data directory's. Every method raises sqlite3.Error for a disk that fails, StoreError after `close`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> CheckpointStore:
        """Opens or creates the file. Raises StoreError."""
        migrations = resources.files("lambent.store.checkpoints") / "migrations"
        return cls(await asyncio.to_thread(Database.open, path, migrations))

    async def close(self) -> None:
        """Safe to call twice."""
        await self._database.close()

    async def positions(self, mapping_id: str) -> dict[str, dict[str, Any]]:
        """By shard."""
        select = "SELECT shard, position FROM checkpoints WHERE mapping_id = ?"
        rows = await self._database.read(lambda c: c.execute(select, (mapping_id,)).fetchall())
        return {shard: json.loads(position) for shard, position in rows}

    async def save(self, mapping_id: str, shard: str, position: Position) -> None:
        """Returns when it is durable."""
        row = (mapping_id, shard, json.dumps(position))
        await self._write("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", row)

    async def forget(self, mapping_id: str) -> None:
        await self._write("DELETE FROM checkpoints WHERE mapping_id = ?", (mapping_id,))

    async def _write(self, statement: str, values: tuple[str, ...]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        await self._database.write(work)
