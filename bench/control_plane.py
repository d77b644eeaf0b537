"""The control plane's figures: processor time of the server for reads, creations and pages of a list, and what 10,000 functions cost.

    python bench/control_plane.py [--quick]

Processor time is that of the server's own process, from /proc, over many requests on one connection; the client's is not
in it. Functions beyond the first are written into the catalog while the server is down: creating them one by one takes
minutes and measures something else. docs/promises.md holds the goals.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from bench.road import ROLE, Server, memory_mib
from lambent.model.function import FunctionSettings
from lambent.model.names import FunctionAddress
from lambent.ports import CatalogTransaction
from lambent.store.catalog import SqliteCatalog

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PAGE: Final = 10  # functions on a page, so that all lists have at least one full one
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
            raise SystemExit(f"{method} {path}: {answer.status} {content!r}")
        value: dict[str, Any] = json.loads(content)
        return value

    def create(self, name: str, number: int) -> None:
        code = {"ZipFile": base64.b64encode(zip_of_1_kb(number)).decode()}
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        members = {"FunctionName": name, "Role": ROLE, "Runtime": version, "Handler": "app.handler", "Code": code}
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
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S


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


def measure(quick: bool) -> dict[str, Any]:
    """Some 20 seconds; `quick` takes fewer requests."""
    times = 300 if quick else 2_000
    figures: dict[str, Any] = {}
    directory = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    directory.chmod(0o755)
    data = directory / "data"
    try:
        _with_server(data, lambda server: _first(server, figures, times))
        for count in (10, 1_000, MANY):
            fill(data, count)
            figures[f"start_{count}_s"] = round(min(_start_s(data) for _ in range(STARTS)), 3)
            _with_server(data, lambda server, count=count: _listed(server, figures, times, count))  # type: ignore[misc]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    figures["list_ratio"] = round(figures[f"list_{MANY}_ms"] / figures["list_10_ms"], 2)
    figures["many_mib"] = round(figures[f"memory_{MANY}_mib"] - figures["memory_10_mib"], 1)
    figures["many_start_s"] = round(figures[f"start_{MANY}_s"] - figures["start_10_s"], 3)
    return figures


def _start_s(data: Path) -> float:
    server = Server(data)
    server.stop()
    return server.start_s


def _with_server(data: Path, work: Callable[[Server], None]) -> None:
    server = Server(data)
    try:
        work(server)
    finally:
        server.stop()


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
        asker._connection.request("DELETE", f"/2015-03-31/functions/made-{number}")
        asker._connection.getresponse().read()


def _listed(server: Server, figures: dict[str, Any], times: int, count: int) -> None:
    asker = Asker(server)
    found = list_all(asker)
    assert found == count, f"{found} functions, not {count}"
    figures[f"memory_{count}_mib"] = round(memory_mib(server.process.pid, "Pss"), 1)
    marker = base64.urlsafe_b64encode(b"f-").decode()  # before the first of them
    page = f"/2015-03-31/functions?MaxItems={PAGE}&Marker={marker}"
    figures[f"list_{count}_ms"] = asker.processor_ms(times, lambda _: asker.ask("GET", page))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer requests; figures are rougher")
    print(json.dumps(measure(options.parse_args().quick), indent=2))


if __name__ == "__main__":
    main()
