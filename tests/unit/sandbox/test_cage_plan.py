"""The printed plan, and which programs it would start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from lambent.model.cage import EnvironmentSpec, HostMount, IsolationLevel, RuntimeInstallation, StartMethod
from lambent.runtimes import java, nodejs
from lambent.sandbox import programs
from lambent.sandbox.plan import plan_environment

PYTHON = RuntimeInstallation(
    runtime="python3.13", family="python", version="3.13.0", start=StartMethod.FORK, executable=Path("/opt/py/bin/python3"),
    argv=("/var/lang/bin/python3", "/var/runtime/bootstrap.py"),
    host_mounts=(HostMount(source=Path("/opt/py"), target="/var/lang"),), runtime_dir=Path("/srv/runtime"),
    environment={"LD_LIBRARY_PATH": "/var/lang/lib:/opt/lib"},
)  # fmt: skip


def spec(**changes: Any) -> EnvironmentSpec:
    made = EnvironmentSpec(
        environment_id="0" * 32, installation=PYTHON, code_dir=Path("/srv/code"), layers_dir=Path("/srv/layers"),
        variables={"A": "/var/task", "PATH": "/var/lang/bin:/usr/bin:/opt/bin", "LD_LIBRARY_PATH": "/var/lang/lib:/opt/lib"},
        memory_mib=1769, ephemeral_mib=1024,
    )  # fmt: skip
    return attrs.evolve(made, **changes)


def test_a_plan_for_root_names_every_mechanism() -> None:
    plan = plan_environment(spec(), IsolationLevel.ROOT)
    mounts = {mount.target: mount for mount in plan.mounts}
    assert mounts["/var/task"].options == ("ro", "nosuid", "nodev")
    assert mounts["/var/lang"].source == "/opt/py"
    assert mounts["/tmp"].source == "ext4"
    assert "size=1024m" in mounts["/tmp"].options
    assert set(plan.namespaces) == {"mount", "pid", "ipc", "uts", "network", "cgroup", "user"}
    assert plan.processor_share == 1.0
    assert plan.capabilities == ()
    assert plan.start.startswith("fork")
    assert {"mount", "ptrace", "bpf", "unshare"} <= set(plan.refused_system_calls)


def test_without_disks_the_memory_limit_grows_by_the_size_of_tmp() -> None:
    plan = plan_environment(spec(), IsolationLevel.ROOT, disks=False)
    assert plan.memory_limit_bytes == (1769 + 1024) << 20
    assert {m.target: m for m in plan.mounts}["/tmp"].source == "tmpfs"


@pytest.mark.parametrize("level", list(IsolationLevel))
def test_every_plan_can_be_printed_and_stored(level: IsolationLevel) -> None:
    plan = plan_environment(spec(), level)
    assert json.loads(json.dumps(plan.as_json()))["level"] == level.value
    assert f"level       {level.value}" in plan.render()


def test_at_level_process_paths_lead_to_the_host() -> None:
    plan = plan_environment(spec(), IsolationLevel.PROCESS)
    assert plan.programs == (("/opt/py/bin/python3", "/srv/runtime/bootstrap.py"),)
    variables = programs.PathMap.of(spec()).variables(spec().variables, frozenset(PYTHON.environment))
    assert variables == {
        "A": "/var/task",  # the function's own variable is left alone
        "PATH": "/opt/py/bin:/usr/bin:/srv/layers/bin",
        "LD_LIBRARY_PATH": "/opt/py/lib:/srv/layers/lib",
    }


def test_a_wrapper_script_is_executed_with_the_programs_arguments() -> None:
    wrapped = spec(variables={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"})
    assert programs.candidates(wrapped) == [("/opt/wrap", "/var/lang/bin/python3", "/var/runtime/bootstrap.py")]
    assert not programs.starts_by_fork(wrapped)


def test_an_os_only_runtime_looks_for_bootstrap_where_aws_does() -> None:
    own = attrs.evolve(PYTHON, family="provided", argv=())
    assert [argv[0] for argv in programs.candidates(spec(installation=own))] == [
        "/var/runtime/bootstrap", "/var/task/bootstrap", "/opt/bootstrap"
    ]  # fmt: skip


def test_an_extension_does_not_get_what_is_the_runtimes_alone() -> None:
    given = programs.runtime_variables(spec(variables={"_HANDLER": "a.b", "X": "1"}), "127.0.0.1:9001", "http://e")
    assert given["_LAMBDA_TELEMETRY_LOG_FD"] == "3"
    assert programs.extension_variables(given) == {
        "X": "1", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_ENDPOINT_URL": "http://e"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "ahead"),
    [
        ({}, True), ({"NODE_ENV": "production", "HOME": "/tmp", "NODE_TLS_REJECT_UNAUTHORIZED": "0"}, True),
        ({"NODE_OPTIONS": "--enable-source-maps"}, False), ({"NODE_EXTRA_CA_CERTS": "/var/task/ca.pem"}, False),
        ({"LD_PRELOAD": "/opt/x.so"}, False), ({"LD_LIBRARY_PATH": "/opt/own"}, False), ({"TZ": "Asia/Tokyo"}, False),
        ({"UV_THREADPOOL_SIZE": "8"}, False), ({"LC_ALL": "de_DE.UTF-8"}, False),
        ({"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}, False),
    ],
)  # fmt: skip
def test_nodejs_is_started_ahead_unless_its_start_depends_on_the_functions_variables(
    variables: dict[str, str], ahead: bool
) -> None:
    node = attrs.evolve(PYTHON, start=StartMethod.EXEC, family="nodejs", read_at_start=nodejs.READ_AT_START)
    assert programs.starts_ahead(spec(installation=node, variables={**PYTHON.environment, **variables})) is ahead


@pytest.mark.parametrize(
    ("variables", "ahead"),
    [
        ({}, True), ({"JAVA_HOME": "/opt/jdk", "PATH": "/opt/bin", "AWS_REGION": "eu-west-1", "JAVA_VERSION": "17"}, True),
        ({"JAVA_TOOL_OPTIONS": "-XX:+TieredCompilation"}, False), ({"JDK_JAVA_OPTIONS": ""}, False),
        ({"_JAVA_OPTIONS": "-Xss1m"}, False), ({"LD_PRELOAD": "/opt/x.so"}, False), ({"TZ": "Asia/Tokyo"}, False),
        ({"LC_ALL": "de_DE.UTF-8"}, False), ({"MALLOC_ARENA_MAX": "2"}, False), ({"HOME": "/tmp"}, False),
        ({"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}, False),
    ],
)  # fmt: skip
def test_java_is_started_ahead_unless_its_start_depends_on_the_functions_variables(
    variables: dict[str, str], ahead: bool
) -> None:
    jvm = attrs.evolve(PYTHON, start=StartMethod.EXEC, family="java", read_at_start=java.READ_AT_START)
    assert programs.starts_ahead(spec(installation=jvm, variables={**PYTHON.environment, **variables})) is ahead


def test_a_runtime_that_cannot_wait_is_not_started_ahead() -> None:
    assert not programs.starts_ahead(spec())
