"""Has the modules of packages and layers compiled once, so that later environments do not compile them at each start.

A package comes without bytecode, or with such that does not fit, and is read-only; a function that imports some hundred
modules spends most of its init phase with compiling them. After a long init phase they are compiled by that interpreter, in a cage like
any other, without credentials, endpoint, layers and log. Sources are hostile and so is what comes back; but whoever
uses it runs those sources anyway. See docs/decisions/0025.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import attrs
import msgspec

from lambent.invoke.environment import Environment
from lambent.invoke.pool import RoomFor
from lambent.invoke.surroundings import Surroundings
from lambent.invoke.variables import environment_variables
from lambent.model.cage import Compiler, EnvironmentSpec
from lambent.model.errors import AwsError, SandboxError
from lambent.model.function import FunctionVersion, LoggingConfig
from lambent.model.invocation import Invocation, Outcome
from lambent.model.limits import MIB
from lambent.ports import NO_TELEMETRY

log = logging.getLogger(__name__)

T = TypeVar("T")

WORTH_MS: Final = 30.0  # of init: what is shorter imports little; Python's own part of it is some 3 ms
WORTH_BYTES: Final = 64 * 1024  # of sources, which take about as long
QUIET_S: Final = 1.0  # the function that has just started goes first
MEMORY_MIB: Final = 512  # and with it 0.29 of a processor, as on AWS: this work is in nobody's way
PAGE_TIMEOUT_S: Final = 60
LIMIT_S: Final = 300.0  # what is compiled by then is kept
LIMIT_BYTES: Final = 128 * MIB  # of one directory's bytecode
REMEMBERED: Final = 4096  # directories that were looked at

_Key = tuple[Path, str, int]

AddBytecode = Callable[[Path, str, Mapping[str, bytes]], Awaitable[int]]
"""Puts modules into such a directory, compiled for that tag, by their sources' paths; says how many. Raises OSError."""


class _Page(msgspec.Struct):
    """The guest's answer."""

    modules: dict[str, bytes]
    more: bool


class Bytecode:
    """`initialised` is told of init phases; `run` compiles, one directory after the other."""

    def __init__(self, around: Surroundings, room_for: RoomFor, add_bytecode: AddBytecode) -> None:
        self._around = attrs.evolve(
            around,
            logs=_NoLog(),
            telemetry=NO_TELEMETRY,
            credentials_for=lambda _: {},
            variables_for=None,
            serve_endpoint=None,
            internet=False,
            initialised=None,
        )
        self._room_for = room_for
        self._add_bytecode = add_bytecode
        self._clock = around.clock
        self._known: collections.OrderedDict[_Key, None] = collections.OrderedDict()
        self._wanted: asyncio.Queue[tuple[FunctionVersion, EnvironmentSpec, _Key]] = asyncio.Queue(REMEMBERED)

    def initialised(self, version: FunctionVersion, spec: EnvironmentSpec, duration_ms: float) -> None:
        """See `Surroundings`."""
        compiler = spec.installation.compiler
        if compiler is None or duration_ms < WORTH_MS:
            return
        for directory in (spec.code_dir, spec.layers_dir):
            if directory is None or self._wanted.full():
                continue
            with contextlib.suppress(OSError):  # it is gone
                # One that was removed and unpacked again is another one.
                key = (directory, compiler.tag, directory.stat().st_ino)
                if self._is_new(key):
                    self._wanted.put_nowait((version, spec, key))

    def _is_new(self, key: _Key) -> bool:
        if key in self._known:
            self._known.move_to_end(key)
            return False
        self._known[key] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            version, spec, key = await self._wanted.get()
            directory = key[0]
            await self._clock.sleep(QUIET_S)
            compiler = spec.installation.compiler
            assert compiler is not None
            try:
                if not await asyncio.to_thread(_is_worth_it, directory):
                    continue
                async with asyncio.timeout(LIMIT_S):
                    await self._compile(version, spec, directory, compiler)
            except (AwsError, SandboxError) as error:  # the machine's, which may pass: after the next long init again
                self._known.pop(key, None)
                log.info("modules of %s cannot be compiled now: %s", version.qualified_arn, error)
            except (OSError, TimeoutError, msgspec.MsgspecError, _Failed) as error:
                log.info(
                    "not all modules of %s are compiled: %s", version.qualified_arn, str(error) or "it takes too long"
                )
            except Exception:  # the task's outermost edge: the packages of others wait
                log.exception("compiling %s broke; report it with this traceback", version.qualified_arn)

    async def _compile(
        self, version: FunctionVersion, spec: EnvironmentSpec, directory: Path, compiler: Compiler
    ) -> None:
        """Raises AwsError, SandboxError, OSError, MsgspecError, _Failed."""
        async with self._room_for(version):
            environment = _Compiling(version, self._around, spec, directory, compiler.handler)
            await environment.start()
        try:
            left_bytes, written, more = LIMIT_BYTES, 0, True
            while more and left_bytes > 0:
                page = await environment.next_page()
                left_bytes -= sum(len(bytecode) for bytecode in page.modules.values())
                written += await self._add_bytecode(directory, compiler.tag, page.modules)
                more = page.more and bool(page.modules)
        finally:
            await environment.stop("spindown")
        if written:
            log.info("%d modules of %s are compiled now", written, version.qualified_arn)


class _Compiling(Environment):
    """Its package is what is to be compiled; its handler compiles."""

    def __init__(
        self, version: FunctionVersion, around: Surroundings, spec: EnvironmentSpec, directory: Path, handler: str
    ) -> None:
        compiling = attrs.evolve(
            version, handler=handler, memory_mib=MEMORY_MIB, timeout_s=PAGE_TIMEOUT_S, layers=(), environment={},
            sealed=None, logging=LoggingConfig(), extra={},
        )  # fmt: skip
        super().__init__(compiling, around)
        self._of = spec
        self._directory = directory

    async def describe(self) -> EnvironmentSpec:
        return attrs.evolve(
            self._of,
            environment_id=self.id,
            code_dir=self._directory,
            layers_dir=None,
            variables=environment_variables(self.version, self._of.installation, {}, self._log.stream),
            credentials=dict,
            memory_mib=MEMORY_MIB,
            internet=False,
            image=None,
        )

    async def next_page(self) -> _Page:
        """Raises AwsError, MsgspecError, _Failed."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Outcome | AwsError] = loop.create_future()
        free: asyncio.Future[None] = loop.create_future()
        invocation = Invocation(
            request_id=str(uuid.uuid4()), account_id=self.version.account_id, region=self.version.region,
            function_name=self.version.name, payload=b"{}",
        )  # fmt: skip
        self.run(invocation, lambda _: _tell(free, None), lambda outcome: _tell(answered, outcome))
        outcome = await answered
        await free
        if isinstance(outcome, AwsError):
            raise outcome
        if outcome.function_error is not None:
            raise _Failed(outcome.payload[:200].decode(errors="replace"))
        try:
            return msgspec.json.decode(outcome.payload, type=_Page)
        except RecursionError as error:
            raise _Failed("its answer is nested too deeply") from error


class _Failed(Exception):
    """The guest's handler did."""


class _NoLog:
    """A `ports.LogSink`: no function runs, so there is nothing to be read."""

    def append(self, account_id: str, region: str, group: str, stream: str, events: Iterable[tuple[int, str]]) -> None:
        pass

    async def drained(self, account_id: str = "", region: str = "", group: str = "") -> None:
        pass


def _is_worth_it(directory: Path) -> bool:
    """Raises OSError."""
    found_bytes = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            if name.endswith(".py"):
                found_bytes += os.lstat(os.path.join(folder, name)).st_size
        if found_bytes >= WORTH_BYTES:
            return True
    return False


def _tell(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
