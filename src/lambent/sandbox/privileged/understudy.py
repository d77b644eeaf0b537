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

from . import init, syscalls, wire

_BEGIN = b"begin"


def call(channel: socket.socket, descriptors: list[int]) -> None:
    """To the runtime that waits at the other end: the descriptors are those of output, log, and where its order comes from.

    It reads that, and waits for `let_begin`. Raises OSError when it has ended.
    """
    wire.send(channel, {}, descriptors)


def let_begin(channel: socket.socket) -> None:
    """Code and layers are there. Raises OSError when it has ended."""
    channel.send(_BEGIN, socket.MSG_NOSIGNAL)


class Understudy:
    """Init's hold on it. One that `restores` has given up its memory for that of an image."""

    def __init__(
        self,
        client: init.Client,
        channel: socket.socket,
        theirs: socket.socket,
        *,
        restores: bool = False,
        hurried: bool = False,
    ) -> None:
        """The channel's ends are this one's from now on. One that is `hurried` does nothing that its function can do as well.

        Raises OSError when it cannot be forked.
        """
        self._restores = restores
        self.pid = syscalls.fork()
        if self.pid == 0:
            is_ready = not restores and client.needed.have() and hurried
            channel.close()
            _wait(theirs, client, restores=restores, is_ready=is_ready)
        client.needed_by_init_again.have()
        theirs.close()
        if self.pid < 0:
            channel.close()
            raise OSError("no process could be started")
        self.channel = socket.socket(fileno=init.out_of_the_way(channel.detach()))

    @property
    def descriptor(self) -> int:
        return self.channel.fileno()

    def suits(self, message: wire.Message) -> bool:
        """Whether it is what this order to start asks for."""
        return bool(message["image"] == "restore" if self._restores else message["fork"])

    def call(self, message: wire.Message, descriptors: list[int]) -> bool:
        """As the launcher calls it. `descriptors` are those of output, log and, if it is to "take" or "restore" one, image.

        Whether it was still there to hear it.
        """
        output_fd, log_fd, *image_fds = descriptors
        ordering, order = wire.pair()
        try:
            with ordering, order:
                wire.send(ordering, message, image_fds)
                call(self.channel, [output_fd, log_fd, order.fileno()])
            let_begin(self.channel)
        except OSError:
            return False
        finally:
            self.channel.close()
        return True

    def forget(self) -> None:
        """It has ended, or somebody else has called it."""
        self.channel.close()

    def let_go(self) -> None:
        self.forget()  # it ends by itself


def _wait(channel: socket.socket, client: init.Client, *, restores: bool, is_ready: bool) -> NoReturn:
    """In the child, which `is_ready` when nothing is to be rehearsed. Never returns, whatever happens."""
    try:
        init.close_all_but([channel.fileno()])
        channel = socket.socket(fileno=init.out_of_the_way(channel.detach()))
        null_fd = init.out_of_the_way(os.open("/dev/null", os.O_RDWR))
        init.become_ordinary(caged=True)
        if restores and client.restore is not None:
            os.dup2(null_fd, 0)
            os.close(null_fd)
            client.restore(None, channel.fileno())
        if not is_ready:
            _rehearse(client, null_fd)
        elif client.forget is not None:
            client.forget()
        connection_fd = init.connect_to_runtime_api() if client.connected is not None else None
        with contextlib.suppress(EOFError):
            _, descriptors = wire.receive(channel)
            output_fd, log_fd, order_fd = (init.out_of_the_way(descriptor) for descriptor in descriptors)
            message, image = wire.receive(socket.socket(fileno=order_fd))
            fourth_fd = init.out_of_the_way(image[0]) if image else connection_fd
            init.settle(output_fd, log_fd, null_fd, fourth_fd=fourth_fd, kept_fds=[channel.fileno()])
            init.take_variables(message["variables"])
            if image or client.attaching is None:
                _wait_for_files(channel)
            else:
                client.attaching(lambda: _wait_for_files(channel))
            if message["image"] == "restore" and client.restore is not None:
                client.restore(message["variables"])
            if client.connected is not None and fourth_fd is not None and not image:
                client.connected(init.STATUS_FD)
            init.run_runtime(client)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    os._exit(1)


def _wait_for_files(channel: socket.socket) -> None:
    """Until code and layers are attached. Returns in the code's directory, or ends the process where nobody attaches any more."""
    if channel.recv(len(_BEGIN)) != _BEGIN:
        os._exit(1)
    channel.close()
    os.chdir("/var/task")


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
