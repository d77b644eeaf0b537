"""A body in pieces: put together, and never much larger than it is."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from lambent.http1.gathered import Gathered


@given(st.lists(st.binary(max_size=10), max_size=6))
def test_the_pieces_are_put_together_and_are_gone(pieces: list[bytes]) -> None:
    gathered = Gathered()
    for piece in pieces:
        gathered.add(piece)
    assert gathered.take() == b"".join(pieces)
    assert gathered.take() == b""


def test_small_pieces_take_no_more_memory_than_their_bytes() -> None:
    gathered = Gathered()
    tracemalloc.start()
    for number in range(200_000):
        gathered.add(b"%02d" % (number % 100))
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < 2 * 400_000
