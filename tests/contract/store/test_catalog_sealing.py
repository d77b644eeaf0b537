"""A catalog that was written before variables were encrypted is encrypted when it is opened, and its file says nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from lambent.model.function import FunctionSettings, FunctionVersion
from lambent.model.names import FunctionAddress
from lambent.model.sealing import SERVICE_KEY, open_sealed
from lambent.store.catalog import SqliteCatalog

ADDRESS = FunctionAddress("123456789012", "eu-west-1", "resize")
SECRET = "correct-horse-battery-staple"


def a_version(**changes: Any) -> FunctionVersion:
    return FunctionVersion(
        account_id=ADDRESS.account_id, region=ADDRESS.region, name=ADDRESS.name, **{"version": "$LATEST"} | changes,
        role="arn:aws:iam::123456789012:role/worker", runtime="python3.13", handler="app.handler",
    )  # fmt: skip


async def an_old_catalog(path: Path) -> None:
    """Readable variables in `$LATEST`, in what is served meanwhile, and in a version."""
    catalog = SqliteCatalog.open(path)

    def work(tx: Any) -> None:
        tx.create_function(a_version(), FunctionSettings())
        tx.put_latest(a_version(), serving=a_version(memory_mib=256))
        tx.put_version(a_version(version="1"))

    await catalog.transact(work)
    await catalog.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for column, table in (("latest", "functions"), ("serving", "functions"), ("doc", "versions")):
            (text,) = connection.execute(f"SELECT {column} FROM {table}").fetchone()
            document = {**msgspec.json.decode(text), "environment": {"PASSWORD": SECRET + column}}
            document.pop("sealed")
            connection.execute(f"UPDATE {table} SET {column} = ?", (msgspec.json.encode(document).decode(),))
        connection.execute("DELETE FROM secrets WHERE name = ?", (SERVICE_KEY,))
        connection.commit()


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.iterdir() if text.encode() in path.read_bytes()]


async def test_readable_variables_are_sealed_when_an_old_catalog_is_opened(tmp_path: Path) -> None:
    await an_old_catalog(tmp_path / "catalog.db")
    assert files_with(tmp_path, SECRET)
    for _ in range(2):  # the second time there is nothing to do
        catalog = SqliteCatalog.open(tmp_path / "catalog.db")
        key = await catalog.secret(SERVICE_KEY)
        latest, numbered = catalog.latest(ADDRESS), catalog.version(ADDRESS, 1)
        serving = catalog.resolve(*ADDRESS.key, None, 0.0)
        for version, column in ((latest, "latest"), (serving, "serving"), (numbered, "doc")):
            assert version is not None
            assert version.environment == {}
            assert version.sealed is not None
            assert open_sealed(version.sealed, version.arn, key) == {"PASSWORD": SECRET + column}
        await catalog.close()
        assert files_with(tmp_path, SECRET) == []


async def test_readable_variables_cannot_be_stored(tmp_path: Path) -> None:
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")
    readable = attrs.evolve(a_version(), environment={"PASSWORD": SECRET})
    for work in (
        lambda tx: tx.create_function(readable, FunctionSettings()),
        lambda tx: tx.put_latest(readable),
        lambda tx: tx.put_version(attrs.evolve(readable, version="1")),
    ):
        with pytest.raises(ValueError, match="not sealed"):
            await catalog.transact(work)
    await catalog.close()
