"""Messages between server, launcher, zygotes and inits: one JSON object and some descriptors in each packet.

The sockets are AF_UNIX SOCK_SEQPACKET, so a message arrives whole or not at all.

Zygotes and what they fork share memory for as long as neither writes to it, and Python writes to whatever it looks at. So
what is done here for every message looks at little: coders made once, and numbers that are no enumerations.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

MESSAGE_MAX_BYTES = 128 * 1024
DESCRIPTORS_MAX = 32

_SOL_SOCKET, _SCM_RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
_NO_SIGNAL, _CLOSE_ON_EXEC = int(socket.MSG_NOSIGNAL), int(socket.MSG_CMSG_CLOEXEC)
_TRUNCATED, _RIGHTS_TRUNCATED = int(socket.MSG_TRUNC), int(socket.MSG_CTRUNC)
_SPACE = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
_encode = json.JSONEncoder(separators=(",", ":")).encode
as_key = json.JSONEncoder(sort_keys=True).encode  # equal messages have equal ones
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # an attribute of every version, missing in typeshed

if TYPE_CHECKING:  # evaluated, this would need Python 3.9
    Message = dict[str, Any]


class MessageError(Exception):
    """The peer sent what no honest peer sends."""


class DescriptorsLost(MessageError):
    """The message is whole, but its descriptors are not here: this process has as many files open as it may."""

    def __init__(self, message: Message) -> None:
        super().__init__("too many files are open in this process; raise its limit (ulimit -n)")
        self.message = message


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: Message, descriptors: Iterable[int] = ()) -> None:
    """Raises OSError when the peer is gone, and ValueError for a message that is too long."""
    data = _encode(message).encode()
    if len(data) > MESSAGE_MAX_BYTES:
        raise ValueError(f"the message has {len(data)} bytes; {MESSAGE_MAX_BYTES} are allowed")
    rights = array.array("i", descriptors)
    channel.sendmsg([data], [(_SOL_SOCKET, _SCM_RIGHTS, rights)] if rights else [], _NO_SIGNAL)


def receive(channel: socket.socket) -> tuple[Message, list[int]]:
    """The next message and its descriptors (close-on-exec).

    Raises EOFError when the peer is gone, BlockingIOError on a non-blocking socket without a message, MessageError,
    and of its kinds DescriptorsLost, after which the conversation can go on.
    """
    try:
        data, ancillary, flags, _ = channel.recvmsg(MESSAGE_MAX_BYTES, _SPACE, _CLOSE_ON_EXEC)
    except ConnectionResetError as error:
        raise EOFError from error
    descriptors = _descriptors(ancillary)
    try:
        if not data:
            raise EOFError
        if flags & _TRUNCATED:
            raise MessageError("a message was longer than any may be")
        text = data.decode()
        message, end = _scan(text, 0)
        if end != len(text) or not isinstance(message, dict):
            raise MessageError("a message was not one object")
        if flags & _RIGHTS_TRUNCATED:
            raise DescriptorsLost(message)
    except (ValueError, StopIteration, RecursionError) as error:  # scan_once stops where no value begins
        close_all(descriptors)
        raise MessageError("a message was not JSON") from error
    except BaseException:
        close_all(descriptors)
        raise
    return message, descriptors


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
