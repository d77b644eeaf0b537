"""The control plane's figures: processor time of the server for reads, creations and pages of a list, and what 10,000 functions cost.

Processor time is that of the server's own process, from /proc, over many requests on one connection; the client's is not
in it. Functions beyond the first are written into the catalog while the server is down: creating them one by one takes
minutes and measures something else.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from lambent.bench import processes
from lambent.bench.errors import NotMeasured
from lambent.bench.functions import ROLE
from lambent.bench.server import RUNNING_PYTHON, Run, Server, serving
from lambent.model.function import FunctionSettings
from lambent.model.names import FunctionAddress
from lambent.ports import CatalogTransaction
from lambent.store.catalog import SqliteCatalog

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
PAGE: Final = 10  # functions on a page, so that all lists have at least one full one
FEW: Final = 10
MANY: Final = 10_000
SEED: Final = "seed"
STARTS: Final = 5  # the quickest of them counts: what disturbs a start only ever lengthens it


def zip_of_1_kb(number: int) -> bytes:
    """Different each time, so that nothing is stored twice."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        source = f"def handler(event, context):\n    return {number}\n"
        archive.writestr("app.py", source + "#" * (900 - len(source)))
    return out.getvalue()


class Asker:
    """One kept connection to the server."""

    def __init__(self, server: Server) -> None:
        self._pid = server.process.pid
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(self, method: str, path: str, members: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if members is None else json.dumps(members)
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise NotMeasured(f"{method} {path}: {answer.status} {content!r}")
        value: dict[str, Any] = json.loads(content or b"{}")
        return value

    def create(self, name: str, number: int) -> None:
        code = {"ZipFile": base64.b64encode(zip_of_1_kb(number)).decode()}
        members = {
            "FunctionName": name,
            "Role": ROLE,
            "Runtime": RUNNING_PYTHON,
            "Handler": "app.handler",
            "Code": code,
        }
        self.ask("POST", "/2015-03-31/functions", members)

    def until_active(self, name: str) -> None:
        while self.ask("GET", f"/2015-03-31/functions/{name}/configuration")["State"] == "Pending":
            pass

    def processor_ms(self, times: int, action: Callable[[int], object]) -> float:
        """Of the server, each time."""
        before = self._processor_s()
        for number in range(times):
            action(number)
        return round((self._processor_s() - before) * 1000 / times, 3)

    def _processor_s(self) -> float:
        return processes.processor_s([self._pid])[self._pid]


def fill(data: Path, count: int) -> None:
    """So many functions in all, like the one that is there. The server must be down."""
    asyncio.run(_fill(data, count))


async def _fill(data: Path, count: int) -> None:
    catalog = SqliteCatalog.open(data / "catalog.db")
    seed = catalog.latest(FunctionAddress(ACCOUNT, REGION, SEED))
    assert seed is not None
    there = set(catalog.function_names(ACCOUNT, REGION))
    names = [name for number in range(count - 1) if (name := f"f-{number:05d}") not in there]

    def work(tx: CatalogTransaction) -> None:
        for name in names:
            tx.create_function(attrs.evolve(seed, name=name), FunctionSettings(tags={"name": name}))

    await catalog.transact(work)
    await catalog.close()


def list_all(asker: Asker) -> int:
    """Reads every page, which decodes every function."""
    count, marker = 0, ""
    while True:
        page = asker.ask("GET", f"/2015-03-31/functions?MaxItems=50&Marker={marker}")
        count += len(page["Functions"])
        if "NextMarker" not in page:
            return count
        marker = page["NextMarker"]


def measure(run: Run) -> dict[str, Any]:
    """Some 20 seconds; a quick run takes fewer requests and looks at fewer functions."""
    times, many = run.pick(2_000, 100), run.pick(MANY, 1_000)
    figures: dict[str, Any] = {"functions": many}
    with run.data() as data:
        with serving(data) as server:
            _first(server, figures, times)
        for name, count in (("few", FEW), ("many", many)):
            run.say(f"control: {count} functions")
            fill(data, count)
            figures[f"{name}_start_s"] = round(min(_start_s(data) for _ in range(run.pick(STARTS, 2))), 3)
            with serving(data) as server:
                _listed(server, figures, times, name, count)
    figures["list_ratio"] = round(figures["many_list_ms"] / figures["few_list_ms"], 2)
    figures["added_mib"] = round(figures["many_memory_mib"] - figures["few_memory_mib"], 1)
    figures["added_start_s"] = round(figures["many_start_s"] - figures["few_start_s"], 3)
    return figures


def _start_s(data: Path) -> float:
    with serving(data) as server:
        return server.start_s


def _first(server: Server, figures: dict[str, Any], times: int) -> None:
    asker = Asker(server)
    asker.create(SEED, 0)
    asker.until_active(SEED)
    asker.processor_ms(100, lambda _: asker.ask("GET", "/2015-03-31/functions"))  # warm
    figures["get_ms"] = asker.processor_ms(times, lambda _: asker.ask("GET", f"/2015-03-31/functions/{SEED}"))
    figures["get_configuration_ms"] = asker.processor_ms(
        times, lambda _: asker.ask("GET", f"/2015-03-31/functions/{SEED}/configuration")
    )
    made = times // 10

    def create(number: int) -> None:
        asker.create(f"made-{number}", number + 1)

    figures["create_ms"] = asker.processor_ms(made, create)
    for number in range(made):
        asker.until_active(f"made-{number}")
        asker.ask("DELETE", f"/2015-03-31/functions/made-{number}")


def _listed(server: Server, figures: dict[str, Any], times: int, name: str, count: int) -> None:
    asker = Asker(server)
    found = list_all(asker)
    if found != count:
        raise NotMeasured(f"the server lists {found} functions, not {count}")
    memory_mib = processes.memory_mib([server.process.pid], processes.PROPORTIONAL)
    figures[f"{name}_memory_mib"] = round(memory_mib, 1)
    marker = base64.urlsafe_b64encode(b"f-").decode()  # before the first of them
    page = f"/2015-03-31/functions?MaxItems={PAGE}&Marker={marker}"
    figures[f"{name}_list_ms"] = asker.processor_ms(times, lambda _: asker.ask("GET", page))
