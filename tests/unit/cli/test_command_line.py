from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import lambent
from lambent.cli import COMMANDS, main
from lambent.cli.logs import age_s


def run(*arguments: str, stdin: str = "", **environ: str) -> Result:
    cleared: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("AWS_", "LAMBENT_"))}
    return CliRunner(env={**cleared, **environ}).invoke(main, arguments, input=stdin)


def test_the_version_is_printed() -> None:
    assert run("--version").output == f"lambent {lambent.__version__}\n"


def test_asking_for_the_version_imports_no_client_and_no_server() -> None:
    program = (
        "import sys\nfrom lambent.cli import main\nmain(['--version'], standalone_mode=False)\nprint(*sys.modules)"
    )
    environ = {"PYTHONPATH": str(Path(lambent.__file__).parents[1]), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
    heavy = {"botocore", "boto3", "asyncio", "attrs", "uvloop", "msgspec", "watchfiles", "lambent.config"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_help_lists_the_commands() -> None:
    result = run("--help")
    assert all(f"  {name}" in result.output for name in COMMANDS)


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    assert run("fly").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["invoke", "f", "--payload", "{"], "the payload is not JSON"),
        (["invoke", "f", "--payload", "@/dev/null/x"], "Not a directory"),
        (["invoke", "f", "-o", "/dev/null/x"], "choose another file"),
        (["deploy", os.devnull], "give a file"),
        (["up", "--config", "/dev/null/x.toml"], "there is no such file"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_with_exit_status_1(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("lambent: ")
    assert words in result.stderr or "neither a file nor" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["deploy", "/dev/null/x"],
        ["deploy", "/tmp", "--memory", "64"],
        ["deploy", "/tmp", "--env", "novalue"],
        ["logs", "f", "--since", "yesterday"],
        ["invoke", "f", "--stream", "--log"],
        ["invoke", "f", "--endpoint-url", "localhost:4566"],
    ],
)
def test_misuse_is_exit_status_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["invoke", "f"], ["logs", "f"]])
def test_a_server_that_is_not_there_is_named_with_what_to_do(arguments: list[str]) -> None:
    result = run(*arguments, LAMBENT_ENDPOINT="http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "nothing answers at http://127.0.0.1:9" in result.stderr
    assert "lambent up" in result.stderr


def test_up_hands_the_merged_settings_to_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    def up(config: Any) -> int:
        given.append(config)
        return 7

    app = type(sys)("lambent.app")
    vars(app)["up"] = up
    monkeypatch.setitem(sys.modules, "lambent.app", app)
    monkeypatch.setattr(lambent, "app", app, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lambent.toml").write_text('auth = "enforce"\n')
    result = run("up", "--port", "0", "--data", "state", LAMBENT_REGION="eu-west-1")
    assert result.exit_code == 7, result.output
    assert (given[0].port, given[0].auth, given[0].region) == (0, "enforce", "eu-west-1")
    assert given[0].data_dir == tmp_path / "state"


def test_ages_are_a_number_and_a_unit() -> None:
    assert [age_s(text) for text in ("30s", "5m", "2h", "1d", "1w")] == [30, 300, 7200, 86_400, 604_800]
    with pytest.raises(click.BadParameter):
        age_s("5")


def test_runtimes_are_listed_as_json(tmp_path: Path) -> None:
    result = run("runtimes", "--json", "--data", str(tmp_path))
    rows = json.loads(result.stdout)
    assert rows
    assert {"runtime", "language", "version", "path", "sdk"} == set(rows[0])
