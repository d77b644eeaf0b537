"""The environment's states are a table; these walk all of it."""

import itertools

import pytest

from lambent.model.lifecycle import TRANSITIONS, EnvironmentEvent, EnvironmentState, ForbiddenTransition, after


@pytest.mark.parametrize(("state", "event"), list(itertools.product(EnvironmentState, EnvironmentEvent)))
def test_every_move_is_written_down_or_forbidden(state: EnvironmentState, event: EnvironmentEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert after(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ForbiddenTransition):
            after(state, event)


def test_every_state_can_be_reached_and_every_state_but_the_last_can_be_stopped() -> None:
    reached = {EnvironmentState.LAUNCHING}
    for _ in EnvironmentState:
        reached |= {TRANSITIONS[s, e] for s, e in TRANSITIONS if s in reached}
    assert reached == set(EnvironmentState)
    for state in EnvironmentState:
        assert after(state, EnvironmentEvent.STOP) in (EnvironmentState.STOPPING, EnvironmentState.GONE)


def test_nothing_leads_back_from_the_end() -> None:
    assert {target for (state, _), target in TRANSITIONS.items() if state is EnvironmentState.GONE} == {
        EnvironmentState.GONE
    }
    assert all(
        target in (EnvironmentState.STOPPING, EnvironmentState.GONE)
        for (state, _), target in TRANSITIONS.items()
        if state is EnvironmentState.STOPPING
    )


def test_only_a_waiting_environment_takes_an_invocation() -> None:
    takers = {state for state, event in TRANSITIONS if event is EnvironmentEvent.INVOKED}
    assert takers == {EnvironmentState.IDLE, EnvironmentState.FROZEN}
