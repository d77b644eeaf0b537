"""Chalice deploys an application straight to a running server, invokes it and takes it away again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import boto3
import pytest

from live_server import LiveServer, environ

REGION = "eu-west-2"  # of this test alone
APP = """
    from chalice import Chalice

    app = Chalice(app_name="orders")

    @app.lambda_function()
    def total(event, context):
        return {"total": sum(event["amounts"]), "name": context.function_name}
"""


def chalice(live: LiveServer, project: Path, *arguments: str, sent: str = "") -> str:
    program = Path(sys.executable).with_name("chalice")
    done = subprocess.run(
        [sys.executable, str(program), *arguments], cwd=project, capture_output=True, text=True, check=False, timeout=100,
        input=sent,
        env=environ(
            AWS_ENDPOINT_URL=live.url, AWS_DEFAULT_REGION=REGION, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test",
            AWS_CONFIG_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1", HOME=str(project),
        ),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".chalice").mkdir()
    config = {"version": "2.0", "app_name": "orders", "stages": {"dev": {"lambda_memory_size": 256}}}
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(config))
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))
    return tmp_path


def test_an_application_is_deployed_changed_and_deleted(live: LiveServer, project: Path) -> None:
    client = boto3.client(
        "lambda", endpoint_url=live.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    try:
        assert "Creating lambda function: orders-dev-total" in chalice(live, project, "deploy")
        said = chalice(live, project, "invoke", "-n", "total", sent='{"amounts": [1, 2, 3]}')
        assert json.loads(said) == {"total": 6, "name": "orders-dev-total"}
        found = client.get_function(FunctionName="orders-dev-total")
        assert found["Configuration"]["MemorySize"] == 256
        assert found["Tags"]["aws-chalice"].startswith("version=")
        (project / "app.py").write_text(textwrap.dedent(APP).replace("sum(", "max("))
        assert "Updating lambda function: orders-dev-total" in chalice(live, project, "deploy")
        said = chalice(live, project, "invoke", "-n", "total", sent='{"amounts": [1, 2, 3]}')
        assert json.loads(said)["total"] == 3
        chalice(live, project, "delete")
        assert client.list_functions()["Functions"] == []
    finally:
        client.close()
