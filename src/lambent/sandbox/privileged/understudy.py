"""A runtime process that is forked before anybody knows its function.

It waits in the sealed cell, has touched the memory that an invocation touches, and needs only its variables. What a start
costs then is a message instead of a fork and its page faults.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import NoReturn

from . import init, layout, syscalls, wire


class Understudy:
    """Init's hold on it. Closing the channel ends it. One that `restores` has given up its memory for that of an image."""

    def __init__(self, client: init.Client, *, restores: bool = False) -> None:
        """Raises OSError when it cannot be forked."""
        self._restores = restores
        self.channel, theirs = wire.pair()
        self.pid = syscalls.fork()
        if self.pid == 0:
            if not restores:
                client.needed.have()
            self.channel.close()
            _wait(theirs, client, restores=restores)
        client.needed_by_init_again.have()
        theirs.close()
        if self.pid < 0:
            self.channel.close()
            raise OSError("no process could be started")
        self.channel = socket.socket(fileno=init.out_of_the_way(self.channel.detach()))

    @property
    def descriptor(self) -> int:
        return self.channel.fileno()

    def suits(self, message: wire.Message) -> bool:
        """Whether it is what this order to start asks for."""
        return bool(message["image"] == "restore" if self._restores else message["fork"])

    def call(self, message: wire.Message, descriptors: list[int]) -> bool:
        """`descriptors` are those of output, log and, if it is to "take" or "restore" one, image.

        Whether it was still there to hear it.
        """
        try:
            wire.send(self.channel, {"variables": message["variables"], "image": message["image"]}, descriptors)
        except OSError:
            return False
        finally:
            self.channel.close()
        return True

    def forget(self) -> None:
        """It has ended."""
        self.channel.close()

    def let_go(self) -> None:
        self.forget()  # it ends by itself


def _wait(channel: socket.socket, client: init.Client, *, restores: bool) -> NoReturn:
    """In the child. Never returns, whatever happens."""
    try:
        syscalls.close_from(3, channel.fileno() - 1)
        syscalls.close_from(channel.fileno() + 1)
        channel = socket.socket(fileno=init.out_of_the_way(channel.detach()))
        null_fd = init.out_of_the_way(os.open("/dev/null", os.O_RDWR))
        init.become_ordinary(caged=True)
        if restores and client.restore is not None:
            os.dup2(null_fd, 0)
            os.close(null_fd)
            client.restore(None, channel.fileno())
        _rehearse(client, null_fd)
        connection_fd = _connect() if client.connected is not None else None
        with contextlib.suppress(EOFError):
            message, descriptors = wire.receive(channel)
            output_fd, log_fd, *image = (init.out_of_the_way(descriptor) for descriptor in descriptors)
            fourth_fd = image[0] if image else connection_fd
            init.settle(output_fd, log_fd, null_fd, "/var/task", fourth_fd=fourth_fd)
            if message["image"] == "restore" and client.restore is not None:
                client.restore(message["variables"])
            if client.connected is not None and fourth_fd is not None and not image:
                client.connected(init.STATUS_FD)
            init.run_runtime(client, message["variables"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    os._exit(1)


def _connect() -> int | None:
    """To the Runtime API. Its listener is there before it has a server, which finds the connection when it comes."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(("127.0.0.1", layout.RUNTIME_API_PORT))
    except OSError:
        connection.close()
        return None  # the client will make its own
    return init.out_of_the_way(connection.detach())


def _rehearse(client: init.Client, null_fd: int) -> None:
    """Touches the memory that being called will touch: each page for the first time costs microseconds."""
    first, second = wire.pair()
    wire.send(first, {"variables": {"PATH": "/usr/bin"}}, [null_fd])
    _, descriptors = wire.receive(second)
    wire.close_all(descriptors)
    first.close()
    second.close()
    os.environ["LAMBENT"] = "rehearses"
    del os.environ["LAMBENT"]
    if client.touch is not None:
        client.touch()
