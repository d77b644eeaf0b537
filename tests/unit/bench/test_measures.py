"""The pure parts of measures, and what /proc is read for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fake_runtime_api import FakeRuntimeApi, Runtime, function_variables
from lambent.bench import processes
from lambent.bench.burst import rate_beyond
from lambent.bench.errors import NotMeasured
from lambent.bench.functions import HELLO_BOOTSTRAP, newest
from lambent.bench.interpreters import newest_python
from lambent.bench.peers.comparison import ratios
from lambent.bench.peers.tools import Tools, npm_version
from lambent.bench.snapstart import oldest_usable
from lambent.bench.soak import growth
from lambent.bench.warm import PAYLOADS, event
from lambent.bench.yardsticks import there_and_back_ms


def test_growth_compares_the_end_with_the_beginning_and_is_not_moved_by_one_sample() -> None:
    assert growth([100, 101, 100, 102, 5_000, 101, 100, 99, 110, 110]) == pytest.approx(110 / 100.5, abs=1e-4)
    with pytest.raises(NotMeasured, match="soak longer"):
        growth([1, 2, 3, 4])


def test_starts_that_the_pool_had_ready_do_not_count_as_beyond_it() -> None:
    from_pool, beyond = [0.0] * 20, [1 + number / 100 for number in range(80)]
    assert rate_beyond([*beyond, *from_pool]) == pytest.approx(100)


@pytest.mark.parametrize(
    ("family", "found"),
    [
        ("nodejs", "nodejs22.x"),
        ("java", "java25"),
        ("provided", "provided.al2023"),
        ("ruby", None),
        ("python", "python3.13"),
    ],
)
def test_the_newest_runtime_is_the_one_with_the_highest_number(family: str, found: str | None) -> None:
    there = [
        "java8.al2",
        "java17",
        "java25",
        "nodejs8.x",
        "nodejs22.x",
        "provided.al2",
        "provided.al2023",
        "python3.9",
        "python3.13",
    ]
    assert newest(there, family) == found


def test_the_newest_python_is_one_that_this_machine_has_and_its_own_yardstick() -> None:
    measured = newest_python()
    does_nothing = measured.does_nothing
    said = subprocess.run([does_nothing[0], "--version"], capture_output=True, text=True, check=True).stdout
    assert said == f"Python {measured.version}\n"
    assert measured.version.startswith(measured.runtime.removeprefix("python"))
    assert subprocess.run(does_nothing, check=True).returncode == 0


def test_snapstart_is_measured_with_the_oldest_python_that_has_it() -> None:
    assert oldest_usable(["python3.9", "python3.13", "python3.12", "nodejs20.x"]) == "python3.12"
    assert oldest_usable(["python3.11"]) is None


@pytest.mark.parametrize("size_bytes", PAYLOADS.values())
def test_payloads_have_the_size_that_they_are_named_after(size_bytes: int) -> None:
    assert len(event(size_bytes)) == size_bytes


def test_lambent_is_compared_in_the_same_language_and_at_the_most_connections_that_both_survive() -> None:
    def row(server: str, language: str, cold_ms: float, *per_s: float | None) -> dict[str, object]:
        warm = {c: {"per_s": v} if v else "not measured" for c, v in zip(("1", "8"), per_s, strict=True)}
        return {"server": server, "language": language, "cold_ms": {"median": cold_ms}, "warm": warm}

    rows = [row("Lambent", "Python", 2, 500, 1000), row("A b", "Python", 50, 20, 40), row("C", "Python", 30, 100, None)]
    found = {"cold_a_b_python": 25, "warm_a_b_python": 25, "cold_c_python": 15, "warm_c_python": 5}
    assert ratios(rows) == {**found, "python_cold_least": 15}
    assert ratios([*rows, row("D", "Node.js", 1, 1, 1)]) == {**found, "python_cold_least": 0.5}
    assert ratios(rows[:1]) == {}


def test_proc_tells_of_this_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        pids = processes.tree(os.getpid())
        assert {os.getpid(), child.pid} <= pids
        assert processes.user_of(child.pid) == os.getuid()
        assert processes.memory_mib([child.pid], processes.PRIVATE) > 0
        assert processes.descriptors([child.pid]) >= 3
        assert processes.command_of(child.pid).endswith("-c input() ")
        assert isinstance(processes.has_memory_limit(child.pid), bool)
        child.communicate(b"\n")
    assert processes.memory_mib([child.pid], processes.PROPORTIONAL) == 0
    assert processes.processor_s([child.pid]) == {}
    assert processes.command_of(child.pid) == ""
    assert not processes.has_memory_limit(child.pid)
    assert processes.spent_s({1: 2.0}, {1: 2.5, 2: 0.25}, [1, 2, 3]) == 0.75


@pytest.mark.parametrize(
    ("line", "file", "content", "is_limited"),
    [
        ("9:memory:/l/f", "memory/l/f/memory.limit_in_bytes", "134217728\n", True),
        ("9:cpuset,memory:/l/f", "memory/l/f/memory.limit_in_bytes", "9223372036854771712\n", False),
        ("0::/l/f", "l/f/memory.max", "134217728\n", True),
        ("0::/l/f", "l/f/memory.max", "max\n", False),
        ("0::/l/f", "l/f/other", "", False),
    ],
)
def test_a_cage_with_a_function_is_known_by_its_memory_limit(
    line: str, file: str, content: str, is_limited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(f"12:freezer:/l/f\n{line}\n")
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(content)
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr(processes, "CGROUPS", tmp_path)
    assert processes.has_memory_limit(7) is is_limited


def test_the_yardstick_for_large_payloads_copies_each_of_them_there_and_back() -> None:
    assert len(there_and_back_ms(b"x" * 300_000, 3)) == 3


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
def test_the_bootstrap_that_is_measured_is_a_runtime(tmp_path: Path) -> None:
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(HELLO_BOOTSTRAP)
    bootstrap.chmod(0o755)
    with (
        FakeRuntimeApi() as api,
        Runtime([str(bootstrap)], function_variables(api, tmp_path, "any", "provided.al2023")),
    ):
        for body in ({}, {"text": "äöü\n"}):
            assert api.call(body).json() == {"message": "hello"}


def test_a_peer_that_is_not_there_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotMeasured, match="ministack is not on PATH: `lambent bench --peers` installs"):
        Tools().program("ministack")
    with pytest.raises(NotMeasured, match="npm: no network"):
        Tools(tmp_path, ("npm: no network",)).program("serverless")
    program = tmp_path / "node_modules" / ".bin" / "serverless"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    (tmp_path / "node_modules" / "serverless-offline").mkdir()
    (tmp_path / "node_modules" / "serverless-offline" / "package.json").write_text('{"version": "13.1.2"}')
    assert Tools(tmp_path).program("serverless") == str(program)
    assert npm_version(str(program), "serverless-offline") == "13.1.2"
    assert npm_version(str(program), "lambda-local") == "unknown"
