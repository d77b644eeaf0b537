"""Programs that are started before their function is known, and wait in a sealed cell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cage_census import CAGE_IDS, command_lines, descendants
from cagebench import Bench, Running, open_to_all
from lambent.model.cage import EnvironmentSpec, RuntimeInstallation, StartMethod
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.launcher import LauncherHandle, start_launcher

# What a runtime's client does: nothing, until its variables come; then the function's code is there.
PROGRAM = """
import json, os, sys
descriptor = os.environ.get('_LAMBENT_WAIT_FD')
before = {
    'environ': dict(os.environ), 'task': os.listdir('/var/task'), 'opt': os.listdir('/opt'),
    'open': sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)),
    'status': open('/proc/self/status').read(), 'others': [n for n in os.listdir('/proc') if n.isdigit()],
}
if descriptor is not None:
    with open(int(descriptor)) as given:
        text = given.read()
    if not text:
        raise SystemExit(0)
    os.environ.clear()
    os.environ.update(json.loads(text))
exec(open('/var/task/handler.py').read(), {'before': before, 'waited': descriptor is not None})
"""
GIVEN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def reads_its_variables(pid: int) -> bool:
    """It has come to the point at which it needs a function: it reads from the descriptor that it was given."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/syscall").read_text().split()[1:2] == ["0x4"]
    return False


class Waiting:
    """Functions whose program waits for them."""

    def __init__(self, bench: Bench, handle: LauncherHandle, runtime_dir: Path) -> None:
        self.bench = bench
        self.launcher = handle.process.pid
        self.runtime_dir = runtime_dir
        self.takes_connection = False

    def spec(self, handler: str, variables: Mapping[str, str] = {}, **changes: Any) -> EnvironmentSpec:
        installation = RuntimeInstallation(
            runtime="slow1", family="slow", version="1", start=StartMethod.EXEC, executable=Path(sys.executable),
            argv=("/usr/bin/python3", "-I", "/var/runtime/program.py", "{90%}"), host_mounts=(),
            runtime_dir=self.runtime_dir, environment=GIVEN, read_at_start=re.compile("LANG|SLOW_.*"),
            takes_connection=self.takes_connection,
        )  # fmt: skip
        spec = self.bench.spec(
            "", installation=installation, variables={**GIVEN, "LAMBDA_TASK_ROOT": "/var/task", **variables}, **changes
        )
        (spec.code_dir / "handler.py").write_text(handler)
        return spec

    async def run(self, handler: str, variables: Mapping[str, str] = {}, **changes: Any) -> Running:
        running = await self.bench.launch(self.spec(handler, variables, **changes))
        await running.cage.start_runtime()
        return running

    async def tell(self, expression: str, variables: Mapping[str, str] = {}, **changes: Any) -> Any:
        running = await self.run(f"import json, os; print(json.dumps({expression}))", variables, **changes)
        await running.exited()
        return json.loads(running.output)

    async def until_told(self, expression: str) -> Any:
        """Its first true value."""
        async with asyncio.timeout(20):
            while not (told := await self.tell(expression)):
                await asyncio.sleep(0.01)
        return told

    def programs(self) -> list[int]:
        """The programs that run, in use or waiting, by their number on the host."""
        lines = command_lines()
        return [pid for pid in descendants(self.launcher) if "/var/runtime/program.py" in lines.get(pid, "")]

    async def until_waiting(self, count: int) -> list[int]:
        async with asyncio.timeout(20):
            while len(found := [pid for pid in self.programs() if reads_its_variables(pid)]) != count:
                await asyncio.sleep(0.01)
        return found


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Waiting]:
    directory = open_to_all(tmp_path)
    runtime_dir = directory / "runtime"
    runtime_dir.mkdir()
    (runtime_dir / "program.py").write_text(PROGRAM)
    for path in (runtime_dir, *runtime_dir.iterdir()):
        path.chmod(0o755)
    handle = start_launcher(directory / "launcher", [runtime_dir])
    sandbox = LauncherSandbox(handle)
    bench = Bench(sandbox, directory)
    made = Waiting(bench, handle, runtime_dir)
    await sandbox.prepare(made.spec(""))
    await made.until_waiting(2)
    yield made
    await bench.close()
    await sandbox.close()


async def test_what_waits_knows_nothing_of_any_function(waiting: Waiting) -> None:
    secret = "this is another function's"
    await waiting.tell("0", {"SECRET": secret})
    for pid in await waiting.until_waiting(2):
        assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    before = await waiting.tell("before")
    assert set(before["environ"]) - {"LC_CTYPE"} == {*GIVEN, "_LAMBENT_WAIT_FD"}
    assert (before["task"], before["opt"]) == (["lib"], ["lib"])  # both empty: see layout.DIRECTORIES
    assert before["open"] == [0, 1, 2, 3, 4]
    assert before["others"] == ["1", "2"]  # its init and itself


async def test_one_that_asks_for_it_is_connected_to_its_runtime_api(waiting: Waiting) -> None:
    waiting.takes_connection = True
    peer = "__import__('socket').socket(fileno=5).getpeername()"
    before = await waiting.until_told(f"before['environ'].get('_LAMBENT_CONNECTION_FD') and {peer}")
    assert before == ["127.0.0.1", 9001]


async def test_what_waits_is_sealed_before_it_is_executed(waiting: Waiting) -> None:
    status = (await waiting.tell("before"))["status"]
    for line in ("CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
    pid = waiting.programs()[0]
    assert os.stat(f"/proc/{pid}").st_uid in CAGE_IDS
    assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


async def test_a_program_that_waited_gets_exactly_its_functions_variables(waiting: Waiting) -> None:
    told = await waiting.tell("[waited, dict(os.environ)]", {"A": "ä\n\0".rstrip("\0"), "B": "x" * 4000})
    assert told[0] is True
    names = {"A", "B", *GIVEN, "LAMBDA_TASK_ROOT", "AWS_LAMBDA_RUNTIME_API", "AWS_ENDPOINT_URL"}
    assert set(told[1]) == {*names, "_LAMBDA_TELEMETRY_LOG_FD"}
    assert (told[1]["A"], told[1]["B"]) == ("ä\n", "x" * 4000)


async def test_a_program_that_waited_is_where_its_functions_code_is(waiting: Waiting) -> None:
    told = await waiting.tell("[waited, os.getcwd(), os.path.exists('handler.py')]")
    assert told == [True, "/var/task", True]


async def test_a_program_that_waited_shares_no_directory_and_no_mask_with_its_init(waiting: Waiting) -> None:
    running = await waiting.run(
        "import os, time; os.chdir('/tmp'); os.umask(0); print(waited, flush=True); time.sleep(1000)"
    )
    assert await running.printed("\n") == "True\n"
    moved = [pid for pid in waiting.programs() if os.readlink(f"/proc/{pid}/cwd") == "/tmp"]
    status = Path(f"/proc/{moved[0]}/status").read_text()
    init = int(status.partition("PPid:\t")[2].split()[0])
    assert os.readlink(f"/proc/{init}/cwd") == "/var/task"
    assert "Umask:\t0022" in Path(f"/proc/{init}/status").read_text()


async def test_each_that_waits_serves_one_function_and_no_other(waiting: Waiting) -> None:
    first, second = [
        await waiting.tell("[waited, os.listdir('/var/task'), os.readlink('/proc/self/ns/net')]") for _ in range(2)
    ]
    assert first[0] is second[0] is True
    assert first[2] != second[2]


async def test_output_and_log_go_where_the_servers_reader_is(waiting: Waiting) -> None:
    running = await waiting.run(
        "import os; os.write(3, b'framed'); os.write(2, b'error'); print(os.path.exists('/proc/self/fd/4'))"
    )
    await running.exited()
    assert (bytes(running.output), bytes(running.logs)) == (b"errorFalse\n", b"framed")


@pytest.mark.parametrize("variables", [{"LANG": "de_DE.UTF-8"}, {"SLOW_OPTIONS": "--x"}])
async def test_variables_that_are_read_at_the_start_make_a_start_anew(
    waiting: Waiting, variables: dict[str, str]
) -> None:
    told = await waiting.tell("[waited, dict(os.environ)]", variables)
    assert told[0] is False
    assert variables.items() <= told[1].items()


async def test_a_wrapper_is_executed_although_a_program_waits(waiting: Waiting) -> None:
    layers = waiting.bench.root / "wrapping"
    layers.mkdir()
    (layers / "wrap").write_text('#!/bin/sh\nexec "$@" wrapped\n')
    for path in (layers, layers / "wrap"):
        path.chmod(0o755)
    told = await waiting.tell(
        "[waited, __import__('sys').argv[-1]]", {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"}, layers_dir=layers
    )
    assert told == [False, "wrapped"]


async def test_options_that_depend_on_the_memory_are_the_functions_own(waiting: Waiting) -> None:
    for memory_mib in (256, 1024):
        argument = await waiting.tell("__import__('sys').argv[1]", memory_mib=memory_mib)
        assert int(argument) == memory_mib * 90 // 100


async def test_one_that_died_while_it_waited_is_replaced_by_a_start_anew(waiting: Waiting) -> None:
    for pid in waiting.programs():
        os.kill(pid, 9)
    await waiting.until_waiting(0)
    assert await waiting.tell("waited") is False


async def test_a_stopped_one_delays_only_its_own_function(waiting: Waiting) -> None:
    stopped = waiting.programs()
    for pid in stopped:
        os.kill(pid, 19)
    late = await waiting.run("print(waited)")
    assert (await waiting.bench.output_of("#!/bin/sh\necho other\n")) == "other\n"
    for pid in stopped:
        os.kill(pid, 18)
    await late.exited()
    assert late.output == b"True\n"
