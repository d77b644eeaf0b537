"""How many attempts of one function run at the same time."""

from __future__ import annotations

from lambent.dispatch.lanes import GROW_EVERY_S, WINDOW_FIRST, WINDOW_MOST, Window


def full_for(window: Window, seconds: float) -> None:
    for look in range(int(seconds / 0.05) + 1):
        window.look(True, look * 0.05)


def test_it_doubles_while_slow_functions_keep_events_waiting() -> None:
    window = Window()
    window.ended(100.0, throttled=False)
    full_for(window, GROW_EVERY_S + 0.05)
    assert window.size == WINDOW_FIRST * 2
    full_for(window, 60)
    assert window.size == WINDOW_MOST


def test_functions_that_have_not_answered_yet_count_as_slow() -> None:
    window = Window()
    full_for(window, GROW_EVERY_S + 0.05)
    assert window.size == WINDOW_FIRST * 2


def test_quick_functions_get_no_more_environments() -> None:
    window = Window()
    window.ended(1.0, throttled=False)
    full_for(window, 60)
    assert window.size == WINDOW_FIRST


def test_a_moment_that_is_not_full_begins_the_wait_again() -> None:
    window = Window()
    for look in range(100):
        window.look(look % 4 != 0, look * 0.05)
    assert window.size == WINDOW_FIRST


def test_throttles_halve_it_down_to_one() -> None:
    window = Window()
    for _ in range(10):
        window.ended(1.0, throttled=True)
    assert window.size == 1
