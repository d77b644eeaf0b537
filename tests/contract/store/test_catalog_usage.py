"""An account's totals are kept, not summed, and are the sum all the same, whatever is written and deleted."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.model.function import AccountUsage, FunctionSettings, FunctionVersion, LayerVersion
from lambent.model.names import FunctionAddress, LayerAddress
from lambent.ports import CatalogTransaction
from lambent.store.catalog import SqliteCatalog

PLACES = (("111111111111", "eu-west-1"), ("111111111111", "us-east-1"), ("222222222222", "eu-west-1"))
NAMES = ("a", "b")
Step = tuple[str, tuple[str, str], str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("create", "update", "reserve", "publish", "unpublish", "delete", "layer", "no layer")),
        st.sampled_from(PLACES),
        st.sampled_from(NAMES),
        st.integers(1, 3),
        st.integers(0, 1000),
    ),
    max_size=40,
)


def a_version(address: FunctionAddress, number: str, code_bytes: int) -> FunctionVersion:
    return FunctionVersion(
        account_id=address.account_id, region=address.region, name=address.name, version=number, role="r", runtime="x",
        handler="h", code_size_bytes=code_bytes,
    )  # fmt: skip


def one_step(tx: CatalogTransaction, step: Step) -> None:
    what, place, name, number, amount = step
    function, layer = FunctionAddress(*place, name), LayerAddress(*place, name)
    if what == "layer" and tx.layer_version(layer, number) is None:
        tx.put_layer_version(
            LayerVersion(
                account_id=place[0], region=place[1], name=name, version=number, code_digest="d", code_sha256="s",
                code_size_bytes=amount,
            )
        )  # fmt: skip
    elif what == "no layer":
        tx.delete_layer_version(layer, number)
    elif what == "create":
        if tx.latest(function) is None:
            tx.create_function(a_version(function, "$LATEST", amount), FunctionSettings(reserved_concurrency=number))
    elif (latest := tx.latest(function)) is not None:
        changes: dict[str, Callable[[], None]] = {
            "update": lambda: tx.put_latest(attrs.evolve(latest, code_size_bytes=amount)),
            "reserve": lambda: tx.put_settings(function, FunctionSettings(reserved_concurrency=amount or None)),
            "publish": lambda: tx.put_version(tx.version(function, number) or a_version(function, str(number), amount)),
            "unpublish": lambda: tx.delete_version(function, number),
            "delete": lambda: tx.delete_function(function),
        }
        if what in changes:
            changes[what]()


def summed(connection: sqlite3.Connection, place: tuple[str, str]) -> AccountUsage:
    def total(column: str, table: str, member: str) -> int:
        sql = f"SELECT total(json_extract({column}, '$.{member}')) FROM {table} WHERE account_id = ? AND region = ?"
        return int(connection.execute(sql, place).fetchone()[0])

    where = "SELECT count(*) FROM functions WHERE account_id = ? AND region = ?"
    code = "code_size_bytes"
    return AccountUsage(
        function_count=connection.execute(where, place).fetchone()[0],
        code_bytes=total("latest", "functions", code) + total("doc", "versions", code) + total("doc", "layer_versions", code),
        reserved_concurrency=total("settings", "functions", "reserved_concurrency"),
    )  # fmt: skip


@settings(max_examples=30)
@given(STEPS)
def test_the_totals_are_the_sum_of_what_is_there(steps: list[Step]) -> None:
    async def run(folder: Path) -> None:
        catalog = SqliteCatalog.open(folder / "catalog.db")
        for step in steps:
            await catalog.transact(lambda tx, step=step: one_step(tx, step))  # type: ignore[misc]
        connection = sqlite3.connect(folder / "catalog.db")
        for place in PLACES:
            assert await catalog.usage(*place) == summed(connection, place)
            expected = sorted(n for n in NAMES if catalog.latest(FunctionAddress(*place, n)) is not None)
            assert catalog.function_names(*place) == expected
            assert catalog.function_names(*place, after="a") == [n for n in expected if n > "a"]
            assert catalog.function_names(*place, limit=1) == expected[:1]
        connection.close()
        await catalog.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
