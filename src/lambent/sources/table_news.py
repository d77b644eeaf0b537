"""When DynamoDB's tables may have changed, so that readers of their streams need not ask again and again."""

from __future__ import annotations

import asyncio
from typing import Final

from lambent.ports import Clock
from lambent.telemetry.waiting import first_of

# What Lambda does: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
POLL_EVERY_S: Final = 0.25
# Ours: what writes past the server (one neighbour to another, inside their process) is seen as late as that.
UNTOLD_EVERY_S: Final = 5.0


class TableNews:
    """Of all accounts and regions."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], Place] = {}

    def happened(self, account_id: str, region: str) -> None:
        """Something was written there, to whatever table."""
        place = self._places.get((account_id, region))
        if place is not None:
            place.happened()

    def of(self, account_id: str, region: str) -> Place:
        return self._places.setdefault((account_id, region), Place())


class Place:
    """An account's region."""

    def __init__(self) -> None:
        self.writes = 0
        self._next = asyncio.Event()

    def happened(self) -> None:
        self.writes += 1
        written, self._next = self._next, asyncio.Event()
        written.set()

    async def since(self, writes: int, read_s: float, clock: Clock) -> None:
        """Returns when there were more writes than that, but at most four times a second, or when it is time to look anyway.

        `read_s` is when was looked last (monotonic seconds).
        """
        if self.writes == writes:
            await first_of(self._next.wait(), clock.sleep(UNTOLD_EVERY_S))
        if (wait_s := read_s + POLL_EVERY_S - clock.monotonic()) > 0:
            await clock.sleep(wait_s)
