"""The neighbours' process: started when it is first needed, started again when it died, and talked to over a Unix socket.

The listening socket belongs to the server and outlives the process: connections made while it starts wait in its backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final

import lambent
from lambent.model.errors import AwsError, service_fault
from lambent.neighbours import frames
from lambent.neighbours.frames import LENGTHS, Answer, Failed, Question

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 64  # each costs the process a thread
STOP_S: Final = 10.0  # for what it still has to write
NOTICE_S: Final = 1.0  # how long the end of the process may go unnoticed after its connections broke
FOLDER: Final = "neighbours"
DATABASE: Final = "state.db"


class Broken(Exception):
    """The process went away before it had answered."""


class NeighboursProcess:
    """One process for one data directory. `endpoint_port` is the server's own, for what neighbours call."""

    def __init__(self, data_dir: Path, endpoint_port: int) -> None:
        self.folder = data_dir / FOLDER
        self._endpoint_port = endpoint_port
        self._listener: socket.socket | None = None
        self._folder_fd = -1
        self._process: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Task[int] | None = None
        self._starting = asyncio.Lock()
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._closed = False

    @property
    def has_state(self) -> bool:
        """Whether anything was ever kept."""
        return (self.folder / DATABASE).exists()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_running else None

    async def ask(self, question: Question, body: bytes = b"") -> tuple[Answer, bytes]:
        """A question whose whole answer is wanted. Raises AwsError."""
        answer, _, stream = await self.exchange(question, body)
        return answer, b"".join([chunk async for chunk in stream])

    async def exchange(self, question: Question, body: bytes = b"") -> tuple[Answer, int, AsyncIterator[bytes]]:
        """Sends a question; gives the answer's head, how long its body is, and that as it comes: iterate it to its end.

        Raises AwsError: the neighbour's own (`Failed`), or ServiceException when the process cannot be reached.
        """
        await self._turns.acquire()
        try:
            connection = await self._connection()
            try:
                head, body_bytes = await self._while_it_lives(_exchange(connection, question, body))
            except (OSError, EOFError) as error:
                connection[1].close()
                raise Broken(str(error)) from error
            except BaseException:  # a cancelled question leaves its answer on the connection
                connection[1].close()
                raise
        except Broken as error:
            self._turns.release()
            if self._ended is not None:  # a broken connection comes before the news of the end
                await asyncio.wait((self._ended,), timeout=NOTICE_S)
            log.warning("the neighbours' process went away while it was asked for %s", _named(question))
            raise service_fault(
                "The service was interrupted; what it had acknowledged is kept. Please try again."
            ) from error
        except BaseException:
            self._turns.release()
            raise
        answer = frames.decode_answer(head)
        stream = self._body(connection, body_bytes)
        if isinstance(answer, Failed):
            async for _ in stream:
                pass
            raise AwsError(answer.code, answer.message, answer.status, answer.fields)
        return answer, body_bytes, stream

    async def _while_it_lives(self, exchange: Coroutine[Any, Any, tuple[bytes, int]]) -> tuple[bytes, int]:
        """What waits in the backlog of a process that never came up would wait for ever. Raises Broken."""
        task = asyncio.ensure_future(exchange)
        ended = self._ended
        assert ended is not None
        try:
            await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Broken(f"the process ended with status {ended.result()}")
            return task.result()
        finally:
            task.cancel()

    async def _body(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], left: int
    ) -> AsyncIterator[bytes]:
        """What is left of the answer. Whoever does not read it to its end costs us the connection."""
        reader, writer = connection
        try:
            while left:
                chunk = await reader.read(min(left, frames.CHUNK_BYTES))
                if not chunk:
                    raise ConnectionResetError("the neighbours' process ended in the middle of an answer")
                left -= len(chunk)
                yield chunk
        finally:
            self._turns.release()
            if left or self._closed:
                writer.close()
            else:
                self._idle.append(connection)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await self._ensure_started()
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{self._folder_fd}/socket")
        except OSError as error:
            raise service_fault(f"The neighbours' process cannot be reached: {error.strerror}.") from error

    async def _ensure_started(self) -> None:
        if self.is_running:
            return
        async with self._starting:
            if self.is_running:
                return
            if self._closed:
                raise service_fault("The server is stopping.")
            if self._process is not None:
                log.warning(
                    "the neighbours' process had ended (status %s) and is started again", self._process.returncode
                )
            await self._start()

    async def _start(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
        if self._listener is None:
            self._listen()
        assert self._listener is not None
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "lambent.neighbours.moto_process", str(self._listener.fileno()),
            str(self.folder), str(self._endpoint_port),
            stdin=asyncio.subprocess.PIPE,  # it ends when this does: with the server, however that ends
            pass_fds=[self._listener.fileno()],
            env=_environment(),
        )  # fmt: skip
        self._ended = asyncio.create_task(self._process.wait(), name="neighbours' process")

    def _listen(self) -> None:
        """In a directory of ours alone; its descriptor keeps addresses short, however deep the data directory is."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            os.unlink("socket", dir_fd=self._folder_fd)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"/proc/self/fd/{self._folder_fd}/socket")
        listener.listen(CONNECTIONS_MAX)
        self._listener = listener

    async def close(self) -> None:
        """Lets it write what it has, and ends it."""
        self._closed = True
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
        process = self._process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                log.warning("the neighbours' process did not end within %d s and is killed", STOP_S)
                process.kill()
                await process.wait()
        if self._listener is not None:
            self._listener.close()
            os.close(self._folder_fd)
            self._listener = None


async def _exchange(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], question: Question, body: bytes
) -> tuple[bytes, int]:
    reader, writer = connection
    writer.write(frames.frame(question, len(body)))
    if body:
        writer.write(body)
    await writer.drain()
    head_bytes, body_bytes = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
    return await reader.readexactly(head_bytes), body_bytes


def _named(question: Question) -> str:
    return question.about if isinstance(question, frames.Ask) else f"{question.service}:{question.operation}"


def _environment() -> dict[str, str]:
    """None of the machine's AWS settings or credentials: neighbours must not reach for AWS with them."""
    own = str(Path(lambent.__file__).parent.parent)  # where this package was found, should it not be installed
    kept: dict[str, str] = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MOTO_", "BOTO"))}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (own, kept.get("PYTHONPATH"))))
    return kept
