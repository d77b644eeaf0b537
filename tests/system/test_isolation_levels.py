"""A server at each level that it can be told to use, with nothing in its data directory before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from live_server import running

LEVELS = ["rootless", "process", *(["root"] if os.geteuid() == 0 else [])]


@pytest.mark.parametrize("level", LEVELS)
def test_a_function_answers_and_has_its_own_temporary_directory(tmp_path: Path, level: str) -> None:
    code = """
        import pathlib, tempfile

        def handler(event, context):
            file = pathlib.Path(tempfile.gettempdir(), "seen")
            seen = file.exists()
            file.write_text("")
            return [event, seen]
    """
    with running(tmp_path / "data", "--isolation", level) as server:
        assert server.level == level
        first, second = server.create(code), server.create(code)
        assert server.invoke(first, 1).value == [1, False]
        assert server.invoke(first, 2).value == [2, True]
        assert server.invoke(second, 3).value == [3, False]
