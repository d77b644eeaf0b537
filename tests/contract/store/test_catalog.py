"""The catalog: what was acknowledged is there after any end, memory says what the disk says, and loading is quick."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

import lambent
from lambent.model.errors import AwsError
from lambent.model.function import (
    Alias,
    FunctionSettings,
    FunctionVersion,
    LayerReference,
    LayerVersion,
    LoggingConfig,
    State,
)
from lambent.model.names import FunctionAddress, LayerAddress
from lambent.model.sealing import SealedEnvironment
from lambent.ports import CatalogTransaction
from lambent.store.blobs import FileBlobs
from lambent.store.catalog import SqliteCatalog
from lambent.store.database import StoreError

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(lambent.__file__).parents[1])}
ADDRESS = FunctionAddress("123456789012", "eu-west-1", "resize")
LAYER = LayerAddress("123456789012", "eu-west-1", "pillow")


def a_version(name: str = "resize", version: str = "$LATEST", **changes: object) -> FunctionVersion:
    full = FunctionVersion(
        account_id=ADDRESS.account_id,
        region=ADDRESS.region,
        name=name,
        version=version,
        role="arn:aws:iam::123456789012:role/worker",
        runtime="python3.13",
        handler="app.handler",
        code_digest="ab" * 32,
        code_size_bytes=1_000,
        sealed=SealedEnvironment(ciphertext="AAAA" * 100, digest="ef" * 32),
        layers=(LayerReference(arn=f"{LAYER.arn}:1", code_sha256="x", code_size_bytes=1, digest="cd" * 32),),
        logging=LoggingConfig(log_format="JSON"),
        extra={"VpcConfig": {"SubnetIds": ["subnet-1"]}, "DurableConfig": {"ExecutionTimeout": 60}},
        revision_id="r1",
    )
    return attrs.evolve(full, **changes)  # type: ignore[arg-type] # the tests name fields of the value


def an_alias(name: str, version: str, **weights: float) -> Alias:
    return Alias(
        account_id=ADDRESS.account_id,
        region=ADDRESS.region,
        function_name=ADDRESS.name,
        name=name,
        function_version=version,
        additional_weights={number.removeprefix("v"): weight for number, weight in weights.items()},
    )


def a_layer(number: int) -> LayerVersion:
    return LayerVersion(
        account_id=LAYER.account_id,
        region=LAYER.region,
        name=LAYER.name,
        version=number,
        code_digest="cd" * 32,
        code_sha256="x",
        code_size_bytes=10,
        compatible_runtimes=("python3.13",),
    )


def everything(tx: CatalogTransaction) -> None:
    tx.create_function(a_version(), FunctionSettings(tags={"team": "images"}, reserved_concurrency=7))
    tx.put_version(a_version(version="1"))
    tx.put_version(a_version(version="2", state=State.PENDING))
    tx.put_alias(an_alias("live", "1", v2=0.5))
    tx.put_layer_version(a_layer(1))


def seen(catalog: SqliteCatalog) -> tuple[object, ...]:
    return (
        catalog.latest(ADDRESS),
        catalog.versions(ADDRESS),
        catalog.aliases(ADDRESS),
        catalog.settings(ADDRESS),
        catalog.layer_versions(LAYER),
        catalog.pending(),
        catalog.function_names(ADDRESS.account_id, ADDRESS.region),
        catalog.layer_names(ADDRESS.account_id, ADDRESS.region),
    )


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqliteCatalog]:
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")
    yield catalog
    await catalog.close()


async def test_values_come_back_from_the_disk_as_they_went(catalog: SqliteCatalog, tmp_path: Path) -> None:
    await catalog.transact(everything)
    before = seen(catalog)
    assert before[0] == a_version()
    reopened = SqliteCatalog.open(tmp_path / "catalog.db")
    assert seen(reopened) == before
    await reopened.close()


async def test_a_transaction_reads_what_it_wrote_and_one_that_raises_leaves_nothing(catalog: SqliteCatalog) -> None:
    def failing(tx: CatalogTransaction) -> None:
        everything(tx)
        assert tx.version(ADDRESS, 2) == a_version(version="2", state=State.PENDING)
        assert tx.alias(ADDRESS, "live") == an_alias("live", "1", v2=0.5)
        assert tx.next_version(ADDRESS) == 1
        raise AwsError("Changed", "my mind")

    before = seen(catalog)
    with pytest.raises(AwsError, match="my mind"):
        await catalog.transact(failing)
    assert seen(catalog) == before
    assert await catalog.transact(lambda tx: tx.next_version(ADDRESS)) == 1
    assert await catalog.transact(lambda tx: tx.next_version(ADDRESS)) == 2
    assert await catalog.transact(lambda tx: tx.next_version(LayerAddress(*ADDRESS.key))) == 1


async def test_deleting_a_function_takes_its_versions_and_aliases(catalog: SqliteCatalog, tmp_path: Path) -> None:
    await catalog.transact(everything)
    await catalog.transact(lambda tx: tx.delete_function(ADDRESS))
    assert (catalog.latest(ADDRESS), catalog.versions(ADDRESS), catalog.aliases(ADDRESS)) == (None, [], [])
    assert catalog.pending() == []
    connection = sqlite3.connect(tmp_path / "catalog.db")
    assert connection.execute("SELECT count(*) FROM versions").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM aliases").fetchone() == (0,)
    connection.close()


async def test_subscribers_learn_of_a_change_before_whoever_made_it(catalog: SqliteCatalog) -> None:
    told: list[tuple[str, str, str]] = []
    catalog.subscribe(lambda *key: told.append(key))
    await catalog.transact(everything)
    assert told == [ADDRESS.key]
    await catalog.transact(lambda tx: tx.delete_function(ADDRESS))
    assert told == [ADDRESS.key] * 2


async def test_settling_is_for_the_revision_that_was_prepared(catalog: SqliteCatalog) -> None:
    pending = a_version(state=State.PENDING, revision_id="old")
    await catalog.transact(lambda tx: tx.create_function(pending, FunctionSettings()))
    newer = attrs.evolve(pending, revision_id="newer")
    await catalog.transact(lambda tx: tx.put_latest(newer))
    await catalog.settle(pending, True)
    assert catalog.pending() == [newer]
    await catalog.settle(newer, False, "it is broken", "InvalidZipFileException")
    assert catalog.pending() == []
    settled = catalog.latest(ADDRESS)
    assert settled is not None
    assert (settled.state, settled.state_reason) == (State.FAILED, "it is broken")
    await catalog.transact(lambda tx: tx.delete_function(ADDRESS))
    await catalog.settle(newer, True)
    assert catalog.latest(ADDRESS) is None


async def test_secrets_are_made_once_and_kept(catalog: SqliteCatalog, tmp_path: Path) -> None:
    secret = await catalog.secret("links")
    assert len(secret) == 32
    assert await catalog.secret("links") == secret
    assert await catalog.secret("other") != secret
    reopened = SqliteCatalog.open(tmp_path / "catalog.db")
    assert await reopened.secret("links") == secret
    await reopened.close()


async def test_referenced_packages_are_those_of_functions_versions_and_layers(catalog: SqliteCatalog) -> None:
    await catalog.transact(everything)
    await catalog.transact(lambda tx: tx.put_latest(a_version(code_digest="ef" * 32), serving=a_version()))
    assert await catalog.referenced_digests() == {"ab" * 32, "cd" * 32, "ef" * 32}
    await catalog.transact(lambda tx: tx.delete_function(ADDRESS))
    assert await catalog.referenced_digests() == {"cd" * 32}


async def test_ten_thousand_functions_load_in_a_moment_and_little_memory(
    catalog: SqliteCatalog, tmp_path: Path
) -> None:
    def many(tx: CatalogTransaction) -> None:
        for n in range(10_000):
            tx.create_function(a_version(f"f{n}"), FunctionSettings())

    await catalog.transact(many)
    tracemalloc.start()
    loaded = SqliteCatalog.open(tmp_path / "catalog.db")
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await loaded.close()
    assert held_bytes < 50_000_000
    began = time.perf_counter()
    loaded = SqliteCatalog.open(tmp_path / "catalog.db")
    took_s = time.perf_counter() - began
    assert loaded.resolve(ADDRESS.account_id, ADDRESS.region, "f9999", None, 0.0).name == "f9999"
    await loaded.close()
    assert took_s < 2.0  # 0.1 s when measured; the rest is for a machine that does other things as well


HOLDER = """
import sys, time
from pathlib import Path
from lambent.store.catalog import SqliteCatalog
catalog = SqliteCatalog.open(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(600)
"""


async def test_a_second_server_on_the_same_data_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as holder:  # noqa: ASYNC220
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match="in use by another server"):
            SqliteCatalog.open(path)
        holder.kill()
    await SqliteCatalog.open(path).close()


CREATOR = """
import asyncio, io, sys, time, zipfile
from pathlib import Path
from lambent.control.lambda_service import LambdaService
from lambent.invoke.reconcile import Reconciler
from lambent.model.request import RequestContext
from lambent.store.blobs import FileBlobs
from lambent.store.catalog import SqliteCatalog

class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)

def package(n):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.py", str(n))
    return out.getvalue()

async def main():
    data = Path(sys.argv[1])
    catalog, blobs = SqliteCatalog.open(data / "catalog.db"), FileBlobs(data)
    service = LambdaService(catalog, blobs, Clock())
    reconciling = asyncio.create_task(Reconciler(catalog, blobs, Clock()).run())
    context = RequestContext(account_id="123456789012", region="eu-west-1", request_id="r", base_url="http://x")
    async def call(operation, **members):
        return await service.operations[operation](context, members)
    async def one(n):
        role = "arn:aws:iam::123456789012:role/worker"
        made = await call("CreateFunction", FunctionName=f"f{n}", Runtime="python3.13", Handler="app.handler", Role=role,
                          Code={"ZipFile": package(n)}, Publish=True)
        print("function", n, made["Version"], flush=True)
        await call("CreateAlias", FunctionName=f"f{n}", Name="live", FunctionVersion="1")
        print("alias", n, "1", flush=True)
    async def some(first):
        for n in range(first, 10**9, 6):
            await one(n)
    await asyncio.gather(*(some(n) for n in range(6)))

asyncio.run(main())
"""


def acknowledged_until_killed(data: Path, lines: int) -> list[str]:
    with subprocess.Popen(
        [sys.executable, "-c", CREATOR, str(data)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        return seen + [line for line in process.stdout if line.endswith("\n")]


@pytest.mark.parametrize("lines", [3, 60, 300])
async def test_acknowledged_functions_and_their_code_are_there_after_kill_9(tmp_path: Path, lines: int) -> None:
    acknowledged = acknowledged_until_killed(tmp_path, lines)
    assert all(acknowledged)
    catalog, blobs = SqliteCatalog.open(tmp_path / "catalog.db"), FileBlobs(tmp_path)
    for line in acknowledged:
        kind, n, version = line.split()
        qualifier = "live" if kind == "alias" else version
        found = catalog.resolve("123456789012", "eu-west-1", f"f{n}", qualifier, 0.0)
        assert (found.version, found.code_digest is not None) == ("1", True)
        assert (await blobs.unpacked(found.code_digest or "") / "app.py").read_text() == n
    await blobs.close()
    await catalog.close()


async def test_a_document_is_kept_and_told_of(tmp_path: Path) -> None:
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")
    told: list[tuple[str, str, str]] = []
    catalog.subscribe_documents("mapping", lambda *key: told.append(key))
    place = (ADDRESS.account_id, ADDRESS.region)

    def work(tx: CatalogTransaction) -> None:
        tx.put_document("mapping", *place, "b", {"BatchSize": 10})
        tx.put_document("mapping", *place, "a", {"Filters": [{"Pattern": "{}"}], "Enabled": True})
        tx.put_document("other", *place, "a", {})
        assert list(tx.documents("mapping", *place)) == ["a", "b"]
        tx.put_document("mapping", *place, "c", {})
        tx.delete_document("mapping", *place, "c")
        assert tx.document("mapping", *place, "c") is None

    await catalog.transact(work)
    assert told == [(*place, "b"), (*place, "a"), (*place, "c"), (*place, "c")]
    await catalog.close()
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")
    try:
        assert catalog.documents("mapping", *place) == {
            "a": {"Filters": [{"Pattern": "{}"}], "Enabled": True},
            "b": {"BatchSize": 10},
        }
        assert catalog.document("mapping", *place, "b") == {"BatchSize": 10}
        assert catalog.document("mapping", *place, "c") is None
        assert catalog.document_places("mapping") == [place]
        assert catalog.documents("mapping", "000000000000", "eu-west-1") == {}
    finally:
        await catalog.close()
