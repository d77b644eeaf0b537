"""What cages leave traces of on the host: processes, mounts, control groups, loop devices. Needs root."""

from __future__ import annotations

import os
from pathlib import Path

from lambent.sandbox.privileged.layout import HOST_ID_BLOCKS, HOST_IDS_FROM, HOST_IDS_PER_BLOCK

CAGE_IDS = range(HOST_IDS_FROM, HOST_IDS_FROM + HOST_ID_BLOCKS * HOST_IDS_PER_BLOCK)


def command_lines() -> dict[int, str]:
    """The host's processes, those in cages included."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue
    return found


def processes_with(text: str) -> list[int]:
    return [pid for pid, line in command_lines().items() if text in line]


def control_groups(data: Path) -> list[Path]:
    """Those of a server's cages, in every hierarchy; see `sandbox/privileged/cgroups.py` for the name."""
    instance = f"{(data / 'sandbox').stat().st_ino:x}"
    # os.walk, because groups of other servers come and go meanwhile.
    return [Path(parent, name) for parent, names, _ in os.walk("/sys/fs/cgroup")
            if parent.endswith(f"/lambent/{instance}") for name in names]  # fmt: skip


def processes_in(groups: list[Path]) -> dict[int, int]:
    """Each group's processes: process → user id on the host."""
    found = {}
    for group in groups:
        try:
            pids = (group / "cgroup.procs").read_text().split()
        except (FileNotFoundError, OSError):  # removed meanwhile
            continue
        for pid in pids:
            try:
                found[int(pid)] = os.stat(f"/proc/{pid}").st_uid
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def is_frozen(pid: int) -> bool:
    """Whether a process's control group is frozen, by either version."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "freezer":
            return Path(f"/sys/fs/cgroup/freezer{path}/freezer.state").read_text() == "FROZEN\n"
        events = Path(f"/sys/fs/cgroup{path}/cgroup.events")
        if not controllers and events.exists() and "frozen 1" in events.read_text():
            return True
    return False


def descendants(ancestor: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for pid in command_lines():
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(pid)
    found, waiting = [], [ancestor]
    while waiting:
        waiting = [child for pid in waiting for child in children.get(pid, [])]
        found += waiting
    return found


def loop_devices(data: Path) -> list[str]:
    """Loop devices on a server's files."""
    found = []
    for device in Path("/sys/block").glob("loop*"):
        try:
            backing = (device / "loop" / "backing_file").read_text()
        except (FileNotFoundError, OSError):  # not in use
            continue
        if str(data) in backing:
            found.append(device.name)
    return found


def mounts(data: Path) -> list[str]:
    """Mounts on the host that show or lie under a server's directory, or lie on its loop devices."""
    wanted = [str(data), *(f"/dev/{name}" for name in loop_devices(data))]
    return [line for line in Path("/proc/mounts").read_text().splitlines() if any(text in line for text in wanted)]
