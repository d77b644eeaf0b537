"""Functions that import much: the init phase of a package's first environment, which compiles, beside that of a later one.

Each package has a hundred modules of plain code; the figures are the Init Duration of REPORT lines.
"""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any, Final

from lambent.bench.errors import NotMeasured
from lambent.bench.figures import ratio, spread
from lambent.bench.functions import Code, create, newest, package
from lambent.bench.server import Run, Server

MODULES: Final = 100
COMPILED_TIMEOUT_S: Final = 120.0  # it has 0.29 of a processor
LOOK_EVERY_S: Final = 0.2
INDEX: Final = """
import importlib, os
for number in range({modules}):
    importlib.import_module(f"module_{{number}}")
def handler(event, context):
    return len(os.listdir("__pycache__")) if os.path.isdir("__pycache__") else 0
# {mark}
"""
MODULE: Final = '''
"""One of many."""

import dataclasses


@dataclasses.dataclass
class Order:
    number: int
    customer: str = ""
'''
FUNCTION: Final = '''
def total_{number}(lines, discount={number}, *, rounded=True):
    """What the lines come to."""
    amounts = [line["price"] * line.get("quantity", 1) for line in lines if not line.get("cancelled")]
    if not amounts:
        return 0
    try:
        found = sum(amounts) - discount * min(amounts)
    except TypeError as error:
        raise ValueError(f"line {{len(amounts)}} has no price: {{error}}") from error
    return round(found, 2) if rounded else found
'''


def measure(run: Run) -> dict[str, Any]:
    """Raises NotMeasured."""
    with run.server() as server:
        runtime = newest(server.health()["runtimes"], "python")
        if runtime is None:
            raise NotMeasured("there is no Python")
        firsts, later = [], []
        for number in range(run.pick(5, 1)):
            first_ms, later_ms = _both(server, runtime, number)
            firsts.append(first_ms)
            later.append(later_ms)
        return {
            "python": runtime, "modules": MODULES, "first_ms": spread(firsts), "later_ms": spread(later),
            "ratio": ratio(later, firsts),
        }  # fmt: skip


def _both(server: Server, runtime: str, number: int) -> tuple[float, float]:
    """Init Duration of the first environment, and of one after its modules were compiled; in milliseconds."""
    client, name = server.client(), f"imports-{number}"
    text = MODULE + "".join(FUNCTION.format(number=n) for n in range(20))
    files = {f"module_{n}.py": text for n in range(MODULES)}
    files["index.py"] = INDEX.format(modules=MODULES, mark=number)  # else all were one package
    code = Code(runtime=runtime, handler="index.handler", package=package(files))
    create(client, [name], code, MemorySize=1769)
    first_ms = _init_ms(client, name)
    deadline = time.monotonic() + COMPILED_TIMEOUT_S
    while json.loads(client.invoke(FunctionName=name)["Payload"].read()) <= MODULES:
        if time.monotonic() > deadline:
            raise NotMeasured(f"not all modules were compiled within {COMPILED_TIMEOUT_S:.0f} s")
        time.sleep(LOOK_EVERY_S)
    create(client, [f"{name}-again"], code, MemorySize=1769)
    return first_ms, _init_ms(client, f"{name}-again")


def _init_ms(client: Any, name: str) -> float:
    answer = client.invoke(FunctionName=name, LogType="Tail")
    report = base64.b64decode(answer["LogResult"]).decode()
    found = re.search(r"\tInit Duration: ([\d.]+) ms", report)
    if found is None:
        raise NotMeasured(f"no Init Duration in {report!r}")
    return float(found[1])
