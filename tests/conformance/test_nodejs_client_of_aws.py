"""AWS's own client for Node.js, `aws-lambda-ric` from npm, unchanged as the bootstrap of OS-only functions.

npm ships its native part as source only: the package's install script compiles curl, aws-lambda-cpp and an addon, which
takes minutes and needs the programs that `scripts/system-packages long` installs.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Final

import pytest

from fake_runtime_api import FakeRuntimeApi, Runtime, function_variables
from live_server import LiveServer, folder, running

NEEDED: Final = ("node", "npm", "cmake", "g++", "make", "autoconf", "automake", "libtoolize")
MISSING: Final = [tool for tool in NEEDED if shutil.which(tool) is None]
BUILD_TIMEOUT_S: Final = 900
RUN_TIME_PACKAGES: Final = ("aws-lambda-ric", "@aws")  # the others only compile
SOURCES: Final = ("deps", "src", "build", "scripts")  # what is left of compiling: 150 MB
MEMORY_MIB: Final = 1769  # one processor's worth, so that no quota slows the test
TOO_LARGE_BYTES: Final = 7_000_000

HANDLERS: Final = """
exports.handler = async (event, context) => {
  console.log('called with', event.n);
  if (event.fail) throw new RangeError('out of it');
  if (event.bytes) return 'x'.repeat(event.bytes);
  if (event.exit) process.exit(3);
  return { n: event.n + 1, pid: process.pid, name: context.functionName, left: context.getRemainingTimeInMillis() };
};
exports.streaming = awslambda.streamifyResponse(async (event, stream) => {
  stream.setContentType('text/plain');
  stream.write('first ');
  await new Promise((done) => setTimeout(done, 300));
  stream.end('second');
});
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(BUILD_TIMEOUT_S + 120),
    pytest.mark.skipif(bool(MISSING), reason=f"to compile aws-lambda-ric, this machine lacks {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A function's directory: handlers, a bootstrap, and of AWS's client what runs."""
    building = tmp_path_factory.mktemp("build")
    npm = ["npm", "install", "--no-audit", "--no-fund", "aws-lambda-ric"]
    done = subprocess.run(
        npm, cwd=building, env=_build_variables(), capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    installed = building / "node_modules"
    code = tmp_path_factory.mktemp("code")
    for name in RUN_TIME_PACKAGES:
        if (installed / name).exists():
            shutil.copytree(installed / name, code / "node_modules" / name, ignore=shutil.ignore_patterns(*SOURCES))
    program = json.loads((installed / "aws-lambda-ric" / "package.json").read_text())["bin"]["aws-lambda-ric"]
    bootstrap = code / "bootstrap"
    bootstrap.write_text(
        f'#!/bin/sh\ncd "$LAMBDA_TASK_ROOT" && exec node "node_modules/aws-lambda-ric/{program}" "$_HANDLER"\n'
    )
    bootstrap.chmod(0o755)
    (code / "index.js").write_text(HANDLERS)
    return code


def _build_variables() -> dict[str, str]:
    """All processors compile; where the interpreter's headers are on the machine, they are not fetched."""
    variables = {**os.environ, "MAKEFLAGS": f"-j{len(os.sched_getaffinity(0))}"}
    node = shutil.which("node")
    prefix = Path(node).resolve().parents[1] if node is not None else None
    if prefix is not None and (prefix / "include" / "node" / "node_api.h").exists():
        variables["npm_config_nodedir"] = str(prefix)
    return variables


def test_it_answers_a_scripted_runtime_api(code: Path) -> None:
    with FakeRuntimeApi() as api:
        variables = function_variables(api, code, "index.handler", "provided.al2023")
        with Runtime([str(code / "bootstrap")], variables):
            assert api.call({"n": 1}).json()["n"] == 2
            failed = api.call({"fail": True})
            assert (failed.kind, failed.json()["errorType"]) == ("error", "RangeError")
            assert api.call({"n": 2}).json()["n"] == 3


@pytest.fixture(scope="module")
def function(live: LiveServer, code: Path) -> str:
    return _create(live, code)


def _create(server: LiveServer, code: Path, handler: str = "index.handler") -> str:
    return server.create(
        folder(code),
        handler,
        Runtime="provided.al2023",
        Timeout=20,
        MemorySize=MEMORY_MIB,
        Layers=_interpreter(server),
    )


def _interpreter(server: LiveServer) -> list[str]:
    """Layers with `bin/node`, unless cages show the machine's: they do not show /usr/local or homes."""
    if shutil.which("node", path="/usr/bin:/bin") is not None:
        return []
    node = shutil.which("node")
    assert node is not None
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        written.write(Path(node).resolve(), "bin/node")
    layer = server.client().publish_layer_version(LayerName="node", Content={"ZipFile": archive.getvalue()})
    return [layer["LayerVersionArn"]]


def test_it_answers_logs_and_fails_on_a_server(live: LiveServer, function: str) -> None:
    answer = live.invoke(function, {"n": 1})
    told = answer.value
    assert (told["n"], told["name"]) == (2, function)
    assert 0 < told["left"] <= 20_000
    assert "\tINFO\tcalled with 1\n" in answer.log
    error = live.invoke(function, {"fail": True}).error
    assert (error["errorType"], error["errorMessage"]) == ("RangeError", "out of it")
    assert live.invoke(function, {"n": 2}).value["pid"] == told["pid"]


def test_an_answer_that_is_too_large_and_an_exit_are_told_as_on_aws(live: LiveServer, function: str) -> None:
    error = live.invoke(function, {"bytes": TOO_LARGE_BYTES}).error
    assert error["errorType"] == "Function.ResponseSizeTooLarge"
    error = live.invoke(function, {"exit": True}).error
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    assert live.invoke(function, {"n": 3}).value["n"] == 4


def test_it_streams(live: LiveServer, code: Path) -> None:
    name = _create(live, code, "index.streaming")
    answer = live.client().invoke_with_response_stream(FunctionName=name, Payload=b"{}")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == "text/plain"
    chunks = [event["PayloadChunk"]["Payload"] for event in answer["EventStream"] if "PayloadChunk" in event]
    assert b"".join(chunks) == b"first second"
    assert len(chunks) > 1


def test_a_handler_that_is_not_there_is_told(live: LiveServer, code: Path) -> None:
    error = live.invoke(_create(live, code, "index.none")).error
    assert (error["errorType"], error["errorMessage"]) == (
        "Runtime.HandlerNotFound",
        "index.none is undefined or not exported",
    )


@pytest.mark.parametrize("level", ["rootless", "process"])
def test_it_works_at_the_other_levels(code: Path, tmp_path: Path, level: str) -> None:
    with running(tmp_path / "data", "--isolation", level) as server:
        name = _create(server, code)
        assert [server.invoke(name, {"n": n}).value["n"] for n in range(3)] == [1, 2, 3]
