"""kill -9 at any moment: what was acknowledged is there after the restart, and nothing of the cages is left."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from cage_census import command_lines, control_groups, descendants, loop_devices, mounts, processes_in, processes_with
from live_server import ROLE, RUNNING_PYTHON, LiveServer, package, start, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="looks at the traces of cages at level root")

CODE = "def handler(event, context):\n    return ['{}', context.function_version]\n"
WRITERS = 3
GONE_S = 20.0
AT_ONCE_S = 3.0  # it would need longer to finish


@attrs.define
class Acknowledged:
    """What the server said was done."""

    functions: dict[str, str] = attrs.field(factory=dict)  # name → CodeSha256 of $LATEST
    doubtful: set[str] = attrs.field(factory=set)  # a change was under way when the server was killed
    versions: set[tuple[str, str]] = attrs.field(factory=set)
    aliases: dict[tuple[str, str], str] = attrs.field(factory=dict)  # (function, alias) → version
    layers: set[tuple[str, int]] = attrs.field(factory=set)
    count: int = 0


class Writer(threading.Thread):
    """Creates, updates, publishes without a pause, until the server is gone."""

    def __init__(self, client: Any, prefix: str, told: Acknowledged, enough: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._prefix = prefix
        self._told = told
        self._enough = enough
        self.problem: Exception | None = None

    def run(self) -> None:
        for number in itertools.count():
            name = f"{self._prefix}-{number}"
            self._told.doubtful.add(name)
            try:
                self._one(name)
            except BotoCoreError:
                return  # the server is gone
            except ClientError as error:
                self.problem = error
                return
            self._told.doubtful.discard(name)

    def _one(self, name: str) -> None:
        client, told = self._client, self._told

        def done(answer: dict[str, Any]) -> dict[str, Any]:
            told.count += 1
            self._enough()
            return answer

        created = client.create_function(
            FunctionName=name, Runtime=RUNNING_PYTHON, Handler="app.handler", Role=ROLE, Publish=True,
            Code={"ZipFile": package({"app.py": CODE.format(name)})},
        )  # fmt: skip
        told.functions[name] = created["CodeSha256"]
        told.versions.add((name, created["Version"]))
        done(created)
        alias = client.create_alias(FunctionName=name, Name="live", FunctionVersion=created["Version"])
        told.aliases[name, "live"] = alias["FunctionVersion"]
        done(alias)
        layer = client.publish_layer_version(LayerName=name, Content={"ZipFile": package({"python/m.py": name})})
        told.layers.add((name, layer["Version"]))
        done(layer)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crash") / "data"


@pytest.fixture(scope="module")
def told() -> Acknowledged:
    """One for all servers that use `data` one after the other."""
    return Acknowledged()


@contextlib.contextmanager
def ended_at_last(server: LiveServer) -> Iterator[LiveServer]:
    try:
        yield server
    finally:
        server.stop()


def check(server: LiveServer, told: Acknowledged) -> None:
    client = server.client()
    for name, digest in told.functions.items():
        assert client.get_function_configuration(FunctionName=name)["CodeSha256"] == digest
    for name, version in told.versions:
        assert client.get_function_configuration(FunctionName=name, Qualifier=version)["Version"] == version
    for (name, alias), version in told.aliases.items():
        assert client.get_alias(FunctionName=name, Name=alias)["FunctionVersion"] == version
    for name, number in told.layers:
        assert client.get_layer_version(LayerName=name, VersionNumber=number)["Version"] == number
    listed = {
        f["FunctionName"] for page in client.get_paginator("list_functions").paginate() for f in page["Functions"]
    }
    assert set(told.functions) <= listed <= set(told.functions) | told.doubtful
    for name, _ in [*told.aliases][-2:]:  # those that were being made ready
        assert server.invoke(f"{name}:live").value == [name, "1"]


@pytest.mark.parametrize("more", [1, 7, 20, 50])
def test_what_was_acknowledged_survives(data: Path, told: Acknowledged, more: int) -> None:
    acknowledged = told.count + more
    with ended_at_last(start(data)) as server:

        def enough() -> None:
            if told.count >= acknowledged:
                server.process.send_signal(signal.SIGKILL)

        writers = [Writer(server.client(), f"after-{more}-{n}", told, enough) for n in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive()
            assert writer.problem is None, writer.problem
        server.kill()
    assert told.count >= acknowledged
    with ended_at_last(start(data)) as server:
        check(server, told)


def busy_server(data: Path) -> tuple[LiveServer, dict[int, str]]:
    """A server with environments in all states, and the processes in their cages."""
    server = start(data)
    frozen = server.create(CODE.format("frozen"))
    server.invoke(frozen)
    stubborn = server.create(
        """
        import os, signal, subprocess, time
        def handler(event, context):
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            subprocess.Popen(["/bin/sleep", "86400.5"], start_new_session=True)
            with open("/tmp/written", "wb") as file:
                file.write(bytes(1 << 20))
            time.sleep(600)
        """,
        Timeout=900,
    )
    waiting = threading.Thread(target=unanswered, args=(server, stubborn), daemon=True)
    waiting.start()
    caged = until(lambda: {p: line for p, line in command_lines().items() if "sleep 86400.5" in line})
    lines = command_lines()
    return server, caged | {pid: lines[pid] for pid in descendants(server.process.pid) if pid in lines}


def unanswered(server: LiveServer, name: str) -> None:
    with contextlib.suppress(BotoCoreError, ClientError):
        server.invoke(name)


def alive(processes: dict[int, str]) -> dict[int, str]:
    now = command_lines()
    return {pid: line for pid, line in processes.items() if now.get(pid) == line and line}


def nothing_is_left(data: Path, processes: dict[int, str]) -> None:
    until(lambda: not alive(processes), GONE_S)
    until(lambda: not processes_in(control_groups(data)), GONE_S)
    until(lambda: not control_groups(data), GONE_S)
    until(lambda: not loop_devices(data), GONE_S)
    assert not mounts(data)


def test_what_builds_the_runtimes_ends_with_the_server(tmp_path: Path) -> None:
    with ended_at_last(start(tmp_path / "data", builds=True)) as server:
        builder = f"lambent.runtimes.build {server.data}"
        until(lambda: processes_with(builder))
        server.kill()
        until(lambda: not processes_with(builder), AT_ONCE_S)


def test_a_killed_server_leaves_nothing_behind(data: Path) -> None:
    server, processes = busy_server(data)
    with ended_at_last(server):
        assert processes_in(control_groups(data))
        assert loop_devices(data)
        server.kill()
        nothing_is_left(data, processes)


def test_nothing_is_left_after_a_restart_when_the_launcher_was_killed_too(data: Path) -> None:
    server, processes = busy_server(data)
    with ended_at_last(server):
        (launcher,) = [pid for pid, line in processes.items() if "privileged.launcher" in line]
        os.kill(launcher, signal.SIGKILL)
        server.kill()
    with ended_at_last(start(data)) as server:
        until(lambda: not alive(processes), GONE_S)
        own = set(descendants(server.process.pid))
        until(lambda: set(processes_in(control_groups(data))) <= own | set(descendants(server.process.pid)), GONE_S)
        assert server.invoke(server.create(CODE.format("again"))).value[0] == "again"
        server.stop()
        nothing_is_left(data, processes)


def test_a_stopped_server_leaves_nothing_behind(data: Path) -> None:
    server, processes = busy_server(data)
    with ended_at_last(server):
        server.stop()
        assert server.process.returncode == 0, server.output.read_text()
        nothing_is_left(data, processes)
