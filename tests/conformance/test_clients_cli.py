"""The AWS CLI against a real server: the commands of its users, from create to delete."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import attrs
import pytest

from aws_cli import aws_cli
from live_server import ROLE, RUNNING_PYTHON, LiveServer, package

CODE = "import os\ndef handler(event, context):\n    print('{0}')\n    return ['{0}', event, os.environ.get('WHO')]\n"


@attrs.frozen
class Cli:
    live: LiveServer

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return aws_cli(*map(str, arguments), AWS_ENDPOINT_URL=self.live.url)

    def __call__(self, *arguments: object) -> Any:
        done = self.run(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture
def aws(live: LiveServer) -> Cli:
    return Cli(live)


@pytest.fixture
def zips(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for text in ("one", "two"):
        made[text] = tmp_path / f"{text}.zip"
        made[text].write_bytes(package({"app.py": CODE.format(text)}))
    return made


def test_a_function_from_create_to_delete(aws: Cli, zips: dict[str, Path], tmp_path: Path) -> None:
    name, out = f"cli-{uuid.uuid4().hex[:8]}", tmp_path / "out.json"

    def invoke(*options: object) -> tuple[dict[str, Any], Any]:
        answer = aws("lambda", "invoke", "--function-name", name, "--payload", '{"a": 1}', *options, out)
        return answer, json.loads(out.read_text() or "null")

    created = aws(
        "lambda", "create-function", "--function-name", name, "--runtime", RUNNING_PYTHON, "--handler", "app.handler",
        "--role", ROLE, "--zip-file", f"fileb://{zips['one']}", "--tags", "team=a",
        "--environment", "Variables={WHO=me}",
    )  # fmt: skip
    assert created["FunctionArn"].endswith(f":function:{name}")
    aws("lambda", "wait", "function-active-v2", "--function-name", name)
    answer, payload = invoke("--log-type", "Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["LogResult"]
    assert payload == ["one", {"a": 1}, "me"]

    aws("lambda", "update-function-code", "--function-name", name, "--zip-file", f"fileb://{zips['two']}", "--publish")
    aws("lambda", "wait", "function-updated", "--function-name", name)
    aws("lambda", "update-function-configuration", "--function-name", name, "--environment", "Variables={WHO=you}")
    aws("lambda", "wait", "function-updated-v2", "--function-name", name)
    assert invoke()[1] == ["two", {"a": 1}, "you"]
    assert aws("lambda", "publish-version", "--function-name", name)["Version"] == "2"
    aws(
        "lambda", "create-alias", "--function-name", name, "--name", "live", "--function-version", "1",
        "--routing-config", "AdditionalVersionWeights={2=0.5}",
    )  # fmt: skip
    answer, payload = invoke("--qualifier", "live")
    assert (answer["ExecutedVersion"], payload[2]) in {("1", "me"), ("2", "you")}
    assert invoke("--invocation-type", "DryRun")[0]["StatusCode"] == 204

    messages = aws(
        "logs", "filter-log-events", "--log-group-name", f"/aws/lambda/{name}", "--filter-pattern", "two",
        "--query", "events[].message",
    )  # fmt: skip
    assert messages == ["two\n", "two\n"]
    aws("lambda", "delete-function", "--function-name", name)
    gone = aws.run("lambda", "get-function", "--function-name", name)
    assert gone.returncode != 0
    assert "ResourceNotFoundException" in gone.stderr


def test_a_layer(aws: Cli, zips: dict[str, Path], tmp_path: Path) -> None:
    name, out = f"cli-layered-{uuid.uuid4().hex[:8]}", tmp_path / "out.json"
    layer, code = tmp_path / "layer.zip", tmp_path / "code.zip"
    layer.write_bytes(package({"python/words.py": "WORD = 'from the layer'"}))
    code.write_bytes(package({"app.py": "import words\ndef handler(event, context):\n    return words.WORD\n"}))
    published = aws("lambda", "publish-layer-version", "--layer-name", name, "--zip-file", f"fileb://{layer}")
    assert published["Version"] == 1
    aws(
        "lambda", "create-function", "--function-name", name, "--runtime", RUNNING_PYTHON, "--handler", "app.handler",
        "--role", ROLE, "--zip-file", f"fileb://{code}", "--layers", published["LayerVersionArn"],
    )  # fmt: skip
    aws("lambda", "invoke", "--function-name", name, out)
    assert json.loads(out.read_text()) == "from the layer"
    assert name in aws("lambda", "list-layers", "--query", "Layers[].LayerName")
    aws("lambda", "delete-layer-version", "--layer-name", name, "--version-number", 1)


def test_refusals_are_errors_of_the_cli(aws: Cli, tmp_path: Path) -> None:
    done = aws.run("lambda", "invoke", "--function-name", "no-such", tmp_path / "out.json")
    assert done.returncode != 0
    assert "(ResourceNotFoundException) when calling the Invoke operation: Function not found: arn:aws:" in done.stderr
