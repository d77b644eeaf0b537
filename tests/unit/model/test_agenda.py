"""What is due is found by its moment, wherever that has moved to."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from lambent.model.agenda import Agenda


def test_what_is_due_comes_in_order_and_nothing_else() -> None:
    agenda: Agenda[str] = Agenda()
    for name, moment_s in (("late", 3.0), ("early", 1.0), ("middle", 2.0), ("as late", 3.0)):
        agenda.put(name, moment_s)
    assert [agenda.take(3.0), agenda.take(3.0), agenda.take(3.0)] == ["early", "middle", None]
    assert agenda.first_s == 3.0
    assert [agenda.take(), agenda.take(), agenda.take()] == ["late", "as late", None]
    assert agenda.first_s == math.inf


def test_a_thing_stands_in_it_once() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.put("thing", 1.0)
    agenda.put("thing", 5.0)
    assert len(agenda) == 1
    assert agenda.take(2.0) == "thing"
    agenda.put("thing", 5.0)
    assert agenda.take(2.0) is None


def test_what_was_discarded_does_not_come_and_can_be_put_again() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.put("thing", 1.0)
    agenda.discard("thing")
    agenda.discard("thing")
    assert len(agenda) == 0
    agenda.put("thing", 2.0)
    assert agenda.first_s == 2.0
    assert [agenda.take(), agenda.take()] == ["thing", None]


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 10)), max_size=40))
def test_whoever_puts_a_thing_in_again_at_its_moment_finds_the_first_of_all(moves: list[tuple[int, float]]) -> None:
    agenda: Agenda[int] = Agenda()
    moment_of: dict[int, float] = {}
    for thing, further_s in moves:
        moment_of[thing] = moment_of.get(thing, 0.0) + further_s
        agenda.put(thing, moment_of[thing])
    found: list[float] = []
    while (first := agenda.take()) is not None:
        if moment_of[first] > agenda.first_s:
            agenda.put(first, moment_of[first])
        else:
            found.append(moment_of[first])
    assert found == sorted(moment_of.values())
