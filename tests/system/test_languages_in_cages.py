"""Node.js and Java functions inside real cages, at the levels that this machine can make."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cagebench import Bench, make_sandbox, open_to_all
from fake_runtime_api import FakeRuntimeApi
from guests import NO_DATA
from lambent.model.cage import EnvironmentSpec, IsolationLevel
from lambent.runtimes.find import Installations, discover
from lambent.runtimes.java import CLIENT_JAR
from lambent.runtimes.search import standard_paths

LEVELS = [IsolationLevel.PROCESS, IsolationLevel.ROOT if os.geteuid() == 0 else IsolationLevel.ROOTLESS]
SMALLEST_MIB = 128
NODEJS = """
    console.log('at load');
    export const handler = async (event, context) => ({ event, name: context.functionName, root: process.cwd() });
"""
JAVA = """
    package example;
    import com.amazonaws.services.lambda.runtime.*;
    import java.util.*;
    public class Main implements RequestHandler<Map<String, Object>, Map<String, Object>> {
        public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
            context.getLogger().log("logged");
            Map<String, Object> answer = new HashMap<>();
            answer.put("event", event);
            answer.put("name", context.getFunctionName());
            answer.put("root", System.getProperty("user.dir"));
            return answer;
        }
    }
"""


@pytest.fixture(scope="module")
def installations(tmp_path_factory: pytest.TempPathFactory) -> Installations:
    return Installations.find(open_to_all(tmp_path_factory.mktemp("data")))


@pytest.fixture(params=LEVELS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path, installations: Installations) -> AsyncIterator[Bench]:
    root = open_to_all(tmp_path)
    mounted = [mount.source for found in installations.by_runtime.values() for mount in found.host_mounts]
    sandbox = make_sandbox(request.param, root, [installations.directories.root, *mounted])
    bench = Bench(sandbox, root)
    yield bench
    await bench.close()
    await sandbox.close()


async def answer_of(
    bench: Bench, installations: Installations, runtime: str, code: Path, handler: str
) -> dict[str, object]:
    """What the function answers in a cage of the smallest memory size, once it has logged something, too."""
    installation = installations.for_runtime(runtime)
    spec = EnvironmentSpec(
        environment_id=uuid.uuid4().hex,
        installation=installation,
        code_dir=open_to_all(code),
        layers_dir=None,
        variables={
            **installation.environment,
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_LAMBDA_FUNCTION_NAME": "hello",
        },
        memory_mib=SMALLEST_MIB,
        ephemeral_mib=512,
    )
    running = await bench.launch(spec)
    with FakeRuntimeApi(running.cage.runtime_api) as api:
        await running.cage.start_runtime()
        posted = await asyncio.to_thread(api.call, {"n": 1})
        await running.until(lambda: bool(running.logs))
    assert posted.kind == "response", (posted.body, bytes(running.output))
    answer: dict[str, object] = posted.json()
    return answer


def runtimes(prefix: str) -> list[str]:
    return sorted(name for name in discover(standard_paths(NO_DATA)) if name.startswith(prefix))


@pytest.mark.parametrize("runtime", runtimes("nodejs"))
async def test_nodejs_runs_in_a_cage(bench: Bench, installations: Installations, runtime: str, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "index.mjs").write_text(NODEJS)
    answer = await answer_of(bench, installations, runtime, code, "index.handler")
    root = answer.pop("root")
    assert answer == {"event": {"n": 1}, "name": "hello"}
    assert bench.sandbox.level is IsolationLevel.PROCESS or root == "/var/task"


def compile_java(directory: Path, client: Path) -> Path:
    source, classes = directory / "Main.java", directory / "code"
    source.write_text(JAVA)
    subprocess.run(["javac", "--release", "17", "-cp", str(client), "-d", str(classes), str(source)], check=True)
    return classes


@pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK on this machine")
@pytest.mark.parametrize("runtime", runtimes("java"))
async def test_java_runs_in_a_cage(bench: Bench, installations: Installations, runtime: str, tmp_path: Path) -> None:
    installation = installations.for_runtime(runtime)
    assert installation.runtime_dir is not None
    code = await asyncio.to_thread(compile_java, tmp_path, installation.runtime_dir / CLIENT_JAR)
    answer = await answer_of(bench, installations, runtime, code, "example.Main")
    root = answer.pop("root")
    assert answer == {"event": {"n": 1}, "name": "hello"}
    assert bench.sandbox.level is IsolationLevel.PROCESS or root == "/var/task"
