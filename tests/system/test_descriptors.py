"""A server that was started with a low limit of open files raises it, and survives where it cannot."""

from __future__ import annotations

import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from lambent.sandbox.descriptors import FEW
from live_server import LiveServer, running

LOW = 128
ENVIRONMENTS = 40
FUNCTIONS_OWN = 1_024  # a cage needs as many for the function
CALLERS = 130  # twelve descriptors each
CODE = "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return event\n"


def test_a_low_limit_is_raised_as_far_as_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < FEW:
        pytest.skip(f"this machine allows {hard} open files, and no more")
    monkeypatch.setattr(sys, "executable", str(limited_python(tmp_path, f"-S -n {LOW}")))
    with running(tmp_path / "data") as server:
        name = server.create(CODE, Timeout=20)
        with ThreadPoolExecutor(ENVIRONMENTS) as pool:
            answers = list(pool.map(lambda n: server.invoke(name, n).value, range(ENVIRONMENTS)))
        assert answers == list(range(ENVIRONMENTS))
        assert "open" not in server.output.read_text()


def test_what_exceeds_a_limit_that_cannot_be_raised_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may raise it again, unless it is root of a container; then this is the test above with more callers.
    monkeypatch.setattr(sys, "executable", str(limited_python(tmp_path, f"-n {FUNCTIONS_OWN}")))
    with running(tmp_path / "data") as server:
        name = server.create(CODE, Timeout=20)
        with ThreadPoolExecutor(CALLERS) as pool:
            answered = sum(pool.map(lambda n: is_answered(server, name, n), range(CALLERS)))
        assert answered > CALLERS / 4
        assert server.invoke(server.create(CODE, Timeout=20), "a cold start").value == "a cold start"


def limited_python(directory: Path, limit: str) -> Path:
    """A Python that starts below a limit of its own; the tests' own process has many files open."""
    program = directory / "python"
    program.write_text(f'#!/bin/sh\nulimit {limit}\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    subprocess.run([program, "-c", ""], check=True)
    return program


def is_answered(server: LiveServer, name: str, number: int) -> bool:
    try:
        return bool(server.invoke(name, number).value == number)
    except (ClientError, BotoCoreError):
        return False
