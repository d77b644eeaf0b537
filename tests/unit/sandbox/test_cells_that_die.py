"""A cell or its interpreter may die at any moment while the cell is being made, and the launcher hears of it in any order."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from lambent.sandbox.privileged import wire
from lambent.sandbox.privileged.loop import Loop
from lambent.sandbox.privileged.stock import Cell, Stock, Zygote

KEY = "an installation"


@attrs.define
class Scene:
    """The launcher's stock with one order under way; the test plays the interpreter."""

    loop: Loop
    stock: Stock
    interpreter: socket.socket
    told: list[tuple[Cell | None, str]] = attrs.field(factory=list)
    ended: list[Cell] = attrs.field(factory=list)
    name: str = ""
    intake: list[int] = attrs.field(factory=list)

    def order(self, source: Zygote) -> None:
        self.stock.want(source, None, lambda cell, why: self.told.append((cell, why)))
        message, self.intake = wire.receive(self.interpreter)
        self.name = message["name"]

    def cell_ends(self) -> None:
        wire.close_all(self.intake)

    def forked(self) -> None:
        """The interpreter tells of it; by then it may have died."""
        pid = _child()
        pidfd = os.pidfd_open(pid)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        wire.send(self.interpreter, {"event": "forked", "name": self.name, "pid": pid}, [pidfd])
        os.close(pidfd)

    def failed(self) -> None:
        wire.send(self.interpreter, {"event": "failed", "name": self.name, "reason": "no processes left"})

    def interpreter_ends(self) -> None:
        self.interpreter.close()

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.loop.turn(20)


def _child() -> int:
    return os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(60)"], {})


@pytest.fixture
def scene() -> Iterator[Scene]:
    ours, theirs = wire.pair()
    loop = Loop()
    ended: list[Cell] = []
    stock = Stock(loop, None, rootless=True, endpoint_port=4566, first_host_id=0, on_end=ended.append)
    source = Zygote(ours, _child(), forks=True)
    source.ready = True
    stock._zygotes[KEY] = source
    loop.watch(ours.fileno(), lambda: stock._hear(KEY, source))
    scene = Scene(loop, stock, theirs, ended=ended)
    scene.order(source)
    yield scene
    theirs.close()
    stock.close()


WAYS = [("forked", "cell_ends"), ("failed", "cell_ends"), ("cell_ends", "interpreter_ends"),
        ("forked", "cell_ends", "interpreter_ends")]  # fmt: skip


def orders() -> list[Any]:
    """What an ended interpreter would have said, it has not said."""
    found = {order for way in WAYS for order in itertools.permutations(way)}
    return sorted(order for order in found if "interpreter_ends" not in order[:-1] or "forked" not in order)


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("order", orders(), ids=" then ".join)
def test_whoever_waits_is_told_once_and_the_launcher_goes_on(scene: Scene, order: tuple[str, ...], turns: int) -> None:
    for step in order:
        getattr(scene, step)()
        scene.turns(turns)
    scene.turns(4)
    assert [cell for cell, _ in scene.told] == [None]
    assert not scene.stock.cells
    assert len(scene.ended) == 1
