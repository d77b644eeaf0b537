"""The server's end of an init's control socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence

from lambent.model.cage import Image, ProcessExit
from lambent.model.errors import EntrypointError, SandboxError
from lambent.sandbox.privileged import wire

RUNTIME = "runtime"
START_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 2.0
HEARD_AT_ONCE = 16  # messages, before all the others of the loop have their turn

ExitCallback = Callable[[str, ProcessExit], None]


class Starting:
    """A process that init was told to start. Nobody has to ask what became of it."""

    def __init__(self, name: str, started: asyncio.Future[None]) -> None:
        self._name = name
        self._started = started

    async def done(self) -> None:
        """Raises EntrypointError when the program cannot be executed, SandboxError when init is gone."""
        try:
            await asyncio.wait_for(self._started, START_TIMEOUT_S)
        except TimeoutError as error:
            raise SandboxError(f"the environment did not start {self._name} within {START_TIMEOUT_S:.0f} s") from error


class InitControl:
    """Starts processes in one environment and hears how they end.

    `out_of_memory()` says whether the kernel has killed something of this environment for memory. When init itself goes
    away, every process that was not reported yet is reported as killed: nothing outlives its init.
    """

    def __init__(self, channel: socket.socket, out_of_memory: Callable[[], bool]) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._out_of_memory = out_of_memory
        self._loop = asyncio.get_running_loop()
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._alive: dict[str, int | None] = {}  # by the number that init has said, or not yet
        self._connecting: dict[str, asyncio.Future[socket.socket]] = {}
        self._ended: list[tuple[str, ProcessExit]] = []
        self._callback: ExitCallback | None = None
        self.is_gone = False  # init has ended, or we have let go of it

    def listen(self) -> None:
        """From when init may be there; what it has said already is heard."""
        self._loop.add_reader(self._channel.fileno(), self._readable)

    def on_exit(self, callback: ExitCallback) -> None:
        self._callback = callback
        ended, self._ended = self._ended, []
        for name, how in ended:
            callback(name, how)

    def pid_of(self, name: str) -> int | None:
        """As init sees it; None when it does not run, as far as is known."""
        return self._alive.get(name)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        variables: Mapping[str, str],
        *,
        fork: bool,
        telemetry: bool,
        ahead: bool = False,
        output_fd: int | None = None,
        image: Image | None = None,
        over: socket.socket | None = None,
    ) -> Starting:
        """Tells init, which need not be there yet; or whoever reads what is sent `over` another socket. Raises SandboxError.

        It prints to `output_fd`, or where init prints; one with an image always prints there. With `fork` or `ahead` it may
        be a process that waits already.
        """
        started: asyncio.Future[None] = self._loop.create_future()
        started.add_done_callback(_heed)
        self._starting[name] = started
        self._send(
            {"op": "start", "name": name, "argv": list(argv), "variables": dict(variables), "fork": fork,
             "ahead": ahead, "telemetry": telemetry, "image": image.use.value if image else None},
            (image.fd,) if image else () if output_fd is None else (output_fd,),
            over,
        )  # fmt: skip
        return Starting(name, started)

    def has_spoken(self, name: str) -> None:
        """So it was started, whether init has said so yet or not. When init ends, so has it."""
        self._alive.setdefault(name, None)
        if (starting := self._starting.pop(name, None)) is not None and not starting.done():
            starting.set_result(None)

    async def connect(self, port: int) -> socket.socket:
        """A connection to a port of the environment's own loopback. Raises ConnectionError, SandboxError."""
        key = uuid.uuid4().hex
        connected: asyncio.Future[socket.socket] = self._loop.create_future()
        self._connecting[key] = connected
        try:
            self._send({"op": "connect", "id": key, "port": port})
            return await asyncio.wait_for(connected, CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectionError("the environment's init does not answer; it may be frozen") from error
        finally:
            self._connecting.pop(key, None)

    def signal(self, name: str, number: int) -> None:
        """Sends a signal to one process, if it runs. Does nothing when init is gone."""
        if not self.is_gone:
            self._send({"op": "signal", "name": name, "number": number})

    def end(self) -> None:
        """Asks init to end everything."""
        if not self.is_gone:
            self._send({"op": "end"})

    def close(self) -> None:
        self._lost()

    def _send(self, message: wire.Message, descriptors: Sequence[int] = (), over: socket.socket | None = None) -> None:
        if self.is_gone:
            raise SandboxError("the environment has ended; start another one")
        try:
            wire.send(over or self._channel, message, descriptors)
        except BlockingIOError as error:
            raise SandboxError("the environment's init does not answer; destroy the environment") from error
        except OSError:
            self._lost()

    def _readable(self) -> None:
        try:
            for _ in range(HEARD_AT_ONCE):
                message, descriptors = wire.receive(self._channel)
                self._hear(message, descriptors)
        except BlockingIOError:
            return
        except (EOFError, wire.MessageError, KeyError, TypeError, ValueError):
            self._lost()

    def _hear(self, message: wire.Message, descriptors: list[int]) -> None:
        event, name = message["event"], str(message.get("name", ""))
        if event == "connected":
            self._connected(str(message["id"]), int(message["errno"]), descriptors)
            return
        wire.close_all(descriptors)
        if event == "started":
            self._alive[name] = int(message["pid"])
            self.has_spoken(name)
        elif event == "failed" and (starting := self._starting.pop(name, None)) is not None and not starting.done():
            starting.set_exception(EntrypointError(str(message["path"]), os.strerror(int(message["errno"])).lower()))
        elif event == "exit":
            self._report(name, message["status"], message["signal"], bool(message["memory"]))

    def _connected(self, key: str, code: int, descriptors: list[int]) -> None:
        connecting = self._connecting.get(key)
        if connecting is None or connecting.done():
            wire.close_all(descriptors)
        elif code or not descriptors:
            connecting.set_exception(ConnectionRefusedError(code, os.strerror(code)))
        else:
            connecting.set_result(socket.socket(fileno=descriptors[0]))

    def _report(self, name: str, status: int | None, number: int | None, watchdog: bool) -> None:
        if name not in self._alive:
            return
        del self._alive[name]
        # Memory ends processes by SIGKILL. One that crashes after a child of it was ended so did that by itself.
        killed = number == signal.SIGKILL
        how = ProcessExit(
            exit_status=status, signal=number, out_of_memory=killed and (watchdog or self._out_of_memory())
        )
        if self._callback is None:
            self._ended.append((name, how))
        else:
            self._callback(name, how)

    def _lost(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        error = SandboxError("the environment ended while it was being started")
        for starting in self._starting.values():
            if not starting.done():
                starting.set_exception(error)
        for connecting in self._connecting.values():
            if not connecting.done():
                connecting.set_exception(error)
        for name in list(self._alive):
            self._report(name, None, 9, False)


def _heed(started: asyncio.Future[None]) -> None:
    """An environment may be destroyed before anybody asks how its start went; asyncio would complain of that."""
    if not started.cancelled():
        started.exception()
