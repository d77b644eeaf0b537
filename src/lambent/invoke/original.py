"""The environment that a version's image is taken of. It runs the init phase, serves nobody and is gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final

import attrs

from lambent.invoke import failures, image
from lambent.invoke.environment import Environment
from lambent.invoke.failures import Failure
from lambent.invoke.image import Template, Unfit
from lambent.invoke.session import RuntimeExited, Session, external_extensions
from lambent.invoke.surroundings import Surroundings
from lambent.model.cage import Image, ImageUse
from lambent.model.errors import EntrypointError, LambentError, SandboxError
from lambent.model.function import FunctionVersion
from lambent.model.limits import MEMORY_MAX_MIB, MIB
from lambent.runtimeapi.credentials import IssuedForOne
from lambent.runtimeapi.values import InitFailed

# So soon that SDKs, which renew what is good for less than ten minutes, ask again in each restored environment.
CREDENTIALS_GOOD_FOR_S: Final = 300
_ROOM_MIB: Final = 32 + 64  # of an image, for what is not the function's memory; and for what it left in /tmp

_REASON_CODES: Final = {
    "Sandbox.Timedout": "FunctionError.InitTimeout",
    "Runtime.OutOfMemory": "FunctionError.InitResourceExhausted",
    "Runtime.InvalidEntrypoint": "FunctionError.InvalidEntryPoint",
}  # StateReasonCode in botocore's `lambda` model; every other failure is FunctionError.RuntimeInitError


class OriginalFailed(LambentError):
    """The init phase failed: the version cannot become active."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"The function's init phase failed: {failure.error_type}. See the function's logs.")
        self.reason_code = _REASON_CODES.get(failure.error_type, "FunctionError.RuntimeInitError")


class Original(Environment):
    """Its image takes at most `image_max_mib`."""

    initialization_type = "snap-start"

    def __init__(
        self, version: FunctionVersion, surroundings: Surroundings, image_max_mib: int = MEMORY_MAX_MIB
    ) -> None:
        super().__init__(version, surroundings)
        self._image_max_mib = image_max_mib
        self._issued = IssuedForOne(
            os.urandom(32).hex(),
            lambda: surroundings.credentials_for(version),
            lambda: surroundings.clock.now() + CREDENTIALS_GOOD_FOR_S,
        )

    async def take(self) -> Template:
        """Raises OriginalFailed, Unfit, AwsError, SandboxError, OSError."""
        spec = await self.describe()
        if external_extensions(spec.layers_dir):
            raise self._unfit("its extensions are processes of their own")
        descriptor = image.new_image(min(spec.memory_mib + _ROOM_MIB, self._image_max_mib) * MIB)
        try:
            # The image is charged to the environment that writes it, besides the memory that it is of.
            self._spec = attrs.evolve(
                spec, image=Image(descriptor, ImageUse.TAKE), memory_mib=min(2 * spec.memory_mib, MEMORY_MAX_MIB)
            )
            await self._run_init()
            image.seal(descriptor)
            with contextlib.suppress(SandboxError):  # the first environment will say it
                await self._around.sandbox.prepare(attrs.evolve(spec, image=Image(descriptor, ImageUse.RESTORE)))
        except Unfit as unfit:
            os.close(descriptor)
            raise self._unfit(str(unfit)) from None
        except BaseException:
            os.close(descriptor)
            raise
        return Template(descriptor, self._clock.monotonic())

    def _unfit(self, why: str) -> Unfit:
        self._log.say(
            f"SnapStart is off for version {self.version.version}: {why}. Its environments start as others do."
        )
        return Unfit(why)

    async def _run_init(self) -> None:
        session = await self._open_session()
        try:
            if not session.cage.can_restore:
                raise Unfit(f"images of {self.version.runtime} cannot be taken at this level of isolation")
            self._log.publish([self._init_start("snap-start")], session.api)
            failure = await self._outcome_of_init(session)
            self._report_init(session, failure, "snap-start")
            if failure is not None:
                raise OriginalFailed(failure)
        finally:
            await session.close("spindown")

    async def _outcome_of_init(self, session: Session) -> Failure | None:
        """None when it ended as it should. Raises Unfit, SandboxError."""
        limit_s = max(self._around.snapshot_init_s, self.version.timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                await session.initialise()
        except RuntimeExited as error:
            return None if error.process_exit.exit_status == 0 else failures.init_failure(error, limit_s)
        except EntrypointError as error:
            raise SandboxError("the process that should have its image taken was gone") from error
        except (TimeoutError, InitFailed) as error:
            return failures.init_failure(error, limit_s)
        raise Unfit(f"the runtime of {self.version.runtime} takes no images")
