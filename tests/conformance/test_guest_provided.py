"""OS-only runtimes, and those that Lambent cannot run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fake_runtime_api import FakeRuntimeApi, Runtime, function_variables
from guests import NO_DATA
from lambent.runtimes import dotnet, find, nodejs_sdk, provided
from lambent.runtimes.errors import RuntimeMissing, RuntimeNotUsable
from lambent.runtimes.search import standard_paths

SHELL_BOOTSTRAP = """#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
  event=$(curl -sS -D /dev/stderr "$api/next" 2>"$HEADERS")
  id=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\\([^ \\r]*\\).*/\\1/p' "$HEADERS")
  curl -sS -o /dev/null -d "{\\"echo\\":$event}" "$api/$id/response"
done
"""


def test_os_only_runtimes_are_always_there_and_start_the_bootstrap() -> None:
    found = {installation.runtime: installation for installation in provided.find(standard_paths(NO_DATA))}
    assert set(found) == {"provided.al2023", "provided.al2"}
    assert all(installation.argv == () and installation.runtime_dir is None for installation in found.values())


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_a_bootstrap_of_a_few_lines_of_shell_speaks_to_the_runtime_api(tmp_path: Path) -> None:
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(SHELL_BOOTSTRAP)
    bootstrap.chmod(0o755)
    with FakeRuntimeApi() as api:
        variables = {
            **function_variables(api, tmp_path, "any", "provided.al2023"),
            "HEADERS": str(tmp_path / "headers"),
        }
        with Runtime([str(bootstrap)], variables):
            assert api.call({"n": 1}).json() == {"echo": {"n": 1}}
            assert api.call({"n": 2}).json() == {"echo": {"n": 2}}


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ("nodejs16.x", "needs Node.js 16"),
        ("java26", "needs Java 26"),
        ("ruby3.0", "needs Ruby 3.0"),
        ("dotnet8", "needs .NET 8 with a client for it"),
        ("provided", "Use provided.al2023 or provided.al2"),
    ],
)
def test_a_runtime_that_is_not_there_says_what_is_missing(tmp_path: Path, runtime: str, words: str) -> None:
    missing = find.missing(runtime)
    assert isinstance(missing, RuntimeMissing)
    assert words in str(missing)
    assert runtime not in find.discover(standard_paths(tmp_path))


def test_dotnet_is_never_offered() -> None:
    assert dotnet.find(standard_paths(NO_DATA)) == []


def test_the_sdk_for_nodejs_is_pinned_without_addresses() -> None:
    lock = (nodejs_sdk.HERE / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


def test_without_npm_the_sdk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeNotUsable, match="npm"):
        nodejs_sdk.build_node_sdk(tmp_path / "runtimes", lambda message: None)
    assert not (tmp_path / "runtimes" / "nodejs-sdk").exists() or not os.listdir(tmp_path / "runtimes" / "nodejs-sdk")


def test_an_npm_that_fails_is_quoted_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND'\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeNotUsable, match="ENOTFOUND"):
        nodejs_sdk.build_node_sdk(tmp_path / "runtimes", lambda message: None)
    assert os.listdir(tmp_path / "runtimes" / "nodejs-sdk") == []


@pytest.mark.long
@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm on this machine")
def test_the_sdk_is_installed_once_and_functions_import_it(tmp_path: Path) -> None:
    said: list[str] = []
    built = nodejs_sdk.build_node_sdk(tmp_path / "runtimes", said.append)
    assert nodejs_sdk.build_node_sdk(tmp_path / "runtimes", said.append) == built
    assert said[-1] == "The AWS SDK for JavaScript is there."
    installations = find.Installations.find(tmp_path)
    runtime = next(name for name in installations.by_runtime if name.startswith("nodejs"))
    installation = installations.for_runtime(runtime)
    assert installation.runtime_dir is not None
    code = tmp_path / "task"
    code.mkdir()
    (code / "index.mjs").write_text(
        "import {S3Client} from '@aws-sdk/client-s3'; import {DynamoDBDocumentClient} from '@aws-sdk/lib-dynamodb';"
        "export const handler = async () => [typeof S3Client, typeof DynamoDBDocumentClient]"
    )
    with FakeRuntimeApi() as api:
        variables = function_variables(api, code, "index.handler", runtime)
        variables["NODE_PATH"] = str(installation.runtime_dir / "node_modules")
        argv = [str(installation.executable), str(installation.runtime_dir / "bootstrap.cjs")]
        with Runtime(argv, variables):
            assert api.call().json() == ["function", "function"]
