"""Which packages are compiled, and when it is tried again."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from hand_clock import HandClock
from lambent.invoke.bytecode import WORTH_BYTES, WORTH_MS, Bytecode
from lambent.invoke.surroundings import Surroundings
from lambent.model.cage import Compiler, EnvironmentSpec, RuntimeInstallation, StartMethod
from lambent.model.concurrency import throttled
from lambent.model.function import FunctionVersion

INSTALLATION = RuntimeInstallation(
    runtime="python3.12", family="python", version="3.12.1", start=StartMethod.FORK, executable=None, argv=(),
    host_mounts=(), runtime_dir=None, compiler=Compiler("lambent_bytecode.handler", "cpython-312"),
)  # fmt: skip
VERSION = FunctionVersion(
    account_id="000000000000", region="r", name="f", version="$LATEST", role="r", runtime="python3.12", handler="h"
)


class World:
    """There is no room for anything; who asks for some is counted."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "big.py").write_text("#" * WORTH_BYTES)
        self.spec = EnvironmentSpec(
            environment_id="0" * 32, installation=INSTALLATION, code_dir=directory, layers_dir=None, variables={},
            memory_mib=128, ephemeral_mib=512,
        )  # fmt: skip
        self.asked = 0
        nothing = cast(Any, None)
        around = Surroundings(
            sandbox=nothing,
            blobs=nothing,
            logs=nothing,
            clock=HandClock(),
            installation_for=nothing,
            credentials_for=nothing,
        )
        self.bytecode = Bytecode(around, self.room_for, nothing)

    def room_for(self, version: FunctionVersion) -> AbstractAsyncContextManager[bool]:
        self.asked += 1
        raise throttled("ReservedFunctionConcurrentInvocationLimitExceeded")

    @property
    def wanted(self) -> int:
        return self.bytecode._wanted.qsize()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "package")


def test_each_directory_is_wanted_once(world: World) -> None:
    for _ in range(3):
        world.bytecode.initialised(VERSION, world.spec, WORTH_MS)
    assert world.wanted == 1
    layers = attrs.evolve(world.spec, layers_dir=world.spec.code_dir.parent)
    world.bytecode.initialised(VERSION, layers, WORTH_MS)
    assert world.wanted == 2


def test_a_short_init_another_language_and_a_directory_that_is_gone_are_not(world: World) -> None:
    world.bytecode.initialised(VERSION, world.spec, WORTH_MS - 1)
    without = attrs.evolve(world.spec, installation=attrs.evolve(INSTALLATION, compiler=None))
    world.bytecode.initialised(VERSION, without, WORTH_MS)
    world.bytecode.initialised(VERSION, attrs.evolve(world.spec, code_dir=world.spec.code_dir / "gone"), WORTH_MS)
    assert world.wanted == 0


def test_a_package_that_was_made_anew_is_another_one(world: World) -> None:
    world.bytecode.initialised(VERSION, world.spec, WORTH_MS)
    world.spec.code_dir.rename(world.spec.code_dir.with_name("old"))
    world.spec.code_dir.mkdir()
    world.bytecode.initialised(VERSION, world.spec, WORTH_MS)
    assert world.wanted == 2


async def test_what_the_machine_had_no_room_for_is_tried_after_the_next_long_init(world: World) -> None:
    working = asyncio.create_task(world.bytecode.run())
    async with asyncio.timeout(10):
        while world.asked < 3:
            world.bytecode.initialised(VERSION, world.spec, WORTH_MS)
            await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
