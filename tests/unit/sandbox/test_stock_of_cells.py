"""Whoever waits for a cell is given one or told why not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent.sandbox.privileged import wire
from lambent.sandbox.privileged.cgroups import Group
from lambent.sandbox.privileged.loop import Loop
from lambent.sandbox.privileged.shelf import Shelf
from lambent.sandbox.privileged.stock import Cell, Stock, Zygote


@pytest.fixture
def channel() -> Iterator[socket.socket]:
    ours, theirs = wire.pair()
    with ours, theirs:
        yield ours


def test_when_no_cell_can_be_made_everybody_is_told(channel: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = Stock(
        Loop(), None, rootless=True, endpoint_port=4566, first_host_id=0, on_end=lambda cell: None, budget_mib=100
    )
    source = Zygote(channel, -1, forks=True)
    told: list[tuple[Cell | None, str]] = []
    for _ in range(3):  # the interpreter is not ready yet, so they wait
        stock.want(source, None, lambda cell, why: told.append((cell, why)))
    assert told == []

    def no_room(self: Stock, source: Zygote, shelf: Shelf) -> tuple[Cell, socket.socket]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Stock, "_new_cell", no_room)
    source.ready = True
    stock.want(source, None, lambda cell, why: told.append((cell, why)))
    assert [cell for cell, _ in told] == [None] * 4
    assert all("Too many open files" in why for _, why in told)
    assert not any(shelf.lacks for shelf in source.shelves.values()), (
        "nothing is made ahead before a launch has succeeded again"
    )


def test_a_program_counts_as_what_it_takes_once_it_has_started(channel: socket.socket, tmp_path: Path) -> None:
    shelf = Shelf("jvm", {"argv": ["java"], "variables": {}, "connected": True}, 0.0)
    (tmp_path / "peak").write_text(str(40 << 20))
    with (tmp_path / "peak").open("rb") as peak:
        cell = Cell(Zygote(channel, -1, forks=False), shelf, 0, Group([], {"peak": peak.fileno()}, {}), socket.socket())
        shelf.sealed.append(cell)
        assert 0 < shelf.cost_mib(cell.made_s + 0.1) < 40
        assert shelf.cost_mib(cell.made_s + 60.0) == 41  # one of them for what the kernel does not count
    shelf.sealed.clear()
    assert shelf.cost_mib(cell.made_s + 61.0) == 41
    cell.intake.close()


def test_a_descriptor_that_was_closed_and_given_out_again_in_one_turn_is_not_read() -> None:
    loop = Loop()
    first, second = os.pipe(), os.pipe()
    called = []

    def read_first() -> None:
        called.append("first")
        loop.unwatch(second[0])  # what was watched ends, and its number is given to something that is silent
        os.close(second[0])
        os.close(second[1])
        again = os.pipe()
        assert again[0] == second[0]
        loop.watch(again[0], lambda: called.append("a silent one"))

    loop.watch(first[0], read_first)
    loop.watch(second[0], lambda: called.append("second"))
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    assert loop.turn(1000)
    assert called == ["first"]
    for number in (*first, *second):
        os.close(number)
