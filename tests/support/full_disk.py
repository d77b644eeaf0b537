"""A disk that is full for a while, as a store's method meets it."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

TIMES = 3


class FullDisk:
    """Refuses the first calls of an asynchronous method; what was done meanwhile is written down again soon."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: type, method: str) -> None:
        monkeypatch.setattr("lambent.store.rewriting.REWRITE_S", 0.01)
        self.refused = 0
        works = getattr(store, method)

        async def refuses(*arguments: Any, **named: Any) -> Any:
            if self.refused < TIMES:
                self.refused += 1
                raise sqlite3.OperationalError("database or disk is full")
            return await works(*arguments, **named)

        monkeypatch.setattr(store, method, refuses)
