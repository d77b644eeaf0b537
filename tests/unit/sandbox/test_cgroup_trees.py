"""Control groups of both versions, against trees of plain files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lambent.sandbox.privileged import cgroups
from lambent.sandbox.privileged.cgroups import CgroupsV1, CgroupsV2

MIB = 1 << 20

V2_FILES = ("cgroup.procs", "cgroup.freeze", "cgroup.kill", "cgroup.subtree_control", "memory.max", "memory.swap.max", "memory.peak",
            "memory.events", "memory.current", "cpu.max", "cpu.weight", "cpu.stat", "pids.max")  # fmt: skip
V1_FILES = ("tasks", "freezer.state", "memory.limit_in_bytes", "memory.swappiness", "memory.max_usage_in_bytes",
            "memory.oom_control", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.shares", "pids.max",
            "cpuacct.usage")  # fmt: skip


@pytest.fixture(autouse=True)
def fake_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """mkdir in a cgroup file system makes the files too, and rmdir takes them along."""
    make, remove = os.mkdir, os.rmdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        make(path, mode)
        for name in V1_FILES if "v1" in str(path) else V2_FILES:
            (Path(path) / name).touch()

    def rmdir(path: str) -> None:
        for name in V1_FILES + V2_FILES:
            (Path(path) / name).unlink(missing_ok=True)
        remove(path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "rmdir", rmdir)


def test_version_2_writes_every_limit(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").touch()
    groups = CgroupsV2(str(tmp_path), "here")
    groups.prepare()
    group = groups.create("one", 1024)
    groups.limit(group, 256 * MIB)
    directory = tmp_path / "lambent" / "here" / "one"
    written = {
        name: (directory / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    }
    assert written == {
        "memory.max": str(256 * MIB),
        "memory.swap.max": "0",
        "pids.max": "1024",
        "cpu.max": "40000 20000",
    }
    for parent in (tmp_path, tmp_path / "lambent", tmp_path / "lambent" / "here"):
        assert (parent / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    assert set(group.files) == set(cgroups.ROLES)
    os.write(group.join[0], b"0")
    assert (directory / "cgroup.procs").read_text() == "0"
    group.close()
    assert groups.remove("one")
    assert not directory.exists()
    assert groups.remove("one")


def test_version_1_writes_every_limit_in_its_hierarchy(tmp_path: Path) -> None:
    mounts = {name: str(tmp_path / "v1" / name) for name in CgroupsV1.CONTROLLERS}
    groups = CgroupsV1(mounts, "here")
    groups.prepare()
    group = groups.create("one", 1024)
    groups.limit(group, 1769 * MIB)

    def read(controller: str, name: str) -> str:
        return (tmp_path / "v1" / controller / "lambent" / "here" / "one" / name).read_text()

    assert read("memory", "memory.limit_in_bytes") == str(1769 * MIB)
    assert read("memory", "memory.swappiness") == "0"
    assert read("cpu", "cpu.cfs_period_us") == "20000"
    assert read("cpu", "cpu.shares") == "1024"
    assert read("pids", "pids.max") == "1024"
    assert len(group.join) == len(CgroupsV1.CONTROLLERS)
    assert set(group.files) == set(cgroups.ROLES)
    group.close()
    assert groups.remove("one")


def test_what_is_killed_may_not_fork_and_is_not_slowed_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").touch()
    second = CgroupsV2(str(tmp_path), "here")
    first = CgroupsV1({name: str(tmp_path / "v1" / name) for name in CgroupsV1.CONTROLLERS}, "here")
    for groups in (first, second):
        groups.prepare()
        group = groups.create("one", 1024)
        groups.limit(group, 128 * MIB)
        group.close()
        groups.let_die("one")
        groups.let_die("none")  # it is gone already
    by_version = {
        "lambent/here/one": {"pids.max": "0", "cpu.max": "max 20000", "cgroup.kill": "1"},
        "v1/pids/lambent/here/one": {"pids.max": "0"},
        "v1/cpu/lambent/here/one": {"cpu.cfs_quota_us": "-1"},
        "v1/freezer/lambent/here/one": {"freezer.state": "THAWED"},
    }
    for directory, written in by_version.items():
        for name, text in written.items():  # over what stood there: plain files are not emptied first
            assert (tmp_path / directory / name).read_text().startswith(text)


@pytest.mark.parametrize(
    ("memory_mib", "quota_us", "boosted_us"),
    [(128, 1447, 40_000), (1769, 20_000, 40_000), (3538, 40_000, 40_000), (10_240, 115_771, 115_771)],
)
def test_one_processor_for_each_1769_mib(memory_mib: int, quota_us: int, boosted_us: int) -> None:
    assert cgroups.quota_us(memory_mib * MIB) == quota_us
    assert cgroups.boosted_quota_us(memory_mib * MIB) == boosted_us


HYBRID = """\
25 22 0:22 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw
26 25 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
29 25 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
30 25 0:27 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
"""


def test_a_hybrid_machine_uses_the_version_that_has_the_controllers() -> None:
    controllers, unified = cgroups.find(HYBRID, "0::/\n")
    assert controllers["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert unified == "/sys/fs/cgroup/unified"


def test_a_unified_machine_uses_what_lies_beside_its_own_group(tmp_path: Path) -> None:
    service = tmp_path / "system.slice" / "lambent.service"
    service.mkdir(parents=True)
    (service / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (service / "cgroup.type").write_text("domain\n")
    (service / "cgroup.procs").write_text("42\n")
    mountinfo = f"30 23 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    found = cgroups.best(mountinfo, "0::/system.slice/lambent.service\n", "here")
    assert isinstance(found, CgroupsV2)
    (service / "cgroup.controllers").write_text("pids\n")
    assert cgroups.best(mountinfo, "0::/system.slice/lambent.service\n", "here") is None
