"""The launcher: the one process that stays root. It builds zygotes, control groups and disks, and ends environments.

It speaks to the server, which parses the network's bytes and is not trusted: code and layers come as descriptors that the
server itself could open for reading; host directories must be on the list that was given before the server gave up its
rights; sizes are bounded; a zygote imports only files of root. It never sees a function's variables or its payloads.

Told:  {"op": "launch", "id", …} · {"op": "destroy", "id"} · {"op": "prepare", …}
Tells: {"event": "hello", …} · {"event": "launched" | "refused" | "prepared" | "gone", "id", …}
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import sys
import time

from . import cgroups, disks, layout, requests, syscalls, wire
from .loop import Loop
from .network import Network
from .requests import Refused
from .stock import Cell, Stock, Zygote

_DISKS_READY = (6, 128)  # of the default size, made while nothing else is to do: one for each cell that waits
_QUIET_MS = 8  # before something is made ahead: a function that has just been launched needs the processor more
_LEISURE_MS = 25  # the same, for what is more than the least that should wait
_TEND_MS = 2_000  # while cells wait that may not be needed any more, or whose memory somebody else needs
_RETRY_MS = 20  # a control group that is still emptying
_PATIENCE_S = 10.0  # for everything to end
_LAST_TO_GO = b"-1000"  # the kernel never ends it for memory: everything else that is ours ends with it


class Launcher:
    """Everything in it is quick, so that one thread is enough."""

    def __init__(self, server: socket.socket, settings: wire.Message) -> None:
        self._server = server
        self._rootless = bool(settings["rootless"])
        self._allowed = [os.path.realpath(path) for path in settings["allowed"]]
        self._warnings: list[str] = []
        self._loop = Loop()
        self._ending = False
        self._environments: dict[str, Cell] = {}
        self._waiting: set[str] = set()  # environments without a cell yet
        self._emptying: dict[str, str | None] = {}  # control groups → the environment to tell of
        # From here on by descriptor: above it may be directories that the server can rename.
        self._home = _own_directory(str(settings["directory"]))
        os.fchdir(self._home)
        os.makedirs("root", mode=0o700, exist_ok=True)
        self._groups = self._usable_groups()
        self._disks = None if self._rootless else self._usable_disks()
        self._host_id_lock, first_host_id = (-1, 0) if self._rootless else _take_host_id_block()
        self._network = self._usable_network(settings.get("internet"), first_host_id)
        self._own_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._stock = Stock(
            self._loop, self._groups, rootless=self._rootless,
            endpoint_port=int(settings["endpoint_port"]), first_host_id=first_host_id, on_end=self._ended,
            network=self._network, budget_mib=int(settings["ready_memory_mib"]),
            reserve_mib=int(settings["memory_reserve_mib"]),
        )  # fmt: skip

    def run(self) -> None:
        """Until the server closes its end; then everything is destroyed."""
        self._loop.watch(self._server.fileno(), self._hear)
        self._tell({"event": "hello", "cgroups": self._groups.version if self._groups else None,
                    "disks": self._disks is not None, "warnings": self._warnings})  # fmt: skip
        stocked = False
        while not self._ending:
            busy = self._loop.turn(self._patience_ms(stocked=stocked))
            self._remove_emptied()
            self._stock.insist()
            stocked = not busy and not self._refill()
        self._shut_down()

    def _patience_ms(self, *, stocked: bool) -> int | None:
        """How long to wait for an order before something is made ahead, or looked after; None: for ever."""
        if not stocked:
            return _QUIET_MS if self._stock.is_low else _LEISURE_MS
        if self._emptying or self._stock.dying:
            return _RETRY_MS
        return _TEND_MS if self._stock.in_stock else None

    def _refill(self) -> bool:
        """Makes one thing ahead, or ends one; False when enough of everything is there, and not too much."""
        if self._stock.refill():
            return True
        try:
            least, most = _DISKS_READY
            wanted = min(max(least, self._stock.in_stock), most)
            return self._disks is not None and self._disks.refill(requests.EPHEMERAL_MIB[0], wanted)
        except OSError:
            return False  # the next launch meets the same error and tells the server

    def _tell(self, message: wire.Message, descriptors: list[int] | None = None) -> None:
        try:
            wire.send(self._server, message, descriptors or ())
        except OSError:
            self._ending = True

    # the machine

    def _usable_groups(self) -> cgroups.CgroupsV1 | cgroups.CgroupsV2 | None:
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mountinfo = file.read()
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            own = file.read()
        found = cgroups.best(mountinfo, own, f"{os.fstat(self._home).st_ino:x}")
        reason = "there are none with memory, cpu and pids"
        if found is not None:
            try:
                found.prepare()
            except OSError as error:
                reason = str(error)
            else:
                return found
        self._warnings.append(f"control groups cannot be used ({reason}): memory is watched, not limited")
        return None

    def _usable_disks(self) -> disks.Disks | None:
        found = disks.Disks("disks")
        try:
            found.prepare()
        except OSError as error:
            self._warnings.append(f"/tmp is held in memory and raises its limit: {error.strerror or error}")
            return None
        return found

    def _usable_network(self, internet: wire.Message | None, first_host_id: int) -> Network | None:
        """Where functions are to have internet access, nothing else will do. Raises OSError."""
        if internet is None:
            return None
        number = (first_host_id - layout.HOST_IDS_FROM) // layout.HOST_IDS_PER_BLOCK
        network = Network(number, private=bool(internet["private"]))
        self._warnings += network.warnings
        return network

    def _shut_down(self) -> None:
        self._loop.unwatch(self._server.fileno())
        for cell in list(self._stock.cells.values()):
            self._stock.kill(cell)
        deadline = time.monotonic() + _PATIENCE_S
        while (self._stock.cells or self._emptying) and time.monotonic() < deadline:
            self._loop.turn(_RETRY_MS)
            self._remove_emptied()
        self._stock.close()
        if self._network is not None:
            self._network.close()
        if self._disks is not None:
            self._disks.close()
        if self._groups is not None:
            self._groups.close()

    # the server

    def _hear(self) -> None:
        try:
            message, descriptors = wire.receive(self._server)
        except wire.DescriptorsLost as error:
            self._refuse(str(error.message.get("id")), f"{error} (in the launcher)")
            return
        except (EOFError, OSError, wire.MessageError):
            self._ending = True
            return
        try:
            self._obey(message, descriptors)
        except (Refused, OSError) as error:
            self._refuse(str(message.get("id")), str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._refuse(str(message.get("id")), f"a malformed request: {error!r}")
        finally:
            wire.close_all(descriptors)

    def _obey(self, message: wire.Message, descriptors: list[int]) -> None:
        operation, key = message["op"], str(message["id"])
        if operation == "launch":
            self._launch(requests.Launch(message, descriptors), message["installation"])
        elif operation == "prepare":
            source, program = self._zygote(message["installation"]), requests.program(message["program"])
            self._stock.prepare(source, program, lambda cell, why: self._prepared(key, cell, why))
        elif operation == "destroy":
            self._destroy(key)
        else:
            raise Refused(f"there is no operation {operation}")

    def _refuse(self, key: str, reason: str) -> None:
        self._tell({"event": "refused", "id": key, "reason": reason})

    def _zygote(self, installation: dict[str, object]) -> Zygote:
        key = wire.as_key(installation)
        return self._stock.zygote(
            key, lambda: requests.Installation(installation, self._allowed, rootless=self._rootless)
        )

    def _prepared(self, key: str, cell: Cell | None, reason: str) -> None:
        if cell is None:
            self._refuse(key, reason)
        else:
            cell.shelf.sealed.append(cell)
            self._tell({"event": "prepared", "id": key})

    # environments

    def _launch(self, launch: requests.Launch, installation: dict[str, object]) -> None:
        environment_id = launch.environment_id

        def move_in(cell: Cell | None, reason: str) -> None:
            wanted = environment_id in self._waiting
            self._waiting.discard(environment_id)
            try:
                if cell is None:
                    raise Refused(reason)
                if not wanted:
                    cell.shelf.sealed.append(cell)
                    raise Refused("the environment was destroyed before it began")
                self._move_in(launch, cell)
            except (Refused, OSError) as error:
                self._refuse(environment_id, str(error))
            finally:
                launch.close()

        if launch.internet and self._network is None:
            launch.close()
            raise Refused("functions have no internet access here; start Lambent with `internet = true`")
        if not launch.is_watched and self._groups is None:
            launch.close()
            raise Refused("without control groups memory must be watched")
        if environment_id in self._environments or environment_id in self._waiting:
            launch.close()
            raise Refused("an environment with this id exists")
        try:
            source = self._zygote(installation)
        except BaseException:
            launch.close()
            raise
        self._waiting.add(environment_id)
        self._stock.want(source, launch.program, move_in)

    def _move_in(self, launch: requests.Launch, cell: Cell) -> None:
        """Limits the cell, attaches code, layers and /tmp from outside, and tells runtime, init and the server.

        A runtime that waits is called first: it reads its variables while the launcher works, and begins when that is done.
        """
        cell.environment_id = launch.environment_id
        self._environments[launch.environment_id] = cell
        called = bool(launch.order) and cell.call_runtime(launch.for_runtime)
        try:
            if self._network is not None and not launch.internet:
                self._network.disconnect(cell.link)
            memory_bytes = launch.memory_bytes
            if self._disks is None and not self._rootless:
                memory_bytes += launch.ephemeral_mib << 20  # what /tmp holds is charged to the function
            if self._groups is not None and cell.group is not None:
                self._groups.limit(cell.group, memory_bytes)
            self._attach(launch, cell)
            if called:
                cell.let_runtime_begin()
            orders = launch.order if not called else []
            live = {"op": "live", "memory_bytes": memory_bytes, "called": called, "ordered": bool(orders)}
            wire.send(cell.intake, live, [*launch.for_init, *orders])
        except OSError:
            self._stock.kill(cell)
            raise
        files = cell.group.files if cell.group else {}
        answer = {"event": "launched", "id": launch.environment_id, "fork": cell.owner.forks, "host_id": cell.host_id,
                  "pipes": bool(cell.pipes), "listeners": len(cell.listeners), "roles": list(files)}  # fmt: skip
        self._tell(answer, [*cell.pipes, *cell.listeners, *files.values()])
        cell.let_go()

    def _attach(self, launch: requests.Launch, cell: Cell) -> None:
        trees: list[tuple[str, int]] = []
        try:
            for target, directory in launch.directories:
                trees.append((target, requests.clone_directory(directory, rootless=self._rootless)))
            trees.append(("/tmp", self._temporary(launch.ephemeral_mib)))
            assert cell.mounts is not None, "only sealed cells are moved into"
            syscalls.setns(cell.mounts, syscalls.CLONE_NEWNS)
            try:
                for target, tree in trees:
                    syscalls.attach_mount(tree, target)
            finally:
                syscalls.setns(self._own_mounts, syscalls.CLONE_NEWNS)
                os.fchdir(self._home)  # a change of mount namespace leaves for its root
        finally:
            wire.close_all([tree for _, tree in trees])

    def _temporary(self, size_mib: int) -> int:
        if self._disks is not None:
            return self._disks.take(size_mib)
        attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
        return syscalls.new_filesystem("tmpfs", "tmp", [f"size={size_mib}m", "mode=1777"], attributes)

    def _destroy(self, environment_id: str) -> None:
        cell = self._environments.get(environment_id)
        if cell is not None:
            self._stock.kill(cell)
        else:
            self._waiting.discard(environment_id)
            self._tell({"event": "gone", "id": environment_id})

    def _ended(self, cell: Cell) -> None:
        self._stock.release_host_id(cell)
        if cell.environment_id is not None:
            del self._environments[cell.environment_id]
        self._emptying[cell.name] = cell.environment_id
        self._remove_emptied()

    def _remove_emptied(self) -> None:
        """Tells the server of an environment's end once its control groups are gone too."""
        for name, environment_id in list(self._emptying.items()):
            if self._groups is None or self._groups.remove(name):
                del self._emptying[name]
                if environment_id is not None:
                    self._tell({"event": "gone", "id": environment_id})


def _own_directory(path: str) -> int:
    """A descriptor of the launcher's directory. Raises OSError when it is another user's."""
    home = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(home)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OSError(errno.EPERM, f"{path} belongs to user {status.st_uid}, or others may write to it")
    return home


def _take_host_id_block() -> tuple[int, int]:
    """A block of user ids that no other launcher on this host has: (lock that is held, first id)."""
    for number in range(layout.HOST_ID_BLOCKS):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(layout.HOST_ID_LOCK.format(number), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            os.ftruncate(lock, 0)  # which network its rules and links are in: see `network`
            os.pwrite(lock, str(os.stat("/proc/self/ns/net").st_ino).encode(), 0)
            return lock, layout.HOST_IDS_FROM + number * layout.HOST_IDS_PER_BLOCK
    raise OSError(errno.EAGAIN, f"{layout.HOST_ID_BLOCKS} other launchers run on this host")


def _enter_user_namespace() -> None:
    """Becomes root of a namespace in which only this user exists."""
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def main() -> None:
    """argv is SERVER_FD SETTINGS, the latter as JSON."""
    server = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    os.set_inheritable(server.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the server, whose end we then see
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0o022)
    try:
        if settings["rootless"]:
            _enter_user_namespace()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        with contextlib.suppress(OSError):  # only root may
            syscalls.write_to("/proc/self/oom_score_adj", _LAST_TO_GO)
        # The server that wakes it has more to say, to init, and is not to lose the processor over it.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        launcher = Launcher(server, settings)
    except OSError as error:
        wire.send(server, {"event": "broken", "reason": str(error)})
        raise SystemExit(1) from error
    launcher.run()
