"""One POST to a subscriber: HTTP/1.1 by hand, for nothing of an answer is wanted but its status."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from lambent.model.addresses import is_metadata

TIMEOUT_S: Final = 15.0  # https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html: within 15 seconds
HEAD_MAX_BYTES: Final = 65_536
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Unreachable(Exception):
    """Nobody answered, or not in time, or not in HTTP."""


class Forbidden(Exception):
    """The address is one that no subscriber has."""


async def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """The status of the answer; redirects are not followed. Raises Unreachable, Forbidden."""
    try:
        async with asyncio.timeout(TIMEOUT_S):  # real time: the network knows no other
            return await _post(url, headers, body)
    except TimeoutError as error:
        raise Unreachable(f"no answer within {TIMEOUT_S:.0f} seconds") from error
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, UnicodeError, ValueError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error


async def _post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    context = await asyncio.to_thread(ssl.create_default_context) if is_secure else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if is_secure else 80), ssl=context, limit=HEAD_MAX_BYTES
    )
    try:
        peer = writer.get_extra_info("peername")
        if peer is None or is_metadata(peer[0]):  # asked of the connection: a name could mean another address by now
            raise Forbidden(f"{parts.hostname} is a link-local address, which is refused")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append(f"Authorization: Basic {base64.b64encode(user.encode()).decode()}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _STATUS.match(head)
            if found is None:
                raise Unreachable("the answer is not HTTP")
            status = int(found[1])
            if status != 100:  # what comes after "Continue" counts
                return status
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
