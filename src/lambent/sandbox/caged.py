"""Levels `root` and `rootless`: cages that the launcher makes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import re
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from lambent.model.cage import EnvironmentSpec, ImageUse, IsolationLevel, ProcessExit
from lambent.model.errors import OutOfDescriptors, SandboxError
from lambent.model.limits import INIT_PHASE_S, MIB
from lambent.sandbox import programs
from lambent.sandbox.ends import Ends
from lambent.sandbox.initcontrol import RUNTIME, InitControl, Starting
from lambent.sandbox.launcher import LauncherHandle
from lambent.sandbox.privileged import cgroups, layout, wire
from lambent.sandbox.process import ExtensionOutput, start_first

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S: Final = 30.0  # the first launch of an interpreter starts its zygote
GONE_TIMEOUT_S: Final = 20.0
SPARE_AFTER_S: Final = 0.02  # a launch: the function that is starting needs the processor more
_FROZEN: Final = {1: (b"FROZEN", b"THAWED"), 2: (b"1", b"0")}


class LaunchRefused(SandboxError):
    """The launcher says why it did not build the environment."""


class LauncherCage:
    """A `ports.Cage` made by the launcher. The server holds the descriptors, so freezing and reading cost no hop."""

    def __init__(self, spec: EnvironmentSpec, handle: LauncherHandle, ends: Ends, forget: Callable[[str], Any]) -> None:
        self.level: IsolationLevel = handle.level
        self._spec = spec
        self._handle = handle
        self._forget = forget  # asks the launcher to destroy it, and waits
        self._fork = False
        self._begun: Starting | None = None  # the runtime, before the cage was there
        self._files: dict[str, int] = {}
        self._boost: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._open = True
        self.runtime_api: socket.socket
        self.runtime_api_address = f"127.0.0.1:{layout.RUNTIME_API_PORT}"
        self.endpoint: socket.socket | None = None
        self._ends = ends
        self._extensions = ExtensionOutput()
        self._control = InitControl(ends.control, self._was_out_of_memory)

    @property
    def output_fd(self) -> int:
        return self._ends.output_fd

    @property
    def log_fd(self) -> int:
        return self._ends.log_fd

    def launched(self, answer: wire.Message, descriptors: list[int]) -> None:
        """The launcher has made it: its own pipes come first where it has some, then listeners and control groups' files."""
        self._fork = bool(answer["fork"])
        self._control.listen()
        ends = self._ends
        if answer["pipes"]:
            wire.close_all([ends.output_fd, ends.log_fd])
            ends.output_fd, ends.log_fd, *descriptors = descriptors
            os.set_blocking(ends.output_fd, False)
            os.set_blocking(ends.log_fd, False)
        count = int(answer["listeners"])
        self._files = dict(zip(answer["roles"], descriptors[count:], strict=True))
        ends.give_up_theirs()
        listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors[:count]]
        self.runtime_api = listeners[0]
        self.endpoint = listeners[1] if len(listeners) > 1 else None

    @property
    def can_restore(self) -> bool:
        return self._fork and programs.starts_by_fork(self._spec)

    @property
    def has_one_program(self) -> bool:
        """Where several may be tried, `start_runtime` does that."""
        return self._spec.image is not None or len(self._candidates) == 1

    def begin_runtime(self) -> None:
        """The order to start it, to be read by whoever does that as soon as the launcher has made the cage."""
        self._begun = self._order(self._ends.order)

    def _order(self, over: socket.socket | None) -> Starting:
        spec, image = self._spec, self._spec.image
        if image is not None:
            mark = {"_LAMBENT_TAKES_IMAGE": "1"} if image.use is ImageUse.TAKE else {}
            variables = {**self._variables, **mark}
            return self._control.start(RUNTIME, (), variables, fork=True, telemetry=True, image=image, over=over)
        return self._control.start(
            RUNTIME, self._candidates[0], self._variables,
            fork=programs.starts_by_fork(spec), ahead=programs.starts_ahead(spec), telemetry=True, over=over,
        )  # fmt: skip

    async def start_runtime(self) -> None:
        self._boost = asyncio.get_running_loop().call_later(INIT_PHASE_S, self.end_boost)
        if self.has_one_program:
            await (self._begun or self._order(None)).done()
        else:
            await start_first(self._control, self._candidates, self._variables)

    def runtime_has_spoken(self) -> None:
        self._control.has_spoken(RUNTIME)

    async def start_extension(self, path: str) -> None:
        variables = programs.extension_variables(self._variables)
        await self._control.start(
            path, [path], variables, fork=False, telemetry=False, output_fd=self._extensions.write_fd
        ).done()

    @functools.cached_property
    def _candidates(self) -> list[tuple[str, ...]]:
        return programs.candidates(self._spec)

    @functools.cached_property
    def _variables(self) -> dict[str, str]:
        port = self._handle.endpoint_port
        endpoint_url = f"http://127.0.0.1:{port}" if port else None
        return programs.runtime_variables(self._spec, self.runtime_api_address, endpoint_url)

    @property
    def extension_output_fd(self) -> int:
        return self._extensions.read_fd

    def on_exit(self, callback: Callable[[str, ProcessExit], None]) -> None:
        self._control.on_exit(callback)

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To a port of the loopback inside. Raises ConnectionError, SandboxError."""
        connection = await self._control.connect(port)
        connection.setblocking(False)
        return await asyncio.open_connection(sock=connection)

    def end_boost(self) -> None:
        """The init phase is over: from now on it has the processor's share of its memory. Happens by itself after 10 s."""
        if self._boost is not None:
            self._boost.cancel()
            self._boost = None
            quota = str(cgroups.quota_us(self._spec.memory_mib * MIB))
            self._write(
                "quota", (quota if self._handle.cgroup_version == 1 else f"{quota} {cgroups.PERIOD_US}").encode()
            )

    def freeze(self) -> None:
        self._write("freezer", _FROZEN[self._handle.cgroup_version or 1][0])

    def thaw(self) -> None:
        self._write("freezer", _FROZEN[self._handle.cgroup_version or 1][1])

    def peak_memory_bytes(self) -> int:
        return int(self._read("peak") or 0) if "peak" in self._files else self._ends.watched()[0]

    def processor_time_s(self) -> float:
        if "processor_time" not in self._files:
            return self._ends.watched()[2] / 1e9
        text = self._read("processor_time")
        if self._handle.cgroup_version == 2:
            usage = re.search(r"^usage_usec (\d+)", text, re.MULTILINE)
            return int(usage[1]) / 1e6 if usage else 0.0
        return int(text or 0) / 1e9

    async def terminate_runtime(self) -> None:
        self.thaw()
        self._control.signal(RUNTIME, signal.SIGTERM)

    async def kill_runtime(self) -> None:
        self.thaw()
        self._control.signal(RUNTIME, signal.SIGKILL)

    async def destroy(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        if self._boost is not None:
            self._boost.cancel()
            self._boost = None
        try:
            await self._forget(self._spec.environment_id)
        finally:
            self._control.close()
            self._open = False
            for listener in (getattr(self, "runtime_api", None), self.endpoint):
                if listener is not None:
                    listener.close()
            self._ends.close()
            wire.close_all(self._files.values())
            self._extensions.close()

    def _write(self, role: str, text: bytes) -> None:
        descriptor = self._files.get(role) if self._open else None
        if descriptor is not None:
            try:
                os.pwrite(descriptor, text, 0)
            except OSError as error:
                if not self._control.is_gone:  # else its groups are going away
                    raise SandboxError(f"the environment's {role} cannot be set: {error}") from error

    def _read(self, role: str) -> str:
        descriptor = self._files.get(role) if self._open else None
        if descriptor is None:
            return ""
        try:
            return os.pread(descriptor, 4096, 0).decode()
        except OSError:
            return ""  # the groups are gone

    def _was_out_of_memory(self) -> bool:
        killed = re.search(r"^oom_kill (\d+)", self._read("memory_events"), re.MULTILINE)
        return int(killed[1]) > 0 if killed else self._ends.watched()[1] > 0


class LauncherSandbox:
    """A `ports.Sandbox` over the launcher's socket. Made on the event loop; owns the handle from then on."""

    def __init__(self, handle: LauncherHandle) -> None:
        self.level: IsolationLevel = handle.level
        self._handle = handle
        self._answers: dict[str, asyncio.Future[tuple[wire.Message, list[int]]]] = {}
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._cages: dict[str, LauncherCage] = {}
        self._spare: Ends | None = None  # of the next one
        self._lost = False
        self._outgoing: asyncio.Lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(handle.socket.fileno(), self._readable)

    async def launch(self, spec: EnvironmentSpec, *, at_once: bool = False) -> LauncherCage:
        """Asks twice where it was refused: an interpreter may have died, and nothing of the function has begun."""
        try:
            return await self._launch(spec, at_once=at_once)
        except LaunchRefused as error:
            log.warning("an environment could not be built (%s); trying once more", error)
            return await self._launch(spec, at_once=at_once)

    async def _launch(self, spec: EnvironmentSpec, *, at_once: bool) -> LauncherCage:
        ends, self._spare = self._spare or self._new_ends(), None
        cage = LauncherCage(spec, self._handle, ends, self._destroy)
        self._cages[spec.environment_id] = cage
        try:
            begins = at_once and cage.has_one_program
            cage.launched(*await self._ask_to_launch(spec, ends, cage.begin_runtime if begins else None))
        except BaseException:
            await cage.destroy()
            raise
        self._loop.call_later(SPARE_AFTER_S, self._make_spare)
        return cage

    def _new_ends(self) -> Ends:
        try:
            return Ends(is_watched=self._handle.cgroup_version is None, is_ordered=True)
        except OSError as error:
            raise _trouble("no pipes can be made", error) from error

    def _make_spare(self) -> None:
        if self._spare is None and not self._lost:
            with contextlib.suppress(SandboxError):  # too many files are open; the next launch says so
                self._spare = self._new_ends()

    async def prepare(self, spec: EnvironmentSpec) -> None:
        await self._ask({
            "op": "prepare", "id": f"prepare {spec.environment_id}", "installation": installation_of(spec),
            "program": program_of(spec),
        })  # fmt: skip

    async def close(self) -> None:
        await asyncio.gather(*(cage.destroy() for cage in list(self._cages.values())))
        self._fail("the sandbox was closed")
        if self._spare is not None:
            self._spare.close()
        await asyncio.to_thread(self._handle.close)

    async def _ask_to_launch(
        self, spec: EnvironmentSpec, ends: Ends, begin: Callable[[], None] | None
    ) -> tuple[wire.Message, list[int]]:
        """With `begin` the runtime starts as soon as its code is there, by the order that `begin` sends."""
        orders = [ends.order_theirs.fileno()] if begin is not None and ends.order_theirs is not None else []
        message = {
            "op": "launch", "id": spec.environment_id, "installation": installation_of(spec),
            "program": program_of(spec), "memory_mib": spec.memory_mib, "ephemeral_mib": spec.ephemeral_mib, "internet": spec.internet,
            "layers": spec.layers_dir is not None, "watched": self._handle.cgroup_version is None, "ordered": bool(orders),
        }  # fmt: skip
        directories: list[int] = []
        try:
            directories.append(_open_directory(spec.code_dir))
            if spec.layers_dir is not None:
                directories.append(_open_directory(spec.layers_dir))
            return await self._ask(message, [*ends.handed_over(), *orders, *directories], begin)
        except OSError as error:
            raise _trouble("the function's code cannot be read", error) from error
        finally:
            wire.close_all(directories)

    async def _ask(
        self, message: wire.Message, descriptors: Sequence[int] = (), meanwhile: Callable[[], None] | None = None
    ) -> tuple[wire.Message, list[int]]:
        """`meanwhile` is called when the launcher has been told, and works."""
        key = str(message["id"])
        answer: asyncio.Future[tuple[wire.Message, list[int]]] = self._loop.create_future()
        self._answers[key] = answer
        try:
            await self._send(message, descriptors)
            if meanwhile is not None:
                meanwhile()
            return await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise SandboxError(f"the launcher did not answer within {ANSWER_TIMEOUT_S:.0f} s") from error
        finally:
            self._answers.pop(key, None)

    async def _destroy(self, environment_id: str) -> None:
        gone: asyncio.Future[None] = self._loop.create_future()
        self._leaving[environment_id] = gone
        try:
            await self._send({"op": "destroy", "id": environment_id})
            await asyncio.wait_for(gone, GONE_TIMEOUT_S)
        except TimeoutError as error:
            raise SandboxError(f"the environment did not end within {GONE_TIMEOUT_S:.0f} s") from error
        except SandboxError:
            if not self._lost:
                raise  # without a launcher there are no environments either
        finally:
            self._leaving.pop(environment_id, None)
            self._cages.pop(environment_id, None)

    async def _send(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        async with self._outgoing:
            while True:
                if self._lost:
                    raise SandboxError("the launcher has ended; restart Lambent")
                try:
                    wire.send(self._handle.socket, message, descriptors)
                except BlockingIOError:
                    await self._writable()
                except OSError:
                    self._fail("the launcher has ended; restart Lambent")
                else:
                    return

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._handle.socket.fileno(), _resolve, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._handle.socket.fileno())

    def _readable(self) -> None:
        try:
            while True:
                try:
                    message, descriptors = wire.receive(self._handle.socket)
                except wire.DescriptorsLost as error:
                    self._lost_descriptors(str(error.message["id"]), str(error))
                else:
                    self._hear(message, descriptors)
        except BlockingIOError:
            return
        except (EOFError, wire.MessageError):
            self._fail("the launcher has ended; restart Lambent")

    def _lost_descriptors(self, key: str, reason: str) -> None:
        answer = self._answers.get(key)
        if answer is not None and not answer.done():
            answer.set_exception(OutOfDescriptors(reason))

    def _hear(self, message: wire.Message, descriptors: list[int]) -> None:
        event, key = str(message["event"]), str(message["id"])
        answer = self._answers.get(key)
        if event == "gone":
            wire.close_all(descriptors)
            leaving = self._leaving.get(key)
            if leaving is not None and not leaving.done():
                leaving.set_result(None)
        elif answer is None or answer.done():
            wire.close_all(descriptors)
        elif event == "refused":
            wire.close_all(descriptors)
            answer.set_exception(LaunchRefused(str(message["reason"])))
        else:
            answer.set_result((message, descriptors))

    def _fail(self, reason: str) -> None:
        if self._lost:
            return
        self._lost = True
        self._loop.remove_reader(self._handle.socket.fileno())
        error = SandboxError(reason)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for leaving in self._leaving.values():
            if not leaving.done():
                leaving.set_result(None)


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _trouble(what: str, error: OSError) -> SandboxError:
    kind = OutOfDescriptors if error.errno == errno.EMFILE else SandboxError
    return kind(f"{what}: {error}")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def installation_of(spec: EnvironmentSpec) -> wire.Message:
    """What the launcher has to know of an installation; equal ones share a zygote."""
    installation = spec.installation
    mounts = [[str(mount.source), mount.target] for mount in installation.host_mounts]
    if installation.runtime_dir is not None:
        mounts.append([str(installation.runtime_dir), "/var/runtime"])
    fork = programs.starts_by_fork(spec)
    return {
        "mounts": mounts,
        "fork": fork,
        "interpreter": installation.argv[0] if fork else "",
        "library_path": installation.environment.get("LD_LIBRARY_PATH", "") if fork else "",
    }


def program_of(spec: EnvironmentSpec) -> wire.Message | None:
    """What cells may start ahead for functions like this one. Nothing in it is any function's own."""
    if spec.image is not None and spec.image.use is ImageUse.RESTORE:
        return layout.RESTORE
    if not programs.starts_ahead(spec):
        return None
    installation = spec.installation
    return {
        "argv": list(spec.argv),
        "variables": dict(installation.environment),
        "connected": installation.takes_connection,
    }
