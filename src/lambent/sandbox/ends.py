"""Pipes, control socket and shared memory: what every cage has of the server's, whoever makes it."""

from __future__ import annotations

import os
import socket

from lambent.sandbox.privileged import wire
from lambent.sandbox.privileged.watchdog import SHARED


class Ends:
    """Ours, and until they are given up those that the cage's processes get: what is written, and init's end of the socket."""

    def __init__(self, *, is_watched: bool, is_ordered: bool = False) -> None:
        """With `is_watched` init counts memory, and writes what it finds where we read it. Raises OSError.

        With `is_ordered` there is a socket for the order to start the runtime, which goes to whoever starts it.
        """
        self.output_fd, self.output_write = os.pipe2(os.O_CLOEXEC)
        self.log_fd, self.log_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.output_fd, False)
        os.set_blocking(self.log_fd, False)
        self.control, self.theirs = wire.pair()
        self.order: socket.socket | None = None
        self.order_theirs: socket.socket | None = None
        if is_ordered:
            self.order, self.order_theirs = wire.pair()
        self.watch_fds: list[int] = []
        if is_watched:
            self.watch_fds.append(os.memfd_create("lambent-watch"))
            os.ftruncate(self.watch_fds[0], SHARED.size)

    def handed_over(self) -> list[int]:
        """What goes to whoever makes the cage; ours is given up by `give_up_theirs`."""
        return [self.theirs.fileno(), self.output_write, self.log_write, *self.watch_fds]

    def give_up_theirs(self) -> None:
        """And what was for one message, which is read nevertheless. Safe to call twice."""
        self.theirs.close()
        for end in (self.order, self.order_theirs):
            if end is not None:
                end.close()
        if self.output_write >= 0:
            wire.close_all([self.output_write, self.log_write])
            self.output_write = self.log_write = -1

    def watched(self) -> tuple[int, ...]:
        """`SHARED`, as init wrote it; zeros where nothing is watched, or any more."""
        return SHARED.unpack(os.pread(self.watch_fds[0], SHARED.size, 0)) if self.watch_fds else (0, 0, 0)

    def close(self) -> None:
        """Once; the control socket's owner may have closed that already."""
        self.give_up_theirs()
        self.control.close()
        wire.close_all([self.output_fd, self.log_fd, *self.watch_fds])
        self.watch_fds.clear()
