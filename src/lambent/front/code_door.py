"""`/_lambent/code/{token}`: where GetFunction's `Code.Location` and GetLayerVersion's `Content.Location` download from.

AWS gives addresses of S3 that carry their own permission for ten minutes; the token does the same here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from lambent.http1.request import Request
from lambent.model.errors import AwsError

CODE_DOOR: Final = "/_lambent/code/"

Download = Callable[[str], Awaitable[bytes]]
"""The package that a token opens. Raises AwsError."""


class CodeDoor:
    """A door for the gateway."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        token = request.target.decode("latin-1").partition("?")[0].removeprefix(CODE_DOOR)
        try:
            package = await self._download(token)
        except AwsError as error:
            body = f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
            request.respond(error.status, [(b"content-type", b"application/xml")], body.encode())
        except KeyError:
            request.respond(404, [(b"content-type", b"application/xml")], b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            request.respond(200, [(b"content-type", b"application/zip")], package)
