"""What all folders of tests share: one real server."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from live_server import LiveServer, running

# Where the run was started in the background, Ctrl-C is ignored, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server at the best level that this machine has, with its own data, for all tests that do not end it."""
    with running(tmp_path_factory.mktemp("live") / "data") as server:
        yield server
