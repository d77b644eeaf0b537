"""Environments that are forks of an interpreter's zygote, which is root."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cagebench import Bench, Running, open_to_all
from lambent.model.cage import HostMount, RuntimeInstallation, StartMethod
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.launcher import LauncherHandle, start_launcher

PREFIX = Path(sys.base_prefix)

CLIENT = """
import ctypes, errno, json, os, random, signal, sys
preloaded_as = None
def preload():
    global preloaded_as
    preloaded_as = os.geteuid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what functions find, and so every fork until then
def main():
    exec(open('/var/task/handler.py').read(), {'preloaded_as': preloaded_as})
    sys.stdout.flush()
    os._exit(0)
"""
CAN_BE_CONNECTED = """
def connected(descriptor):
    sys.connection_fd = descriptor
"""
BOOTSTRAP = "print('executed', __import__('os').getuid())\n"


class Forks:
    """Runs handlers as forks of a zygote of the tests' own interpreter."""

    def __init__(self, bench: Bench, handle: LauncherHandle, runtime_dir: Path) -> None:
        self.bench = bench
        self.launcher = handle.process.pid
        self.runtime_dir = runtime_dir

    def installation(self) -> RuntimeInstallation:
        version = "{}.{}".format(*sys.version_info[:2])
        return RuntimeInstallation(
            runtime=f"python{version}", family="python", version=version, start=StartMethod.FORK,
            executable=Path(sys.executable), argv=(f"/var/lang/bin/python{version}", "/var/runtime/bootstrap.py"),
            host_mounts=(HostMount(source=PREFIX, target="/var/lang"),), runtime_dir=self.runtime_dir,
            environment={"LD_LIBRARY_PATH": "/var/lang/lib:/opt/lib"},
        )  # fmt: skip

    async def run(self, handler: str, **changes: Any) -> Running:
        spec = self.bench.spec("", installation=self.installation(), **changes)
        (spec.code_dir / "handler.py").write_text(handler)
        running = await self.bench.launch(spec)
        await running.cage.start_runtime()
        await running.exited()
        return running

    async def tell(self, handler: str, **changes: Any) -> Any:
        running = await self.run(
            "import json, os, sys, errno\ntell = lambda x: print(json.dumps(x))\n" + handler, **changes
        )
        return json.loads(running.output)

    def waiting(self) -> list[int]:
        """The runtimes that wait for a function: children of inits, which are children of the zygote."""
        zygotes = children(self.launcher)
        inits = [init for zygote in zygotes for init in children(zygote)]
        return [runtime for init in inits for runtime in children(init) if is_alive(runtime)]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
async def forks(tmp_path: Path) -> AsyncIterator[Forks]:
    directory = open_to_all(tmp_path)
    runtime_dir = directory / "runtime"
    runtime_dir.mkdir()
    (runtime_dir / "lambent_runtime.py").write_text(CLIENT)
    (runtime_dir / "bootstrap.py").write_text(BOOTSTRAP)
    for path in (runtime_dir, *runtime_dir.iterdir()):
        path.chmod(0o755)
    handle = start_launcher(directory / "launcher", [PREFIX, runtime_dir])
    sandbox = LauncherSandbox(handle)
    bench = Bench(sandbox, directory)
    yield Forks(bench, handle, runtime_dir)
    await bench.close()
    await sandbox.close()


async def test_a_fork_has_nothing_of_the_zygotes_rights_or_descriptors(forks: Forks) -> None:
    result = await forks.tell("""
status = open('/proc/self/status').read()
opened = {}
for fd in range(1024):
    try:
        opened[fd] = os.readlink(f'/proc/self/fd/{fd}').split(':')[0]
    except OSError:
        pass
tell([preloaded_as, os.getresuid(), 'CapPrm:\\t0000000000000000' in status, 'CapBnd:\\t0000000000000000' in status,
      'Seccomp:\\t2' in status, opened, os.listdir('/run/lambent'), os.getppid()])
""")
    assert result[0] == 0  # the zygote itself was root, and did preload
    assert result[1] == [993] * 3
    assert result[2:5] == [True] * 3
    assert set(result[5].values()) - {"/proc/1/fd"} <= {"/dev/null", "pipe"}
    assert set(result[5]) == {"0", "1", "2", "3"}
    assert result[6:] == [["privileged"], 1]


async def test_a_client_that_can_be_connected_has_a_connection_to_its_runtime_api(forks: Forks) -> None:
    (forks.runtime_dir / "lambent_runtime.py").write_text(CLIENT + CAN_BE_CONNECTED)
    peer, inheritable = await forks.tell("""
import socket
made = socket.socket(fileno=sys.connection_fd)
tell([made.getpeername(), os.get_inheritable(sys.connection_fd)])
""")
    assert peer == ["127.0.0.1", 9001]
    assert not inheritable


async def test_one_that_died_while_it_waited_is_replaced_by_a_fork_of_init(forks: Forks) -> None:
    assert await forks.tell("tell(1)") == 1
    async with asyncio.timeout(20):
        while len(forks.waiting()) < 4:
            await asyncio.sleep(0.01)
        while alive := forks.waiting():  # one more may have been on its way
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
    assert await forks.tell("tell(os.getpid() > 2)")  # 2 was the one that waited


async def test_the_programs_that_made_the_cage_cannot_be_read_in_it(forks: Forks) -> None:
    assert await forks.tell("tell(os.listdir('/run/lambent/privileged'))") == []


async def test_a_fork_has_exactly_its_own_variables(forks: Forks) -> None:
    given = {"A": "1", "PATH": "/usr/bin"}
    result = await forks.tell("tell(dict(os.environ))", variables=given)
    assert set(result) == {"A", "PATH", "AWS_LAMBDA_RUNTIME_API", "AWS_ENDPOINT_URL", "_LAMBDA_TELEMETRY_LOG_FD"}


async def test_two_forks_do_not_share_their_random_numbers(forks: Forks) -> None:
    (forks.runtime_dir / "lambent_runtime.py").write_text("import multiprocessing, random\n" + CLIENT)
    drawn = [await forks.tell("import random; tell(random.random())") for _ in range(3)]
    drawn += [
        await forks.tell("import multiprocessing as mp; tell(mp.current_process().authkey.hex())") for _ in range(3)
    ]
    assert len(set(drawn)) == 6


async def test_a_fork_cannot_reach_init(forks: Forks) -> None:
    result = await forks.tell("""
def attempt(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return 'ok'
tell([attempt(open, '/proc/1/' + name) for name in ('mem', 'environ', 'maps')] + [attempt(os.listdir, '/proc/1/fd')])
""")
    assert set(result) <= {"EACCES", "EPERM"}


async def test_a_client_that_others_can_write_is_never_imported_by_root(forks: Forks) -> None:
    (forks.runtime_dir / "lambent_runtime.py").chmod(0o777)
    running = await forks.run("raise SystemExit('imported')")
    assert running.output == b"executed 993\n"


async def test_a_client_of_another_user_is_never_imported_by_root(forks: Forks) -> None:
    inner = forks.runtime_dir / "package"
    inner.mkdir()
    os.chown(inner, 65534, 65534)
    running = await forks.run("raise SystemExit('imported')")
    assert running.output == b"executed 993\n"


async def test_a_wrapper_script_turns_the_fork_into_an_execution(forks: Forks) -> None:
    layers = forks.bench.root / "wrapping"
    layers.mkdir()
    wrapper = layers / "wrap"
    wrapper.write_text('#!/bin/sh\necho wrapped "$@"\n')
    for path in (layers, wrapper):
        path.chmod(0o755)
    running = await forks.run("", layers_dir=layers, variables={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"})
    version = "{}.{}".format(*sys.version_info[:2])
    assert running.output.decode() == f"wrapped /var/lang/bin/python{version} /var/runtime/bootstrap.py\n"


async def test_init_is_deaf_to_what_its_zygote_listens_to(forks: Forks) -> None:
    running = await forks.run("""
import os
for number in range(1, 65):
    os.kill(1, number)
print(os.getppid(), 'is still there')
""")
    assert (running.output.decode(), running.exits["runtime"].exit_status) == ("1 is still there\n", 0)
