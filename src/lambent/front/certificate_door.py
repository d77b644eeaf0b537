"""`/_lambent/sns/SimpleNotificationService-….pem`: where the `SigningCertURL` of SNS's messages leads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lambent.http1.request import Request

log = logging.getLogger(__name__)


class CertificateDoor:
    """A door for the gateway. The certificate is everybody's to read."""

    def __init__(self, certificate: Callable[[], Awaitable[bytes]]) -> None:
        """`certificate` gives PEM; raises sqlite3.Error."""
        self._certificate = certificate
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        try:
            pem = await self._certificate()
        except Exception:  # the outermost edge: whatever it was, the caller gets an answer
            log.exception("the certificate of SNS's messages cannot be read; make room on the disk")
            request.respond(500, [(b"content-type", b"text/plain")], b"")
        else:
            request.respond(200, [(b"content-type", b"application/x-pem-file")], pem)
