"""Zygotes and the sealed, empty cells that they forked ahead.

How many wait of each kind follows from what was asked for, within a budget of memory; see `demand.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable

from . import layout, meminfo, requests, roots, syscalls, understudy, wire, zygote
from .cgroups import CgroupsV1, CgroupsV2, Group
from .loop import Loop
from .network import Network
from .shelf import Shelf

_INSIST_S = 0.1  # and twice as long each time: a burst's end kills hundreds, which take their time
_EMPTY = ""  # the key of cells without a program
_START = "import sys; sys.path.insert(0, {!r}); from privileged.zygote import main; main()"


class Cell:
    """One forked child of a zygote. `name` is its control groups'."""

    def __init__(self, owner: Zygote, shelf: Shelf, host_id: int, group: Group | None, intake: socket.socket) -> None:
        self.name = uuid.uuid4().hex
        self.made_s = time.monotonic()
        self.owner = owner
        self.shelf = shelf
        self.host_id = host_id
        self.group = group
        self.intake = intake
        self.mounts: int | None = None  # its mount namespace
        self.pipes: list[int] = []  # to read its output and log from, where its runtime was started ahead
        self.listeners: list[int] = []
        self.runtime: socket.socket | None = None  # the one that waits in it, where that was forked ahead
        self.link = 0  # the index of its link on the host, where it has one
        self.pid = -1
        self.pidfd = -1
        self.environment_id: str | None = None
        self.doomed = False  # to be killed as soon as it exists

    def call_runtime(self, descriptors: list[int]) -> bool:
        """With those of output, log and order. False where none waits, or any more: then init has to start one."""
        if self.runtime is None:
            return False
        try:
            understudy.call(self.runtime, descriptors)
        except OSError:
            return False
        return True

    def let_runtime_begin(self) -> None:
        """One that was called. That it has ended meanwhile is for init to say."""
        assert self.runtime is not None
        with contextlib.suppress(OSError):
            understudy.let_begin(self.runtime)

    def let_go(self) -> None:
        """Closes what is needed only until a function has moved in."""
        self.intake.close()
        if self.runtime is not None:
            self.runtime.close()
            self.runtime = None
        for descriptors in (self.listeners, self.pipes):
            while descriptors:
                os.close(descriptors.pop())
        if self.mounts is not None:
            os.close(self.mounts)
            self.mounts = None
        if self.group is not None:
            self.group.close()
            self.group = None


class Zygote:
    """One interpreter's: its socket, its process, and what it has in stock, by kind."""

    def __init__(self, channel: socket.socket, pid: int, *, forks: bool) -> None:
        self.channel = channel
        self.pid = pid
        self.forks = forks  # the runtime too is a fork of it; else the runtime is executed
        self.ready = False
        self.shelves: dict[str, Shelf] = {}


class Stock:
    """`on_end(cell)` is called once a cell's processes are all dead."""

    def __init__(
        self,
        loop: Loop,
        groups: CgroupsV1 | CgroupsV2 | None,
        *,
        rootless: bool,
        endpoint_port: int,
        first_host_id: int,
        on_end: Callable[[Cell], None],
        network: Network | None = None,
        budget_mib: int = 0,
        reserve_mib: int = 0,
    ) -> None:
        self.cells: dict[str, Cell] = {}
        # Killed and not dead yet: when to look after each (monotonic seconds), and the pause that led there.
        self.dying: dict[Cell, tuple[float, float]] = {}
        self._loop = loop
        self._groups = groups
        self._rootless = rootless
        self._endpoint_port = endpoint_port
        self._first_host_id = first_host_id
        self._next_host_id = 0
        self._host_ids: set[int] = set()
        self._on_end = on_end
        self._network = network  # every cell is connected to it
        self._budget_mib = budget_mib  # for all cells that wait; 0: those that are asked for, and no others
        self._reserve_mib = reserve_mib  # when less of the machine's memory is available, nothing waits
        self._zygotes: dict[str, Zygote] = {}

    # asked by the launcher

    def zygote(self, key: str, installation: Callable[[], requests.Installation]) -> Zygote:
        """The zygote of an installation, started when there is none. Raises Refused, OSError."""
        known = self._zygotes.get(key)
        if known is None:
            checked = installation()
            try:
                known = self._start(key, checked)
            finally:
                checked.close()
        return known

    def prepare(self, source: Zygote, program: wire.Message | None, then: Callable[[Cell | None, str], None]) -> None:
        """As `want`, but for a function that is only expected: `then` puts the cell back."""
        shelf = self._shelf(source, program, time.monotonic())
        shelf.used = True
        if shelf.sealed:
            then(shelf.sealed.pop(0), "")
        else:
            shelf.wanting.append(then)
            self._make_enough(source)

    def want(self, source: Zygote, program: wire.Message | None, then: Callable[[Cell | None, str], None]) -> None:
        """Calls `then` with a sealed cell, now or as soon as there is one; in it waits `program`, or an empty one is as good."""
        now_s = time.monotonic()
        shelf = self._shelf(source, program, now_s)
        shelf.used = True
        cell = shelf.take(now_s)
        if cell is None:
            shelf.demand.missed(now_s)
            empty = source.shelves.get(_EMPTY)
            cell = empty.take(now_s) if empty is not None else None
        if cell is not None:
            then(cell, "")
            return
        shelf.wanting.append(then)
        self._make_enough(source)

    def refill(self) -> bool:
        """Makes one cell that is missing, or ends one that is not needed. True when it did."""
        now_s = time.monotonic()
        if meminfo.available_mib() < self._reserve_mib:
            return self._give_up_one()
        for source, shelf in self._by_last_use():
            shelf.demand.look(now_s)
            if shelf.surplus > 0:
                self.kill(shelf.sealed.pop())
                return True
            if shelf.demand.is_idle(now_s) and not (shelf.in_stock or shelf.wanting):
                del source.shelves[shelf.key]
        for source, shelf in self._by_last_use():
            if source.ready and shelf.lacks:
                return self._make_room(shelf, now_s) and self._order(source, shelf) is None
        return False

    def _give_up_one(self) -> bool:
        for _, shelf in reversed(self._by_last_use()):
            if shelf.sealed:
                self.kill(shelf.sealed.pop())
                return True
        return False

    @property
    def in_stock(self) -> int:
        return sum(shelf.in_stock for _, shelf in self._by_last_use())

    @property
    def is_low(self) -> bool:
        """Fewer wait of some kind than always should."""
        return any(shelf.is_low for _, shelf in self._by_last_use())

    def kill(self, cell: Cell) -> None:
        cell.doomed = True
        if cell.pidfd < 0:
            return  # it is still being forked
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself, and its pidfd is about to say so
            syscalls.pidfd_kill(cell.pidfd, signal.SIGKILL)
        if self._groups is not None:
            self._groups.let_die(cell.name)
            self.dying[cell] = (time.monotonic() + _INSIST_S, _INSIST_S)

    def insist(self) -> None:
        """The server may have frozen one again before it was dead; called every now and then while some are dying."""
        if not self.dying or self._groups is None:
            return
        now_s = time.monotonic()
        for cell, pause_s in [(cell, pause_s) for cell, (at_s, pause_s) in self.dying.items() if at_s <= now_s]:
            self._groups.let_die(cell.name)
            self.dying[cell] = (now_s + 2 * pause_s, 2 * pause_s)

    def release_host_id(self, cell: Cell) -> None:
        self._host_ids.discard(cell.host_id)

    def close(self) -> None:
        """Ends the zygotes; their cells must be dead."""
        for source in self._zygotes.values():
            source.channel.close()
            os.kill(source.pid, signal.SIGKILL)
            os.waitpid(source.pid, 0)
        self._zygotes.clear()

    # zygotes

    def _start(self, key: str, installation: requests.Installation) -> Zygote:
        ours, theirs = wire.pair()
        pid = syscalls.fork()
        if pid < 0:
            raise OSError(errno.EAGAIN, "no process could be started for a zygote")
        if pid == 0:
            self._become_zygote(theirs, installation)
        theirs.close()
        made = Zygote(ours, pid, forks=installation.forks)
        self._zygotes[key] = made
        self._loop.watch(ours.fileno(), lambda: self._hear(key, made))
        return made

    def _become_zygote(self, channel: socket.socket, installation: requests.Installation) -> None:
        """In the child. Without an interpreter to fork from it goes on as a fork of the launcher. Never returns."""
        channel_fd = 3
        try:
            mounts = installation.out_of_the_way()
            os.dup2(channel.detach(), channel_fd, inheritable=installation.forks)
            if installation.forks:
                held = syscalls.open_exactly(os.path.dirname(os.path.realpath(__file__)))
                package = roots.clone_readonly(held, rootless=self._rootless)
                mounts = [*mounts, (package, f"{layout.PRIVATE_DIR}/privileged")]
            resolvers = [str(address) for address in self._network.resolvers] if self._network is not None else []
            roots.enter("root", mounts, rootless=self._rootless, resolvers=resolvers)
            syscalls.close_from(channel_fd + 1)
            if not installation.forks:
                zygote.serve(socket.socket(fileno=channel_fd), None)
                os._exit(0)
            argv = [installation.interpreter, "-I", "-c", _START.format(layout.PRIVATE_DIR), str(channel_fd)]
            variables = {"PATH": "/usr/bin:/bin", "LC_CTYPE": "C.UTF-8", "LD_LIBRARY_PATH": installation.library_path}
            os.execve(installation.interpreter, argv, variables)
        except BaseException as error:  # the outermost edge of this process: the launcher passes it on
            with contextlib.suppress(OSError):
                wire.send(socket.socket(fileno=channel_fd), {"event": "broken", "reason": str(error)})
        os._exit(1)

    def _hear(self, key: str, speaker: Zygote) -> None:
        try:
            message, descriptors = wire.receive(speaker.channel)
        except (EOFError, OSError, wire.MessageError):
            self._lost(key, speaker, "it ended; its reason is on the launcher's error output")
            return
        event = message["event"]
        if event == "ready":
            speaker.ready = True
            self._make_enough(speaker)
        elif event == "broken":
            self._lost(key, speaker, str(message["reason"]))
        elif event == "forked":
            self._forked(self.cells[str(message["name"])], int(message["pid"]), descriptors[0])
        elif event == "failed":
            cell = self.cells[str(message["name"])]
            self._unmade(cell, str(message["reason"]))
            self._finish(cell)

    def _lost(self, key: str, speaker: Zygote, reason: str) -> None:
        """Its cells die with it, by the kernel's doing; the next launch starts another one."""
        self._zygotes.pop(key, None)
        self._loop.unwatch(speaker.channel.fileno())
        speaker.channel.close()
        os.kill(speaker.pid, signal.SIGKILL)
        os.waitpid(speaker.pid, 0)
        for shelf in speaker.shelves.values():
            shelf.sealed.clear()
        for cell in [cell for cell in self.cells.values() if cell.owner is speaker and cell.pidfd < 0]:
            if self._loop.is_watched(cell.intake.fileno()):  # else it has said its last word already
                self._loop.unwatch(cell.intake.fileno())
            self._finish(cell)
        for cell in [cell for cell in self.cells.values() if cell.owner is speaker]:
            self.kill(cell)  # those that are frozen would die only when they are thawed, for somebody's invocation
        for shelf in speaker.shelves.values():
            while shelf.wanting:
                shelf.wanting.popleft()(None, f"the interpreter could not be made ready: {reason}")

    # cells

    def _shelf(self, source: Zygote, program: wire.Message | None, now_s: float) -> Shelf:
        key = _EMPTY if program is None else wire.as_key(program)
        shelf = source.shelves.get(key)
        if shelf is None:
            shelf = source.shelves[key] = Shelf(key, program, now_s)
        return shelf

    def _by_last_use(self) -> list[tuple[Zygote, Shelf]]:
        """The kind that was asked for last comes first."""
        found = [(source, shelf) for source in self._zygotes.values() for shelf in source.shelves.values()]
        return sorted(found, key=lambda pair: -pair[1].demand.asked_s)

    def _make_room(self, shelf: Shelf, now_s: float) -> bool:
        """Whether one more of this kind fits into the budget, perhaps instead of others that nobody asked for since."""
        shelves = [other for _, other in self._by_last_use()]
        older = shelves[shelves.index(shelf) + 1 :]
        held_mib = sum(other.in_stock * other.cost_mib(now_s) for other in shelves)
        while held_mib + shelf.cost_mib(now_s) > self._budget_mib:
            victim = next((other for other in reversed(older) if other.sealed), None)
            if victim is None:
                return False
            held_mib -= victim.cost_mib(now_s)
            self.kill(victim.sealed.pop())
        return True

    def _make_enough(self, source: Zygote) -> None:
        """For each who waits a cell is being made afterwards, or he has been told why not."""
        for shelf in source.shelves.values():
            while source.ready and shelf.making < len(shelf.wanting):
                if (reason := self._order(source, shelf)) is not None:
                    self._refuse_next(shelf, reason)

    def _order(self, source: Zygote, shelf: Shelf) -> str | None:
        """Has a cell forked, or says why that is not possible."""
        try:
            cell, theirs = self._new_cell(source, shelf)
        except (OSError, requests.Refused) as error:
            shelf.used = False  # nothing is made ahead before the next launch has succeeded
            return str(error)
        order = {"op": "fork", "name": cell.name, "host_id": cell.host_id, "endpoint_port": self._endpoint_port,
                 "rootless": self._rootless, "program": shelf.program,
                 "hurried": shelf.making < len(shelf.wanting)}  # fmt: skip
        try:
            with theirs:
                wire.send(source.channel, order, [theirs.fileno(), *(cell.group.join if cell.group else [])])
            if cell.group is not None:
                cell.group.joined()
        except OSError as error:
            shelf.used = False
            self._finish(cell)
            return str(error)
        shelf.making += 1
        self._loop.watch(cell.intake.fileno(), lambda: self._hear_cell(cell))
        return None

    def _new_cell(self, source: Zygote, shelf: Shelf) -> tuple[Cell, socket.socket]:
        """A cell on paper, with its control groups, and the end of its intake that it gets."""
        ours, theirs = wire.pair()
        cell = Cell(source, shelf, self._take_host_id(), None, ours)
        self.cells[cell.name] = cell
        try:
            if self._groups is not None:
                cell.group = self._groups.create(cell.name, layout.PROCESSES_MAX)
        except OSError:
            theirs.close()
            self._finish(cell)
            raise
        return cell, theirs

    def _forked(self, cell: Cell, pid: int, pidfd: int) -> None:
        cell.pid, cell.pidfd = pid, pidfd
        self._loop.watch(pidfd, lambda: self._ended(cell))
        if cell.doomed:
            self.kill(cell)

    def _hear_cell(self, cell: Cell) -> None:
        """It says that it is sealed, with its listeners, or what went wrong."""
        try:
            message, descriptors = wire.receive(cell.intake)
        except (EOFError, OSError, wire.MessageError):
            message, descriptors = {"event": "broken", "reason": "it ended while it was being made"}, []
        if message["event"] != "sealed" or cell.owner.channel.fileno() < 0:
            wire.close_all(descriptors)
            self._unmade(cell, f"the cage could not be made: {message.get('reason')}")
            self.kill(cell)
            return
        cell.mounts, namespace, *cell.listeners = descriptors
        if message["pipes"]:
            cell.pipes, cell.listeners = cell.listeners[:2], cell.listeners[2:]
        if message["waits"]:
            cell.runtime = socket.socket(fileno=cell.listeners.pop(0))
        try:
            if self._network is not None:
                cell.link = self._network.connect(namespace)
        except OSError as error:
            self._unmade(cell, f"the cage could not be connected: {error}")
            self.kill(cell)
            return
        finally:
            os.close(namespace)
        self._loop.unwatch(cell.intake.fileno())
        cell.shelf.making -= 1
        if cell.shelf.wanting:
            cell.shelf.wanting.popleft()(cell, "")
            return
        cell.shelf.sealed.append(cell)
        if cell.shelf.program is not None and self._groups is not None and cell.group is not None:
            # What still starts in it is not to be in anybody's way. Before it was sealed it held locks of the kernel.
            with contextlib.suppress(OSError):  # it has just ended
                self._groups.stand_back(cell.group)

    def _unmade(self, cell: Cell, reason: str) -> None:
        """It will not be sealed. Several may notice, in any order: itself, its zygote, and the kernel."""
        if not self._loop.is_watched(cell.intake.fileno()):
            return
        self._loop.unwatch(cell.intake.fileno())
        cell.shelf.making -= 1
        self._refuse_next(cell.shelf, reason)

    def _refuse_next(self, shelf: Shelf, reason: str) -> None:
        shelf.used = False  # nothing is made ahead before the next launch has succeeded
        if shelf.wanting:
            shelf.wanting.popleft()(None, reason)

    def _ended(self, cell: Cell) -> None:
        """The first process is dead, so by the kernel's rule every other of its PID namespace is."""
        self._unmade(cell, "the cage could not be made: it ended")
        self._loop.unwatch(cell.pidfd)
        os.close(cell.pidfd)
        with contextlib.suppress(OSError):  # the zygote is gone, and its children went to somebody who reaps them
            wire.send(cell.owner.channel, {"op": "reap", "pid": cell.pid})
        if cell in cell.shelf.sealed:
            cell.shelf.sealed.remove(cell)
        self._finish(cell)

    def _finish(self, cell: Cell) -> None:
        cell.let_go()
        self.dying.pop(cell, None)
        del self.cells[cell.name]
        self._on_end(cell)

    def _take_host_id(self) -> int:
        if self._rootless:
            return 0
        for _ in range(layout.HOST_IDS_PER_BLOCK):
            candidate = self._first_host_id + self._next_host_id
            self._next_host_id = (self._next_host_id + 1) % layout.HOST_IDS_PER_BLOCK
            if candidate not in self._host_ids:
                self._host_ids.add(candidate)
                return candidate
        raise requests.Refused(f"all {layout.HOST_IDS_PER_BLOCK} user ids of environments are in use")
