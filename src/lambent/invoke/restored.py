"""An environment that goes on from its version's image, instead of running the init phase."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final

import attrs

from lambent.invoke import failures
from lambent.invoke.environment import Environment, Phase, runtime_version, runtime_version_arn
from lambent.invoke.failures import Failure
from lambent.invoke.image import Template
from lambent.invoke.session import RuntimeExited, Session
from lambent.invoke.surroundings import Surroundings
from lambent.model import loglines
from lambent.model.cage import Image, ImageUse
from lambent.model.errors import AwsError, EntrypointError, snap_start_failed, snap_start_timed_out
from lambent.model.function import FunctionVersion
from lambent.runtimeapi.credentials import IssuedForOne
from lambent.runtimeapi.values import InitFailed

log = logging.getLogger(__name__)

CREDENTIALS_GOOD_FOR_MAX_S: Final = 43_200
NOT_RESTORED: Final = 71  # exit status of a process that could not take over the image; see lambent_restore.py


class _NotRestored(Exception):
    """The image is of no use: the environment can still start as others do."""


class RestoredEnvironment(Environment):
    """`give_up` is called when the image turns out to be of no use; this environment then starts normally."""

    initialization_type: loglines.InitType = "snap-start"

    def __init__(
        self, version: FunctionVersion, surroundings: Surroundings, template: Template, give_up: Callable[[], None]
    ) -> None:
        super().__init__(version, surroundings)
        self._template: Template | None = template
        self._give_up = give_up
        good_for_s = min(surroundings.environment_lifetime_s, CREDENTIALS_GOOD_FOR_MAX_S)
        self._issued = IssuedForOne(
            os.urandom(32).hex(),
            lambda: surroundings.credentials_for(version),
            lambda: surroundings.clock.now() + good_for_s,
        )

    async def _new_session(self, limit_s: float, phase: Phase) -> Session:
        """Raises AwsError SnapStartException, SnapStartTimeoutException, besides what starts raise."""
        template, self._template = self._template, None
        if template is not None:
            try:
                return await self._restored(template)
            except (_NotRestored, OSError) as error:
                log.warning(
                    "%s is not restored from its image, which is dropped: %s", self.version.qualified_arn, error
                )
                self._give_up()
            self.initialization_type = "on-demand"
            self._issued = None
            self._spec = await self.describe()
        return await super()._new_session(limit_s, phase)

    async def _restored(self, template: Template) -> Session:
        assert self._spec is not None
        begun = self._clock.monotonic()
        descriptor = template.open()
        try:
            self._spec = attrs.evolve(self._spec, image=Image(descriptor, ImageUse.RESTORE))
            session = await self._open_session()
            try:
                await self._restore(session, begun)
            except BaseException:
                await session.close("failure")
                raise
        finally:
            os.close(descriptor)
            self._spec = attrs.evolve(self._spec, image=None)
        self._watch(session)
        return session

    async def _restore(self, session: Session, begun: float) -> None:
        """Raises _NotRestored, and AwsError when it is the function that failed."""
        if not session.cage.can_restore:
            raise _NotRestored("the cage cannot take it")
        self._log.publish([self._restore_start()], session.api)
        error: AwsError | None = None
        failure: Failure | None = None
        try:
            async with asyncio.timeout(self._around.restore_s):
                await session.initialise()
        except EntrypointError as cause:
            raise _NotRestored(str(cause)) from cause
        except TimeoutError:
            error, failure = snap_start_timed_out(), failures.timed_out(self._around.restore_s)
        except (RuntimeExited, InitFailed) as cause:
            if isinstance(cause, RuntimeExited) and cause.process_exit.exit_status in (NOT_RESTORED, None):
                session.pump.drain()
                raise _NotRestored(str(cause)) from cause
            error, failure = snap_start_failed(), failures.init_failure(cause, self._around.restore_s)
        self._report_restore(session, begun, failure)
        if error is not None:
            raise error

    def _restore_start(self) -> loglines.PlatformEvent:
        assert self._spec is not None
        return loglines.restore_started(
            function_name=self.version.name,
            function_version=self.version.version,
            runtime_version=runtime_version(self._spec.installation),
            runtime_version_arn=runtime_version_arn(self.version),
        )

    def _report_restore(self, session: Session, begun: float, failure: Failure | None) -> None:
        duration_ms = (self._clock.monotonic() - begun) * 1000
        session.pump.drain()
        status = failure.status if failure else "success"
        error_type = failure.error_type if failure and failure.status != "timeout" else None
        events = [
            loglines.restore_runtime_done(status, error_type),
            loglines.restore_reported(duration_ms, status, error_type),
        ]
        self._log.publish(events, session.api)
        if failure is None:
            self._restore_duration_ms = duration_ms
