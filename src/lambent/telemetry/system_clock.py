"""The machine's own time. Implements `ports.Clock`."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    now = staticmethod(time.time)  # asked several times in every invocation: no call of ours in between
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
