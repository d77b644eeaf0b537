"""Attackers in real cages at level `root`."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cagebench import Bench, make_sandbox, open_to_all
from conftest_types import Attempt
from lambent.model.cage import IsolationLevel

_PROLOGUE = """#!/usr/bin/python3 -ISE
import ctypes, errno, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    "A system call's answer: 'ok' or the name of its error."
    libc.syscall.restype = ctypes.c_long
    arguments = [a if isinstance(a, bytes) or a is None else ctypes.c_long(a) for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(action, *arguments):
    "The same for a Python function."
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return 'ok'
def tell(result):
    print('RESULT' + json.dumps(result), flush=True)
"""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    assert os.geteuid() == 0, "the cage's own tests need root"
    directory = open_to_all(tmp_path)
    sandbox = make_sandbox(IsolationLevel.ROOT, directory)
    bench = Bench(sandbox, directory)
    yield bench
    await bench.close()
    await sandbox.close()


@pytest.fixture
def attempt(bench: Bench) -> Attempt:
    """Runs Python inside a cage and returns what it `tell`s."""

    async def run(program: str, **changes: Any) -> Any:
        output = await bench.output_of(_PROLOGUE + program, **changes)
        results = [line for line in output.splitlines() if line.startswith("RESULT")]
        assert results, output
        return json.loads(results[-1].removeprefix("RESULT"))

    return run


@pytest.fixture
def prologue() -> str:
    return _PROLOGUE
