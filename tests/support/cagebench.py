"""Cages of every level that this machine can make, and small functions to put into them."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from lambent.model.cage import EnvironmentSpec, IsolationLevel, ProcessExit, RuntimeInstallation, StartMethod
from lambent.ports import Cage, Sandbox
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.launcher import start_launcher
from lambent.sandbox.process import ProcessSandbox


def shell() -> RuntimeInstallation:
    """An OS-only runtime: the function brings `bootstrap`."""
    return RuntimeInstallation(
        runtime="provided.al2023", family="provided", version="0", start=StartMethod.EXEC, executable=None, argv=(),
        host_mounts=(), runtime_dir=None,
    )  # fmt: skip


@attrs.define
class Running:
    """A cage with what it printed and how its processes ended."""

    cage: Cage
    output: bytearray = attrs.field(factory=bytearray)
    logs: bytearray = attrs.field(factory=bytearray)
    exits: dict[str, ProcessExit] = attrs.field(factory=dict)
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    def watch(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.cage.output_fd, self._read, self.cage.output_fd, self.output)
        loop.add_reader(self.cage.log_fd, self._read, self.cage.log_fd, self.logs)
        self.cage.on_exit(self._exited)

    def unwatch(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.cage.output_fd)
        loop.remove_reader(self.cage.log_fd)

    async def exited(self, name: str = "runtime") -> ProcessExit:
        await self.until(lambda: name in self.exits)
        return self.exits[name]

    async def printed(self, text: str) -> str:
        """All the output, once it contains `text`. Fails when the runtime ends without it."""
        await self.until(lambda: text.encode() in self.output or "runtime" in self.exits)
        shown = self.output.decode(errors="replace")
        assert text in shown, f"ended with {self.exits}: {shown}"
        return shown

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def _read(self, descriptor: int, into: bytearray) -> None:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
        into += data
        self.changed.set()

    def _exited(self, name: str, how: ProcessExit) -> None:
        for descriptor, into in ((self.cage.output_fd, self.output), (self.cage.log_fd, self.logs)):
            try:
                while data := os.read(descriptor, 65536):
                    into += data
            except BlockingIOError:
                pass
        self.exits[name] = how
        self.changed.set()


@attrs.define
class Bench:
    """Launches functions in one sandbox and cleans up after them."""

    sandbox: Sandbox
    root: Path
    running: list[Running] = attrs.field(factory=list)

    def spec(self, bootstrap: str, **changes: object) -> EnvironmentSpec:
        """A function whose `bootstrap` is this script."""
        code_dir = self.root / uuid.uuid4().hex
        code_dir.mkdir()
        code_dir.chmod(0o755)
        program = code_dir / "bootstrap"
        program.write_text(bootstrap)
        program.chmod(0o755)
        spec = EnvironmentSpec(
            environment_id=uuid.uuid4().hex, installation=shell(), code_dir=code_dir, layers_dir=None,
            variables={"PATH": "/usr/bin:/bin", "LAMBDA_TASK_ROOT": "/var/task", "_HANDLER": "x.y"},
            memory_mib=256, ephemeral_mib=512,
        )  # fmt: skip
        return attrs.evolve(spec, **changes)  # type: ignore[arg-type]

    async def launch(self, spec: EnvironmentSpec) -> Running:
        running = Running(await self.sandbox.launch(spec))
        running.watch()
        self.running.append(running)
        return running

    async def run(self, bootstrap: str, **changes: object) -> Running:
        running = await self.launch(self.spec(bootstrap, **changes))
        await running.cage.start_runtime()
        return running

    async def output_of(self, bootstrap: str, **changes: object) -> str:
        """What a script prints until it ends."""
        running = await self.run(bootstrap, **changes)
        await running.exited()
        return running.output.decode(errors="replace")

    async def close(self) -> None:
        for running in self.running:
            running.unwatch()
            await running.cage.destroy()


def open_to_all(directory: Path) -> Path:
    """Lets every uid enter a temporary directory, as they may the store's."""
    for parent in (directory, *directory.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
        if parent.name.startswith("pytest-of"):
            break
    return directory


def make_sandbox(level: IsolationLevel, directory: Path, allowed: Sequence[Path] = ()) -> Sandbox:
    if level is IsolationLevel.PROCESS:
        return ProcessSandbox("http://127.0.0.1:4566", directory)
    return LauncherSandbox(start_launcher(directory / "launcher", allowed, level=level))
