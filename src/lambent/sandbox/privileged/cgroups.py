"""Control groups: memory, processor, number of processes, freezing. Version 2, and version 1 where there is only that.

Descriptors are opened here, with root's rights, and handed on: the child writes "0" into `join` to move itself, and the
server freezes, thaws and reads through the others without asking anybody.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time

PERIOD_US = 20_000  # short, so that a small share comes in small pauses
_QUOTA_MIN_US = 1_000  # the kernel's
_SHARES_MIN = 2  # the kernel's, in version 1
_SHARES_STANDING_BACK = 16  # the smallest environment has 74
_WEIGHT_STANDING_BACK = 2  # and 7
MEMORY_PER_PROCESSOR_BYTES = 1_769 * 1024 * 1024
BOOST_PROCESSORS = 2.0  # while it initialises, an environment gets at least these
# Set when a group is made: for the first time it costs 70 to 150 µs once processes are in it.
_BOOST_US = int(PERIOD_US * BOOST_PROCESSORS)
_GROUP = "lambent"
_TCP_BYTES = 64 << 20  # what the kernel may hold in an environment's connections, where that is not part of its memory
_SWAP_LIMIT = "memory.memsw.limit_in_bytes"  # there only with swap accounting

ROLES = ("freezer", "peak", "memory_events", "processor_time", "quota")


def quota_us(memory_bytes: int) -> int:
    """Processor time for each period: one processor for each 1,769 MiB.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
    """
    return max(_QUOTA_MIN_US, PERIOD_US * memory_bytes // MEMORY_PER_PROCESSOR_BYTES)


def boosted_quota_us(memory_bytes: int) -> int:
    return max(_BOOST_US, quota_us(memory_bytes))


class Group:
    """One environment's groups: descriptors to join by, those of ROLES, and those by which the launcher limits it."""

    def __init__(self, join: list[int], files: dict[str, int], limits: dict[str, int]) -> None:
        self.join = join
        self.files = files
        self._limits = limits

    def set(self, name: str, value: str | int) -> None:
        """Raises OSError."""
        try:
            os.pwrite(self._limits.get(name) or self.files[name], str(value).encode(), 0)
        except OSError as error:
            raise OSError(error.errno, f"writing {value} to {name} of a control group: {error.strerror}") from error

    def joined(self) -> None:
        """Nobody else will."""
        while self.join:
            os.close(self.join.pop())

    def close(self) -> None:
        self.joined()
        for descriptor in [*self.files.values(), *self._limits.values()]:
            os.close(descriptor)


class CgroupsV1:
    """One hierarchy for each controller. `mounts`: controller → where it is mounted."""

    version = 1
    CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "freezer")

    def __init__(self, mounts: dict[str, str], instance: str) -> None:
        self._parents = {name: os.path.join(mounts[name], _GROUP) for name in self.CONTROLLERS}
        self._roots = {name: os.path.join(parent, instance) for name, parent in self._parents.items()}
        self._has_swap_limit = os.path.exists(f"{mounts['memory']}/{_SWAP_LIMIT}")
        self._lock = -1

    def prepare(self) -> None:
        """Makes the parents and removes what killed launchers left. Raises OSError."""
        for root in self._roots.values():
            os.makedirs(root, exist_ok=True)
        self._lock = _lock(self._roots["pids"])
        for other in _abandoned(self._parents["pids"]):
            roots = [os.path.join(parent, other) for parent in self._parents.values()]
            for name in {name for root in roots for name in _children(root)}:
                _write_if_there(f"{self._parents['freezer']}/{other}/{name}/freezer.state", "THAWED")
                for root in roots:
                    _remove(os.path.join(root, name))
            for root in roots:
                _remove(root)
        for name in sorted({name for root in self._roots.values() for name in _children(root)}):
            _kill_all(os.path.join(self._roots["pids"], name, "tasks"))
            self.let_die(name)
            _wait_removed(self, name)

    def create(self, name: str, processes: int) -> Group:
        """A group without a limit of memory yet, and with what an init may have of the processor. Raises OSError."""
        directories = {controller: os.path.join(root, name) for controller, root in self._roots.items()}
        for directory in set(directories.values()):
            os.mkdir(directory)
        memory, cpu = directories["memory"], directories["cpu"]
        _write(f"{memory}/memory.swappiness", 0)
        # Holds for connections that are made from now on.
        _write_if_there(f"{memory}/memory.kmem.tcp.limit_in_bytes", _TCP_BYTES)
        _write(f"{cpu}/cpu.cfs_period_us", PERIOD_US)
        _write(f"{cpu}/cpu.cfs_quota_us", _BOOST_US)
        _write(f"{directories['pids']}/pids.max", processes)
        # Writing "0" to `tasks` moves one thread at once; `cgroup.procs` waits for a grace period of the kernel.
        join = [_open_to_write(f"{directory}/tasks") for directory in set(directories.values())]
        files = {
            "freezer": _open_both(f"{directories['freezer']}/freezer.state"),
            "peak": _open(f"{memory}/memory.max_usage_in_bytes"),
            "memory_events": _open(f"{memory}/memory.oom_control"),
            "processor_time": _open(f"{directories['cpuacct']}/cpuacct.usage"),
            "quota": _open_both(f"{cpu}/cpu.cfs_quota_us"),
        }
        limits = {
            "memory": _open_to_write(f"{memory}/memory.limit_in_bytes"),
            "shares": _open_to_write(f"{cpu}/cpu.shares"),
        }
        if self._has_swap_limit:
            limits["memory and swap"] = _open_to_write(f"{memory}/{_SWAP_LIMIT}")
        return Group(join, files, limits)

    def stand_back(self, group: Group) -> None:
        """Until `limit`, what is in it gets the processor when nobody else wants it. Raises OSError."""
        group.set("shares", _SHARES_STANDING_BACK)

    def limit(self, group: Group, memory_bytes: int) -> None:
        """Raises OSError."""
        group.set("memory", memory_bytes)
        if self._has_swap_limit:
            group.set("memory and swap", memory_bytes)
        if (boosted_us := boosted_quota_us(memory_bytes)) != _BOOST_US:
            group.set("quota", boosted_us)
        group.set("shares", max(_SHARES_MIN, 1024 * memory_bytes // MEMORY_PER_PROCESSOR_BYTES))

    def let_die(self, name: str) -> None:
        """For a group that is being killed: a thousand processes that fork need seconds to die by their own share.

        A frozen process of version 1 does not even die.
        """
        _write_if_there(f"{self._roots['pids']}/{name}/pids.max", 0)
        _write_if_there(f"{self._roots['cpu']}/{name}/cpu.cfs_quota_us", -1)
        _write_if_there(f"{self._roots['freezer']}/{name}/freezer.state", "THAWED")

    def remove(self, name: str) -> bool:
        """False while something in it is still ending."""
        # A list, so that every one is tried.
        return all(_remove(os.path.join(root, name)) for root in self._roots.values())

    def close(self) -> None:
        for root in self._roots.values():
            _remove(root)
        os.close(self._lock)


class CgroupsV2:
    """The unified hierarchy below a directory that is ours (root's, or delegated)."""

    version = 2
    CONTROLLERS = ("memory", "cpu", "pids")

    def __init__(self, base: str, instance: str) -> None:
        self._base = base
        self._root = os.path.join(base, _GROUP, instance)
        self._lock = -1

    def prepare(self) -> None:
        """Raises OSError, when the controllers are not delegated, say."""
        os.makedirs(self._root, exist_ok=True)
        for directory in (self._base, os.path.dirname(self._root), self._root):
            _write(f"{directory}/cgroup.subtree_control", " ".join(f"+{name}" for name in self.CONTROLLERS))
        self._lock = _lock(self._root)
        parent = os.path.dirname(self._root)
        for other in _abandoned(parent):
            for name in _children(os.path.join(parent, other)):
                _remove(os.path.join(parent, other, name))
            _remove(os.path.join(parent, other))
        for name in _children(self._root):
            self.let_die(name)
            _kill_all(f"{self._root}/{name}/cgroup.procs")
            _wait_removed(self, name)

    def create(self, name: str, processes: int) -> Group:
        """A group without a limit of memory yet, and with what an init may have of the processor. Raises OSError."""
        directory = os.path.join(self._root, name)
        os.mkdir(directory)
        _write_if_there(f"{directory}/memory.swap.max", 0)
        _write(f"{directory}/pids.max", processes)
        _write(f"{directory}/cpu.max", f"{_BOOST_US} {PERIOD_US}")
        files = {
            "freezer": _open_both(f"{directory}/cgroup.freeze"),
            "peak": _open_first(f"{directory}/memory.peak", f"{directory}/memory.current"),  # peak: since Linux 5.19
            "memory_events": _open(f"{directory}/memory.events"),
            "processor_time": _open(f"{directory}/cpu.stat"),
            "quota": _open_both(f"{directory}/cpu.max"),
        }
        limits = {
            "memory": _open_to_write(f"{directory}/memory.max"),
            "weight": _open_to_write(f"{directory}/cpu.weight"),
        }
        return Group([_open_to_write(f"{directory}/cgroup.procs")], files, limits)

    def stand_back(self, group: Group) -> None:
        """Until `limit`, what is in it gets the processor when nobody else wants it. Raises OSError."""
        group.set("weight", _WEIGHT_STANDING_BACK)

    def limit(self, group: Group, memory_bytes: int) -> None:
        """Raises OSError."""
        group.set("memory", memory_bytes)
        if (boosted_us := boosted_quota_us(memory_bytes)) != _BOOST_US:
            group.set("quota", f"{boosted_us} {PERIOD_US}")
        group.set("weight", min(10_000, max(1, 100 * memory_bytes // MEMORY_PER_PROCESSOR_BYTES)))

    def let_die(self, name: str) -> None:
        """For a group that is being killed: a thousand processes that fork need seconds to die by their own share."""
        directory = os.path.join(self._root, name)
        _write_if_there(f"{directory}/pids.max", 0)
        _write_if_there(f"{directory}/cpu.max", f"max {PERIOD_US}")
        _write_if_there(f"{directory}/cgroup.kill", 1)  # since Linux 5.14

    def remove(self, name: str) -> bool:
        """False while something in it is still ending."""
        return _remove(os.path.join(self._root, name))

    def close(self) -> None:
        _remove(self._root)
        os.close(self._lock)


def find(mountinfo: str, own: str) -> tuple[dict[str, str], str | None]:
    """What /proc/self/mountinfo offers: version 1's controllers → mount points, and version 2's directory of our own.

    `own` is /proc/self/cgroup: of version 2 only what lies below our own group may be ours.
    """
    controllers: dict[str, str] = {}
    unified = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(" ", 2)
        if kind == "cgroup":
            for name in options.split(","):
                controllers.setdefault(name, fields[4])
        elif kind == "cgroup2":
            unified = fields[4]
    if unified is not None:
        path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
        unified = os.path.normpath(unified + path)
    return controllers, unified


def best(mountinfo: str, own: str, instance: str) -> CgroupsV1 | CgroupsV2 | None:
    """The version that has the controllers; None where neither has."""
    controllers, unified = find(mountinfo, own)
    if unified is not None and set(CgroupsV2.CONTROLLERS) <= set(_words(f"{unified}/cgroup.controllers")):
        return CgroupsV2(_above_processes(unified), instance)
    if set(CgroupsV1.CONTROLLERS) <= set(controllers):
        return CgroupsV1(controllers, instance)
    return None


def _above_processes(unified: str) -> str:
    """A group with processes cannot hand controllers down (the root may), so ours goes beside it then."""
    parent = os.path.dirname(unified)
    has_processes = bool(_words(f"{unified}/cgroup.procs"))
    is_root = not os.path.exists(f"{unified}/cgroup.type")
    return parent if has_processes and not is_root else unified


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _write(path: str, value: str | int) -> None:
    descriptor = _open_to_write(path)
    try:
        os.write(descriptor, str(value).encode())
    except OSError as error:
        raise OSError(error.errno, f"writing {value} to {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _write_if_there(path: str, value: str | int) -> None:
    with contextlib.suppress(FileNotFoundError):
        _write(path, value)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _open_to_write(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def _open_both(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _open_first(*paths: str) -> int:
    return _open(next((path for path in paths if os.path.exists(path)), paths[-1]))


def _children(directory: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _lock(directory: str) -> int:
    """Holds a launcher's groups for as long as the descriptor is open. Raises OSError when another launcher does."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise OSError(errno.EBUSY, f"another launcher uses {directory}") from None
    return held


def _abandoned(parent: str) -> list[str]:
    """The groups of launchers that are gone. Their processes went with them, so that these can simply be removed."""
    found = []
    for name in _children(parent):
        try:
            os.close(_lock(os.path.join(parent, name)))
        except OSError:
            continue
        found.append(name)
    return found


def _remove(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


def _kill_all(list_file: str) -> None:
    for pid in _words(list_file):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _wait_removed(groups: CgroupsV1 | CgroupsV2, name: str, patience_s: float = 5.0) -> None:
    deadline = time.monotonic() + patience_s
    while not groups.remove(name):
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, f"the control group {name} of an earlier run does not become empty")
        time.sleep(0.01)
