"""Messages between server and launcher when no more files may be opened."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

import pytest

from lambent.sandbox.privileged import wire


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Until the block ends, not one descriptor more can be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)  # the lowest that is free
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_message_whose_descriptors_are_lost_is_told_apart_and_the_next_one_arrives() -> None:
    ours, theirs = wire.pair()
    with ours, theirs, open("/dev/null") as null:
        wire.send(theirs, {"event": "launched", "id": "e"}, [null.fileno(), null.fileno()])
        with no_more_files(), pytest.raises(wire.DescriptorsLost, match="ulimit") as lost:
            wire.receive(ours)
        assert lost.value.message == {"event": "launched", "id": "e"}
        wire.send(theirs, {"event": "gone", "id": "e"}, [null.fileno()])
        message, descriptors = wire.receive(ours)
        wire.close_all(descriptors)
        assert (message, len(descriptors)) == ({"event": "gone", "id": "e"}, 1)


def test_a_nest_of_brackets_is_no_message() -> None:
    ours, theirs = wire.pair()
    with ours, theirs:
        theirs.send(b'{"op":' + b"[" * 100_000)
        with pytest.raises(wire.MessageError):
            wire.receive(ours)
