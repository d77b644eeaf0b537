"""What all folders of tests share: one real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from live_server import LiveServer, running


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server at the best level that this machine has, with its own data, for all tests that do not end it."""
    with running(tmp_path_factory.mktemp("live") / "data") as server:
        yield server
