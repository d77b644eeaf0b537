"""Level `process`: no cage. For laptops and containers without namespaces.

The function runs as the server's own user and sees the server's files, processes and network. What holds: its memory
(by a watchdog), its number of file descriptors, and that nothing it started outlives its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from lambent.model.cage import EnvironmentSpec, IsolationLevel, ProcessExit
from lambent.model.errors import EntrypointError, SandboxError
from lambent.model.limits import FILE_DESCRIPTORS_MAX, MIB
from lambent.sandbox import programs
from lambent.sandbox.ends import Ends
from lambent.sandbox.initcontrol import RUNTIME, InitControl
from lambent.sandbox.privileged import wire

LISTEN_BACKLOG: Final = 1024
END_TIMEOUT_S: Final = 5.0  # for init to kill what it has; then init is killed itself
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_INIT: Final = "import sys; sys.path.insert(0, {!r}); from privileged.init import main; main()"


class ExtensionOutput:
    """The pipe that extensions print to. Most functions have none, so it is made when it is first asked for."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None

    @property
    def read_fd(self) -> int:
        return self._ends()[0]

    @property
    def write_fd(self) -> int:
        return self._ends()[1]

    def close(self) -> None:
        if self._pipe is not None:
            wire.close_all(self._pipe)
            self._pipe = None

    def _ends(self) -> tuple[int, int]:
        if self._pipe is None:
            self._pipe = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._pipe[0], False)
        return self._pipe


class ProcessCage:
    """A `ports.Cage` that is only a process tree."""

    level = IsolationLevel.PROCESS
    can_restore = False  # its interpreters are executed, and each has addresses of its own

    def __init__(self, spec: EnvironmentSpec, endpoint_url: str | None, directory: Path) -> None:
        self._spec = spec
        self._directory = directory  # private: /tmp
        self._paths = programs.PathMap.of(spec)
        self.runtime_api = listen_on_loopback()
        self.runtime_api_address = "{}:{}".format(*self.runtime_api.getsockname())
        self.endpoint: socket.socket | None = None  # the function reaches the host's loopback by itself
        self._ends = Ends(is_watched=True)
        self._extensions = ExtensionOutput()
        self._variables = self._rewritten(programs.runtime_variables(spec, self.runtime_api_address, endpoint_url))
        self._process: asyncio.subprocess.Process | None = None
        self._control: InitControl | None = None
        self._ending: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Starts init. Raises OSError."""
        descriptors = self._ends.handed_over()
        control, output, log, watch = map(str, descriptors)
        arguments = (control, output, log, str(self._spec.code_dir), str(self._spec.memory_mib * MIB),
                     watch, str(FILE_DESCRIPTORS_MAX))  # fmt: skip
        program = _INIT.format(str(Path(__file__).parent))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", program, *arguments,
            stdin=asyncio.subprocess.DEVNULL, pass_fds=descriptors, env={"LC_CTYPE": "C.UTF-8"},
        )  # fmt: skip
        self._ends.give_up_theirs()
        self._control = InitControl(self._ends.control, self._was_out_of_memory)
        self._control.listen()

    @property
    def output_fd(self) -> int:
        return self._ends.output_fd

    @property
    def log_fd(self) -> int:
        return self._ends.log_fd

    async def start_runtime(self) -> None:
        argv_list = [tuple(self._paths.path(part) for part in argv) for argv in programs.candidates(self._spec)]
        await start_first(self._init(), argv_list, self._variables)

    def runtime_has_spoken(self) -> None:
        self._init().has_spoken(RUNTIME)

    async def start_extension(self, path: str) -> None:
        await self._init().start(
            path, [self._paths.path(path)], programs.extension_variables(self._variables),
            fork=False, telemetry=False, output_fd=self._extensions.write_fd,
        ).done()  # fmt: skip

    @property
    def extension_output_fd(self) -> int:
        return self._extensions.read_fd

    def on_exit(self, callback: Callable[[str, ProcessExit], None]) -> None:
        self._init().on_exit(callback)

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To a port of the loopback, which is the host's. Raises ConnectionError."""
        return await asyncio.open_connection("127.0.0.1", port)

    def end_boost(self) -> None:
        """The processor is not limited at this level."""

    def freeze(self) -> None:
        """There is no freezer at this level."""

    def thaw(self) -> None: ...

    def peak_memory_bytes(self) -> int:
        """What the watchdog saw, and the runtime process's own high-water mark where that is more."""
        return max(self._ends.watched()[0], _high_water_bytes(self._runtime_pid()))

    def processor_time_s(self) -> float:
        """What the watchdog saw, or the runtime process and its ended children where that is more."""
        return max(self._ends.watched()[2] / 1e9, _processor_time_s(self._runtime_pid()))

    async def terminate_runtime(self) -> None:
        self._init().signal(RUNTIME, signal.SIGTERM)

    async def kill_runtime(self) -> None:
        self._init().signal(RUNTIME, signal.SIGKILL)

    async def destroy(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())
        await asyncio.shield(self._ending)

    @property
    def is_gone(self) -> bool:
        return self._ending is not None and self._ending.done()

    async def _end(self) -> None:
        await self._end_init()
        self.runtime_api.close()
        self._ends.close()
        self._extensions.close()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _end_init(self) -> None:
        if self._control is not None:
            with contextlib.suppress(SandboxError):
                self._control.end()
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), END_TIMEOUT_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._control is not None:
            self._control.close()

    def _init(self) -> InitControl:
        if self._control is None:
            raise SandboxError("the environment was not begun")
        return self._control

    def _runtime_pid(self) -> int | None:
        return None if self._control is None else self._control.pid_of(RUNTIME)

    def _was_out_of_memory(self) -> bool:
        return self._ends.watched()[1] > 0

    def _rewritten(self, variables: Mapping[str, str]) -> dict[str, str]:
        rewritten = self._paths.variables(variables, frozenset(self._spec.installation.environment))
        rewritten["TMPDIR"] = str(self._directory)
        return rewritten


class ProcessSandbox:
    """A `ports.Sandbox` that isolates nothing. `endpoint_url` is where functions find Lambent's own services."""

    level = IsolationLevel.PROCESS

    def __init__(self, endpoint_url: str | None = None, temporary_dir: Path | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._temporary_dir = temporary_dir
        self._cages: dict[str, ProcessCage] = {}

    async def launch(self, spec: EnvironmentSpec, *, at_once: bool = False) -> ProcessCage:
        """See `ports.Sandbox`; the runtime always waits."""
        if self._temporary_dir is not None:
            self._temporary_dir.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=f"lambent-{spec.environment_id[:8]}-", dir=self._temporary_dir))
        cage = ProcessCage(spec, self._endpoint_url, directory)
        try:
            await cage.begin()
        except OSError as error:
            await cage.destroy()
            raise SandboxError(f"an environment's first process could not be started: {error}") from error
        except BaseException:
            await cage.destroy()
            raise
        self._cages = {key: other for key, other in self._cages.items() if not other.is_gone}
        self._cages[spec.environment_id] = cage
        return cage

    async def prepare(self, spec: EnvironmentSpec) -> None:
        """Nothing is kept ready at this level."""

    async def close(self) -> None:
        cages, self._cages = list(self._cages.values()), {}
        await asyncio.gather(*(cage.destroy() for cage in cages))


async def start_first(
    init: InitControl,
    argv_list: list[tuple[str, ...]],
    variables: Mapping[str, str],
) -> None:
    """Starts the first of these programs that is there. Raises EntrypointError for one that is there and cannot run."""
    for last, argv in ((argv is argv_list[-1], argv) for argv in argv_list):
        try:
            await init.start(RUNTIME, argv, variables, fork=False, telemetry=True).done()
        except EntrypointError as error:
            if last or error.reason != "no such file or directory":
                raise
        else:
            return


def listen_on_loopback(port: int = 0) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _high_water_bytes(pid: int | None) -> int:
    if pid is None:
        return 0
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    peak = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak[0].split()[1]) * 1024 if peak else 0


def _processor_time_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / _CLOCK_TICKS
