"""What the kernel says of memory: the machine's, and the control groups' that this process is in."""

from __future__ import annotations

import time
from pathlib import Path

from lambent.sandbox.memory import FRESH_S, FRESH_S_PER_GIB, MachineMemory, total_mib

MIB = 1 << 20
MEMINFO = "MemTotal:  8388608 kB\nMemFree:  100 kB\nMemAvailable:  4194304 kB\n"
V2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "31 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


class Host:
    def __init__(self, root: Path, mountinfo: str, own: str) -> None:
        self.root = root
        (root / "proc" / "self").mkdir(parents=True)
        (root / "proc" / "meminfo").write_text(MEMINFO)
        (root / "proc" / "self" / "mountinfo").write_text(mountinfo)
        (root / "proc" / "self" / "cgroup").write_text(own)

    def group(self, path: str, **files: object) -> None:
        directory = self.root / "sys/fs/cgroup" / path
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (directory / f"memory.{name}").write_text(f"{content}\n")

    def available_mib(self) -> float:
        return MachineMemory(self.root / "proc", self.root).available_mib()


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert Host(tmp_path, "", "").available_mib() == 4096


def test_the_tightest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    host = Host(tmp_path, V2, "0::/a.slice/b.service\n")
    host.group("a.slice/b.service", max="max", current=10 * MIB, stat="inactive_file 0")
    host.group("a.slice", max=1000 * MIB, current=900 * MIB, stat=f"anon 5\ninactive_file {50 * MIB}")
    assert host.available_mib() == 150
    host.group("a.slice/b.service", max=20 * MIB, current=10 * MIB)
    assert host.available_mib() == 10


def test_an_answer_is_kept_for_a_moment_and_no_longer(tmp_path: Path) -> None:
    Host(tmp_path, "", "")
    little = MEMINFO.replace("4194304", "524288")
    (tmp_path / "proc" / "meminfo").write_text(little)
    memory = MachineMemory(tmp_path / "proc", tmp_path)
    assert memory.available_mib() == 512
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO)
    deadline = time.monotonic() + max(FRESH_S, FRESH_S_PER_GIB / 2)
    while time.monotonic() <= deadline:
        time.sleep(0.001)
    assert memory.available_mib() == 4096


def test_the_same_in_version_1(tmp_path: Path) -> None:
    host = Host(tmp_path, V1, "4:memory:/x\n1:name=systemd:/y\n")
    host.group("memory", limit_in_bytes=2**63 - 4096, usage_in_bytes=MIB, stat="total_inactive_file 0")
    host.group("memory/x", limit_in_bytes=300 * MIB, usage_in_bytes=200 * MIB, stat=f"total_inactive_file {MIB}")
    assert host.available_mib() == 101


def test_in_a_container_the_mount_is_our_group(tmp_path: Path) -> None:
    host = Host(tmp_path, V1, "4:memory:/docker/0123\n")
    host.group("memory", limit_in_bytes=64 * MIB, usage_in_bytes=MIB, stat="total_inactive_file 0")
    assert host.available_mib() == 63


def test_this_machine_has_memory() -> None:
    assert 0 < MachineMemory().available_mib() <= total_mib()


def test_a_group_that_goes_away_limits_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path, V2, "0::/a\n")
    host.group("a", max="max", current=0, stat="inactive_file 0")
    memory = MachineMemory(tmp_path / "proc", tmp_path)
    (tmp_path / "sys/fs/cgroup/a/memory.max").unlink()
    assert memory.available_mib() == 4096
