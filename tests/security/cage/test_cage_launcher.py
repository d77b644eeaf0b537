"""What a server that has been taken over may not make the launcher do; and what is left when either of them dies."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cagebench import Bench, open_to_all
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.launcher import LauncherHandle, start_launcher
from lambent.sandbox.privileged import wire

PROGRAM = {"argv": ["/bin/sh"], "variables": {}, "connected": False}  # to be started ahead


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[LauncherHandle]:
    allowed = open_to_all(tmp_path) / "allowed"
    allowed.mkdir()
    started = start_launcher(tmp_path / "launcher", [allowed])
    started.socket.setblocking(True)
    started.socket.settimeout(20)
    yield started
    started.close()


def _request(**changes: Any) -> dict[str, Any]:
    installation = {"mounts": [], "fork": False, "interpreter": "", "library_path": ""} | changes.pop(
        "installation", {}
    )
    return {"op": "launch", "id": uuid.uuid4().hex, "installation": installation, "memory_mib": 128, "ephemeral_mib": 512,
            "internet": False, "layers": False, "watched": True, "ordered": False, "program": None} | changes  # fmt: skip


def _ask(handle: LauncherHandle, request: dict[str, Any], code: int) -> str:
    """The launcher's reason to refuse."""
    control, other = wire.pair()
    with control, other, open("/dev/null", "r+b") as null:
        wire.send(handle.socket, request, [other.fileno(), null.fileno(), null.fileno(), null.fileno(), code])
        answer, descriptors = wire.receive(handle.socket)
    wire.close_all(descriptors)
    assert answer["event"] == "refused", answer
    return str(answer["reason"])


def test_a_directory_that_the_server_cannot_read_is_refused(handle: LauncherHandle) -> None:
    # An O_PATH descriptor can be had for any directory whose parent may be searched: /root, say.
    descriptor = os.open("/root", os.O_PATH | os.O_DIRECTORY)
    assert "opened for reading" in _ask(handle, _request(), descriptor)
    os.close(descriptor)
    descriptor = os.open("/etc/shadow", os.O_RDONLY)
    assert "must be directories" in _ask(handle, _request(), descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("source", ["/root", "/etc", "{allowed}/../../..", "/proc/1/root", "{allowed}/link"])
def test_a_host_directory_that_was_not_announced_is_refused(
    handle: LauncherHandle, tmp_path: Path, source: str
) -> None:
    (tmp_path / "allowed" / "link").symlink_to("/root")
    mounts = [[source.format(allowed=tmp_path / "allowed"), "/var/lang"]]
    code = os.open(tmp_path, os.O_RDONLY)
    reason = _ask(handle, _request(installation={"mounts": mounts}), code)
    assert "not among the installations" in reason or "Permission denied" in reason
    os.close(code)


@pytest.mark.parametrize("target", ["/", "/proc", "/var/lang/../../etc", "/var/task", "relative"])
def test_an_installation_may_not_be_put_anywhere(handle: LauncherHandle, tmp_path: Path, target: str) -> None:
    mounts = [[str(tmp_path / "allowed"), target]]
    code = os.open(tmp_path, os.O_RDONLY)
    assert "not a place" in _ask(handle, _request(installation={"mounts": mounts}), code)
    os.close(code)


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_mib": 127}, {"memory_mib": 1 << 40}, {"memory_mib": "128"}, {"ephemeral_mib": 0},
        {"ephemeral_mib": 10_241}, {"id": "../../memory"}, {"id": "A" * 32}, {"installation": {"mounts": [["/"]]}},
        {"op": "exec"}, {"layers": True}, {"watched": False}, {"ordered": True}, {"program": "/bin/sh"}, {"program": {**PROGRAM, "argv": []}},
        {"program": {**PROGRAM, "argv": ["/bin/sh\0"]}}, {"program": {**PROGRAM, "variables": {"A": 1}}},
        {"program": {**PROGRAM, "variables": {"A": "x" * 20_000}}}, {"program": {**PROGRAM, "connected": 1}},
        {"program": {**PROGRAM, "more": 1}},
    ],
)  # fmt: skip
def test_senseless_requests_are_refused_and_the_launcher_goes_on(
    handle: LauncherHandle, tmp_path: Path, changes: dict[str, Any]
) -> None:
    code = os.open(tmp_path, os.O_RDONLY)
    assert _ask(handle, _request(**changes), code)
    assert _ask(handle, _request(memory_mib=1), code)  # it still answers
    os.close(code)


@pytest.mark.parametrize(
    "interpreter", ["/bin/sh", "/var/lang/bin/python3 -c", "/var/lang/bin/../../../bin/python3", "python3"]
)
def test_a_zygote_runs_on_nothing_but_an_interpreter(handle: LauncherHandle, tmp_path: Path, interpreter: str) -> None:
    mounts = [[str(tmp_path / "allowed"), "/var/runtime"]]
    installation = {"mounts": mounts, "fork": True, "interpreter": interpreter}
    code = os.open(tmp_path, os.O_RDONLY)
    assert "not an interpreter" in _ask(handle, _request(installation=installation), code)
    os.close(code)


def test_garbage_ends_the_launcher_and_not_the_host(handle: LauncherHandle) -> None:
    handle.socket.send(b"\xff not JSON")
    assert handle.process.wait(timeout=10) == 0


async def test_a_server_that_dies_leaves_nothing(tmp_path: Path) -> None:
    directory = open_to_all(tmp_path)
    handle = start_launcher(directory / "launcher", [])
    bench = Bench(LauncherSandbox(handle), directory)
    running = await bench.run("#!/bin/bash\ntrap '' TERM; echo up; sleep 1000\n")
    await running.printed("up")
    # What the kernel does to a killed server's socket.
    handle.socket.shutdown(socket.SHUT_RDWR)
    assert await asyncio.to_thread(handle.process.wait, 15) == 0
    await running.exited()
    assert not _groups_of(directory)
    assert not (directory / "launcher" / "disks").exists()
    await bench.close()
    await bench.sandbox.close()


async def test_what_a_killed_launcher_left_is_swept_by_the_next(tmp_path: Path) -> None:
    directory = open_to_all(tmp_path)
    handle = start_launcher(directory / "launcher", [])
    bench = Bench(LauncherSandbox(handle), directory)
    running = await bench.run("#!/bin/bash\necho up; sleep 1000\n")
    await running.printed("up")
    running.cage.freeze()  # the worst case of version 1: a frozen process does not die
    os.kill(handle.process.pid, signal.SIGKILL)
    await asyncio.to_thread(handle.process.wait, 10)
    assert _groups_of(directory)
    next_handle = start_launcher(directory / "launcher", [])
    assert not [name for name in _groups_of(directory) if len(name) == 32]
    next_handle.close()
    assert not _groups_of(directory)
    await bench.close()
    await bench.sandbox.close()


async def test_a_dead_zygote_is_replaced(tmp_path: Path) -> None:
    directory = open_to_all(tmp_path)
    handle = start_launcher(directory / "launcher", [])
    bench = Bench(LauncherSandbox(handle), directory)
    assert await bench.output_of("#!/bin/sh\necho one\n") == "one\n"
    children = Path(f"/proc/{handle.process.pid}/task/{handle.process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    async with asyncio.timeout(10):
        while Path(f"/proc/{children[0]}").exists():
            await asyncio.sleep(0.01)
    assert await bench.output_of("#!/bin/sh\necho two\n") == "two\n"
    await bench.close()
    await bench.sandbox.close()


def test_level_root_is_refused_to_others(tmp_path: Path) -> None:
    program = (
        "import os, pathlib\n"
        "from lambent.sandbox.launcher import start_launcher\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: start_launcher(pathlib.Path('x'), [])\n"
        "except Exception as error: print(error)\n"
    )
    variables = {"PYTHONPATH": ":".join(sys.path)}
    shown = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, cwd=tmp_path)
    assert "needs root" in shown.stdout, shown


def _groups_of(directory: Path) -> list[str]:
    instance = directory / "launcher"
    root = Path("/sys/fs/cgroup/pids/lambent") / f"{instance.stat().st_ino:x}"
    return [entry.name for entry in root.iterdir() if entry.is_dir()] + ["."] if root.exists() else []


async def test_a_directory_put_in_the_launchers_place_is_not_used(tmp_path: Path) -> None:
    directory = open_to_all(tmp_path)
    bench = Bench(LauncherSandbox(start_launcher(directory / "launcher", [])), directory)
    assert await bench.output_of("#!/bin/sh\necho one\n") == "one\n"
    (directory / "launcher").rename(directory / "moved")
    victim = directory / "victim"
    (victim / "disks").mkdir(parents=True)
    (directory / "launcher").symlink_to(victim)
    assert await bench.output_of("#!/bin/sh\necho two\n", ephemeral_mib=600) == "two\n"
    assert (directory / "moved" / "disks" / "600").exists()
    await bench.close()
    await bench.sandbox.close()
    assert (victim / "disks").is_dir()
    assert list((victim / "disks").iterdir()) == []


async def test_groups_of_a_launcher_whose_directory_is_gone_are_swept_by_any_other(tmp_path: Path) -> None:
    directory = open_to_all(tmp_path)
    handle = start_launcher(directory / "launcher", [])
    bench = Bench(LauncherSandbox(handle), directory)
    running = await bench.run("#!/bin/bash\necho up; sleep 1000\n")
    await running.printed("up")
    os.kill(handle.process.pid, signal.SIGKILL)
    await asyncio.to_thread(handle.process.wait, 10)
    await running.exited()
    for _ in range(50):  # a group may still be emptying while the first ones look
        start_launcher(directory / "another", []).close()
        if not _groups_of(directory):
            break
    assert not _groups_of(directory)
    await bench.close()
    await bench.sandbox.close()
