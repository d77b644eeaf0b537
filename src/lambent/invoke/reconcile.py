"""Makes new and changed functions ready: unpacks their code and layers, takes images, then says so in the catalog.

Control operations only write what is wanted. This task sees what is pending, at start-up and after each change.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from lambent.invoke.original import OriginalFailed
from lambent.invoke.templates import Templates
from lambent.model.errors import AwsError
from lambent.model.function import FunctionVersion
from lambent.ports import Blobs, Catalog, Clock

log = logging.getLogger(__name__)

AT_ONCE: Final = 4  # packages unpacked side by side: the disk is the limit, not the processor
RETRY_S: Final = 5.0  # after a fault of this machine's, which may pass (a full disk)


class Reconciler:
    """One task for the catalog's life. Start it with `run`; it ends when it is cancelled."""

    def __init__(self, catalog: Catalog, blobs: Blobs, clock: Clock, templates: Templates | None = None) -> None:
        self._catalog = catalog
        self._templates = templates
        self._blobs = blobs
        self._clock = clock
        self._wake = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}  # by revision: each is prepared once
        self._slots = asyncio.Semaphore(AT_ONCE)
        catalog.subscribe(lambda account_id, region, name: self._wake.set())

    async def run(self) -> None:
        """Runs until cancelled, and takes what it has begun along."""
        try:
            while True:
                self._wake.clear()
                for version in self._catalog.pending():
                    if version.revision_id not in self._under_way:
                        self._begin(version)
                await self._wake.wait()
        finally:
            for task in list(self._under_way.values()):
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _begin(self, version: FunctionVersion) -> None:
        task = asyncio.create_task(self._settle(version), name=f"reconcile {version.qualified_arn}")
        self._under_way[version.revision_id] = task
        task.add_done_callback(lambda _: self._under_way.pop(version.revision_id, None))

    async def _settle(self, version: FunctionVersion) -> None:
        while True:
            try:
                fault = await self._unpack(version)
                if fault is None:
                    fault = await self._take_image(version)
                await self._catalog.settle(version, fault is None, *(fault or ()))
                return
            except Exception:  # the task's outermost edge: nobody awaits it, and the function must not hang silently
                log.exception(
                    "cannot make %s ready; trying again in %s s (check the data directory's disk)",
                    version.qualified_arn,
                    RETRY_S,
                )
            await self._clock.sleep(RETRY_S)

    async def _unpack(self, version: FunctionVersion) -> tuple[str, str] | None:
        """None, or reason and reason code why it cannot be made ready."""
        async with self._slots:
            try:
                if version.code_digest is not None:
                    await self._blobs.unpacked(version.code_digest)
                await self._blobs.merged_layers([layer.digest for layer in version.layers])
            except AwsError as error:
                return error.message, "InvalidZipFileException"
            except KeyError as error:
                message = f"The package {error.args[0]} is missing from the data directory; update the function's code"
                return message, "InternalError"
        return None

    async def _take_image(self, version: FunctionVersion) -> tuple[str, str] | None:
        """The same, of a version whose environments are to be restored. Takes as long as the function's init phase."""
        if self._templates is not None and version.snap_starts:
            try:
                await self._templates.prepare(version)
            except OriginalFailed as error:
                return str(error), error.reason_code
        return None
