"""SnapStart's images by function version: made when a version is published, and again when one is missing.

They are memory of this server and end with it. A version without one starts its environments as others do, and its next
start has a new one made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from lambent.invoke.image import Template, Unfit
from lambent.invoke.original import Original, OriginalFailed
from lambent.invoke.pool import RoomFor
from lambent.model.errors import AwsError, SandboxError
from lambent.model.function import FunctionVersion
from lambent.model.limits import MIB
from lambent.ports import Catalog, Clock

log = logging.getLogger(__name__)

AT_ONCE: Final = 8  # init phases of originals side by side
IDLE_S: Final = 6 * 3600.0  # an image that nothing was restored from for so long is dropped
SWEEP_S: Final = 30.0
RETRY_S: Final = 60.0  # after a fault of this machine's, which may pass

_Key = tuple[str, str, str, str, tuple[str, str, str | None]]


class Templates:
    """`make(version)` is the environment that an image is taken of; `budget_mib` bounds all images together."""

    def __init__(
        self,
        catalog: Catalog,
        make: Callable[[FunctionVersion], Original],
        room_for: RoomFor,
        clock: Clock,
        budget_mib: int,
    ) -> None:
        self._catalog = catalog
        self._make = make
        self._room_for = room_for
        self._clock = clock
        self._budget_bytes = budget_mib * MIB
        self._found: dict[_Key, Template] = {}
        self._without: dict[_Key, float] = {}  # versions that can have none, until this moment (monotonic seconds)
        self._making: dict[_Key, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        catalog.subscribe(self._function_changed)

    def find(self, version: FunctionVersion) -> Template | None:
        """For an environment that is about to start. Where there should be an image and is none, it is made for the next."""
        if not version.snap_starts or not self._budget_bytes:
            return None
        key = _key(version)
        template = self._found.get(key)
        if template is not None:
            template.used_at = self._clock.monotonic()
        elif key not in self._making and self._without.get(key, 0.0) <= self._clock.monotonic():
            self._begin(key, version)
        return template

    def has(self, version: FunctionVersion) -> bool:
        """Whether its next environment will be restored: its OptimizationStatus."""
        return _key(version) in self._found

    async def prepare(self, version: FunctionVersion) -> None:
        """Makes the image of a version that is being published; returns as well when it can have none.

        Raises OriginalFailed.
        """
        key = _key(version)
        if key not in self._found and self._budget_bytes:
            await self._make_one(key, version)

    def drop(self, version: FunctionVersion) -> None:
        """No environment could be restored from it. Another one is made, but not at once: it may be no better."""
        self._without[_key(version)] = self._clock.monotonic() + RETRY_S
        self._close(_key(version))

    async def run(self) -> None:
        """Drops what is idle, until cancelled."""
        while True:
            await self._clock.sleep(SWEEP_S)
            before = self._clock.monotonic() - IDLE_S
            for key in [key for key, template in self._found.items() if template.used_at < before]:
                self._close(key)

    async def close(self) -> None:
        for task in list(self._making.values()):
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)
        for key in list(self._found):
            self._close(key)

    def _begin(self, key: _Key, version: FunctionVersion) -> None:
        task = asyncio.get_running_loop().create_task(self._make_again(key, version))
        self._making[key] = task
        task.add_done_callback(lambda _: self._making.pop(key, None))

    async def _make_again(self, key: _Key, version: FunctionVersion) -> None:
        try:
            await self._make_one(key, version)
        except OriginalFailed as error:
            self._without[key] = self._clock.monotonic() + RETRY_S
            log.info("%s has no image: %s", version.qualified_arn, error)

    async def _make_one(self, key: _Key, version: FunctionVersion) -> None:
        """Raises OriginalFailed."""
        async with self._slots:
            try:
                async with self._room_for(version):
                    template = await self._make(version).take()
            except Unfit as unfit:
                self._without[key] = float("inf")
                log.info("SnapStart is off for %s: %s", version.qualified_arn, unfit)
                return
            except (AwsError, SandboxError, OSError) as error:
                self._without[key] = self._clock.monotonic() + RETRY_S
                log.warning("no image of %s could be taken; trying again later: %s", version.qualified_arn, error)
                return
        self._keep(key, version, template)

    def _keep(self, key: _Key, version: FunctionVersion, template: Template) -> None:
        """Those used longest ago make room for it."""
        if template.size_bytes > self._budget_bytes:
            self._without[key] = float("inf")
            log.warning(
                "the image of %s is larger than all may be; raise snapstart_memory_mib to more than %d",
                version.qualified_arn, template.size_bytes // MIB,
            )  # fmt: skip
            template.close()
            return
        self._close(key)
        self._found[key] = template
        while sum(other.size_bytes for other in self._found.values()) > self._budget_bytes:
            self._close(min(self._found, key=lambda other: self._found[other].used_at))
        self._function_changed(version.account_id, version.region, version.name)  # it may have, meanwhile

    def _close(self, key: _Key) -> None:
        template = self._found.pop(key, None)
        if template is not None:
            template.close()

    def _function_changed(self, account_id: str, region: str, name: str) -> None:
        """Images of versions that are gone go, too."""
        for key in [key for key in (*self._found, *self._without) if key[:3] == (account_id, region, name)]:
            try:
                current = self._catalog.resolve(account_id, region, name, key[3], 0.0)
            except AwsError:
                current = None
            if current is None or _key(current) != key:
                self._close(key)
                self._without.pop(key, None)


def _key(version: FunctionVersion) -> _Key:
    return version.account_id, version.region, version.name, version.version, version.build
