"""Whose turn it is: first come, first served within a key; keys take turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.model.fair_queue import FairQueue

KEYS = st.sampled_from("abc")


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "discard"]), KEYS)))
def test_nobody_is_passed_over_twice_by_the_same_other_one(steps: list[tuple[str, str]]) -> None:
    queue: FairQueue[str, int] = FairQueue()
    waiting: dict[str, list[int]] = {key: [] for key in "abc"}
    passed: dict[tuple[str, str], int] = {}  # (who waits, who was served) → how often since it began to wait
    for number, (what, key) in enumerate(steps):
        if what == "put":
            if not waiting[key]:
                passed = {pair: count for pair, count in passed.items() if pair[0] != key}
            waiting[key].append(number)
            queue.put(key, number)
        elif what == "discard":
            gone = waiting[key].pop() if waiting[key] else -1
            queue.discard(key, gone)
        else:
            taken = queue.take()
            served = next((name for name, values in waiting.items() if values[:1] == [taken]), None)
            assert (served is None) == (taken is None)
            if served is None:
                assert not any(waiting.values())
                continue
            waiting[served].pop(0)
            passed = {pair: count for pair, count in passed.items() if pair[0] != served}
            for other, values in waiting.items():
                if values and other != served:
                    passed[other, served] = passed.get((other, served), 0) + 1
                    assert passed[other, served] == 1
        assert len(queue) == sum(map(len, waiting.values()))
