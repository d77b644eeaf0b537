"""A Lambda service on a real catalog and real packages; every answer is held against botocore's model."""

from __future__ import annotations

import asyncio
import io
import time
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore.session

from fake_neighbours import FakeNeighbours
from lambent.control.lambda_service import LambdaService
from lambent.invoke.reconcile import Reconciler
from lambent.model.request import RequestContext
from lambent.store.blobs import FileBlobs
from lambent.store.catalog import SqliteCatalog

ACCOUNT = "123456789012"
REGION = "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
MODEL = botocore.session.get_session().get_service_model("lambda")
PYTHON_TYPES: Mapping[str, Any] = {
    "string": str, "integer": int, "long": int, "boolean": bool, "double": (int, float), "float": (int, float),
    "blob": bytes, "list": list, "map": dict, "structure": dict, "timestamp": datetime,
}  # fmt: skip

# What AWS itself answers although its model does not list it.
BEYOND_THE_MODEL = {("LastUpdateStatusReasonCode", "Creating")}


def check_shape(shape: Any, value: Any, path: str) -> None:
    """Fails for a member that the model does not know, or a value of another type, anywhere below."""
    kind = PYTHON_TYPES[shape.type_name]
    assert isinstance(value, kind), f"{path} is {value!r}, not {shape.type_name}"
    assert kind is not int or not isinstance(value, bool), path
    if shape.type_name == "structure":
        assert value.keys() <= shape.members.keys(), f"{path} has {value.keys() - shape.members.keys()}"
        assert set(shape.required_members) <= value.keys(), path
        for name, member in value.items():
            check_shape(shape.members[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        for member in value:
            check_shape(shape.member, member, f"{path}[]")
    elif shape.type_name == "map":
        for key, member in value.items():
            check_shape(shape.key, key, f"{path} key")
            check_shape(shape.value, member, f"{path}[{key}]")
    elif shape.type_name == "string" and getattr(shape, "enum", None):
        assert value in shape.enum or (path.split(".")[-1], value) in BEYOND_THE_MODEL, f"{path} is {value!r}"


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", "/")), content)
    return out.getvalue()


class RealClock:
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Control:
    """Calls operations as the gateway does, and waits as an SDK's waiters do."""

    def __init__(self, data: Path, **options: Any) -> None:
        """`options` are those of LambdaService."""
        self.data = data
        self.clock = RealClock()
        self.catalog = SqliteCatalog.open(data / "catalog.db")
        self.blobs = FileBlobs(data)
        self.neighbours = FakeNeighbours()
        self.service = LambdaService(self.catalog, self.blobs, self.clock, self.neighbours, **options)
        self._reconciler: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.catalog.subscribe(lambda account_id, region, name: self._changed.set())

    def start_reconciling(self) -> None:
        self._reconciler = asyncio.create_task(Reconciler(self.catalog, self.blobs, self.clock).run())

    async def close(self) -> None:
        if self._reconciler is not None:
            self._reconciler.cancel()
            await asyncio.gather(self._reconciler, return_exceptions=True)
        await self.blobs.close()
        await self.catalog.close()

    async def __call__(
        self, operation: str, /, *, account_id: str = ACCOUNT, region: str = REGION, **members: Any
    ) -> dict[str, Any]:
        context = RequestContext(
            account_id=account_id, region=region, request_id="a-request", base_url="http://127.0.0.1:4566"
        )
        answer = await self.service.operations[operation](context, members)
        shape = MODEL.operation_model(operation).output_shape
        if shape is not None:
            check_shape(shape, answer, operation)
        else:
            assert answer == {}
        return answer

    async def settled(self) -> None:
        while self.catalog.pending():
            self._changed.clear()
            await self._changed.wait()

    async def create(self, name: str = "f", **members: Any) -> dict[str, Any]:
        """Creates a function and waits until it is active."""
        members = {
            "Runtime": "python3.13", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": zipped(app="1")},
        } | members  # fmt: skip
        answer = await self("CreateFunction", FunctionName=name, **members)
        if self._reconciler is not None:
            await self.settled()
        return answer
