"""The command line against a real server with real cages, each command a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import lambent

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
START_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 60
SAVE_TO_ANSWER_S = 5.0  # a second on a machine with nothing else to do


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_"))}
    return {**kept, "PYTHONPATH": str(Path(lambent.__file__).parents[1]), **more}


@attrs.frozen
class Session:
    """A running server, and the command line pointed at it."""

    url: str
    data: Path

    def environ(self) -> dict[str, str]:
        return environment(LAMBENT_ENDPOINT=self.url, LAMBENT_DATA_DIR=str(self.data))

    def run(self, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lambent", *map(str, arguments)], env=self.environ(), input=stdin,
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip

    def succeed(self, *arguments: object, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lambent", *map(str, arguments)], env={**self.environ(), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip


class Lines:
    """What a process prints, line by line, with a deadline."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def wait_for(self, wanted: Callable[[str], Any], timeout_s: float = COMMAND_TIMEOUT_S, after: int = 0) -> str:
        with self._changed:

            def matching() -> list[str]:
                return [line for line in self._lines[after:] if wanted(line)]

            self._changed.wait_for(lambda: matching() or self._ended, timeout_s)
            assert matching(), f"not printed within {timeout_s} s; printed: {self._lines}"
            return matching()[0]

    def count(self) -> int:
        with self._changed:
            return len(self._lines)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    try:
        return process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    data = tmp_path_factory.mktemp("cli") / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "lambent", "up", "--port", "0", "--data", str(data)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        ready = Lines(process).wait_for(lambda line: "is ready" in line, START_TIMEOUT_S)
        address = re.search(r"http://\S+", ready)
        assert address
        yield Session(address[0], data)
    finally:
        end(process)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Python function that says which text it was written with."""
    code = tmp_path / f"fn-{tmp_path.name[-40:]}"
    code.mkdir()
    save(code, "one")
    return code


def save(code: Path, text: str) -> None:
    (code / "app.py").write_text(
        f"import os\n\ndef handler(event, context):\n    print('said {text}')\n"
        f"    return {{'text': '{text}', 'event': event, 'variable': os.environ.get('WHO')}}\n"
    )


def name_of(code: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", code.name).strip("-")


def test_a_folder_is_deployed_called_and_its_log_read(session: Session, folder: Path) -> None:
    done = session.run("deploy", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Created {name_of(folder)}: python3.")
    assert f"Guessed name {name_of(folder)}, handler app.handler, runtime python3." in done.stderr
    answer = session.succeed("invoke", name_of(folder), "--payload", '{"a": 1}')
    assert json.loads(answer) == {"text": "one", "event": {"a": 1}, "variable": None}
    lines = session.succeed("logs", name_of(folder)).splitlines()
    assert "said one" in lines
    assert [line.split(" ")[0] for line in lines if re.match("START|END|REPORT", line)] == ["START", "END", "REPORT"]


def test_deploying_again_changes_only_what_differs(session: Session, folder: Path) -> None:
    def deployed(*arguments: object) -> Any:
        return json.loads(session.succeed("deploy", folder, "--json", *arguments))

    first = deployed("--env", "WHO=me", "--env", "OTHER=x", "--memory", "256")
    assert (first["Action"], first["Handler"], first["State"]) == ("created", "app.handler", "Active")
    same = deployed()
    assert (same["Action"], same["RevisionId"], same["CodeSha256"]) == (
        "unchanged", first["RevisionId"], first["CodeSha256"]
    )  # fmt: skip
    assert deployed("--env", "WHO=you")["Action"] == "updated"
    save(folder, "two")
    changed = deployed()
    assert changed["Action"] == "updated"
    assert changed["CodeSha256"] != first["CodeSha256"]
    answer = json.loads(session.succeed("invoke", first["FunctionName"], "--json"))
    assert answer["Payload"] == {"text": "two", "event": {}, "variable": "you"}
    assert answer["StatusCode"] == 200


def test_watch_deploys_every_save_and_goes_on_after_a_bad_one(session: Session, folder: Path) -> None:
    process = session.start("deploy", folder, "--watch")
    try:
        lines = Lines(process)
        lines.wait_for(lambda line: line.startswith("Watching"))
        for text in ("two", "three"):
            seen = lines.count()
            began = time.monotonic()
            save(folder, text)
            lines.wait_for(lambda line: line.startswith("Updated"), after=seen)
            assert time.monotonic() - began < SAVE_TO_ANSWER_S
            assert json.loads(session.succeed("invoke", name_of(folder)))["text"] == text
        seen = lines.count()
        (folder / "pipe").symlink_to("/usr")
        lines.wait_for(lambda line: line.startswith("lambent: "), after=seen)
        (folder / "pipe").unlink()
        seen = lines.count()
        save(folder, "four")
        lines.wait_for(lambda line: line.startswith("Updated"), after=seen)
    finally:
        end(process, signal.SIGINT)


def test_a_layer_is_published_once_and_found_by_the_function(session: Session, tmp_path: Path) -> None:
    layer, code = tmp_path / "greetings", tmp_path / "with-layer"
    layer.mkdir()
    code.mkdir()
    (layer / "greetings.py").write_text("WORD = 'from a layer'\n")
    (code / "app.py").write_text("import greetings\n\ndef handler(event, context):\n    return greetings.WORD\n")
    session.succeed("deploy", code, "--layer", layer)
    assert json.loads(session.succeed("invoke", "with-layer")) == "from a layer"
    again = json.loads(session.succeed("deploy", code, "--layer", layer, "--json"))
    assert again["Action"] == "unchanged"


def test_a_function_that_fails_is_exit_status_1_with_the_reason(session: Session, tmp_path: Path) -> None:
    source = tmp_path / "failing.py"
    source.write_text("def handler(event, context):\n    raise KeyError('no such thing')\n")
    session.succeed("deploy", source)
    done = session.run("invoke", "failing", "--log")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "KeyError"
    assert "failing failed (Unhandled): KeyError" in done.stderr
    assert "REPORT RequestId" in done.stderr


def test_the_payload_comes_from_a_file_or_standard_input_and_the_answer_goes_to_a_file(
    session: Session, folder: Path, tmp_path: Path
) -> None:
    session.succeed("deploy", folder, "--name", "echo")
    event, out = tmp_path / "event.json", tmp_path / "out.json"
    event.write_text('"from a file"')
    assert json.loads(session.succeed("invoke", "echo", "-p", f"@{event}"))["event"] == "from a file"
    assert session.succeed("invoke", "echo", "-p", "-", "-o", out, stdin="[1, 2]") == ""
    assert json.loads(out.read_bytes())["event"] == [1, 2]
    assert json.loads(session.succeed("invoke", "echo", "--stream"))["event"] == {}


def test_what_the_server_refuses_is_told_in_its_words(session: Session, folder: Path) -> None:
    done = session.run("invoke", "absent")
    assert done.returncode == 1
    assert done.stderr.startswith("lambent: ResourceNotFoundException: Function not found: arn:aws:lambda:")
    assert "lambent deploy" in done.stderr
    done = session.run("deploy", folder, "--env", "AWS_REGION=x")
    assert done.returncode == 1
    assert "lambent: InvalidParameterValueException: " in done.stderr
    assert session.run("logs", "absent").returncode == 1


def test_following_a_log_prints_lines_as_they_come(session: Session, folder: Path) -> None:
    session.succeed("deploy", folder, "--name", "followed")
    process = session.start("logs", "followed", "-f", "--filter", "said")
    try:
        lines = Lines(process)
        session.succeed("invoke", "followed")
        lines.wait_for(lambda line: line == "said one")
        session.succeed("invoke", "followed")
        lines.wait_for(lambda line: line == "said one", after=1)
    finally:
        status = end(process, signal.SIGINT)
    assert status == 0
    assert lines.count() == 2


@pytest.mark.parametrize(
    ("example", "program", "options"),
    [
        ("hello-python", "python3", []),
        ("hello-node", "node", []),
        ("hello-bootstrap", "curl", []),
        ("hello-java", "javac", ["--handler", "hello.Greeter::greet", "--timeout", "30", "--memory", "512"]),
    ],
)
def test_the_examples_greet(session: Session, tmp_path: Path, example: str, program: str, options: list[str]) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{example} needs {program}, which is not installed here")
    path = tmp_path / example
    shutil.copytree(EXAMPLES / example, path)
    if (path / "build").exists():
        subprocess.run([path / "build"], check=True)
        path = path / "classes"
    session.succeed("deploy", path, "--name", example, *options)
    answer = json.loads(session.succeed("invoke", example, "-p", '{"name": "Ada"}'))
    assert answer["greeting"].startswith("Hello")
    assert "Ada" in json.dumps(answer)


def test_a_plan_shows_the_cage_without_making_one(session: Session, folder: Path) -> None:
    session.succeed("deploy", folder, "--name", "planned", "--memory", "256")
    plan = json.loads(session.succeed("sandbox", "plan", "planned", "--json", "--level", "root"))
    assert plan["memory_limit_bytes"] == 256 * 1024 * 1024
    assert "/var/task" in [mount["target"] for mount in plan["mounts"]]
    assert "/var/task" in session.succeed("sandbox", "plan", "planned", "--level", "root")


def test_doctor_knows_a_running_server_from_a_stranger_at_its_port(session: Session, tmp_path: Path) -> None:
    port = session.url.rsplit(":", 1)[1]

    def doctor(port: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lambent", "doctor", "--json", "--data", str(tmp_path)], check=False, text=True,
            env=environment(LAMBENT_PORT=port), capture_output=True, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip

    healthy = doctor(port)
    assert healthy.returncode == 0, healthy.stdout
    findings = {finding["name"]: finding for finding in json.loads(healthy.stdout)["findings"]}
    assert "is running there" in findings["port"]["detail"]
    assert re.search(r"isolation level (root|rootless|process)$", findings["port"]["detail"])
    assert "restart" not in findings, "the server has found what doctor finds"
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = doctor(str(stranger.getsockname()[1]))
    assert taken.returncode == 1
    assert not json.loads(taken.stdout)["can_run"]


def test_a_second_server_on_the_same_data_says_so_and_ends(session: Session) -> None:
    done = session.run("up", "--port", "0", "--data", session.data)
    assert done.returncode == 1
    assert "another server is using" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_checks_signatures_takes_the_key_that_credentials_prints(
    tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> None:
    data = tmp_path_factory.mktemp("enforced") / "data"
    environ = environment(LAMBENT_AUTH="enforce", LAMBENT_DATA_DIR=str(data))
    process = subprocess.Popen(
        [sys.executable, "-m", "lambent", "up", "--port", "0"], env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        ready = re.search(r"http://\S+", Lines(process).wait_for(lambda line: "is ready" in line, START_TIMEOUT_S))
        assert ready
        enforced = Session(ready[0], data)
        refused = enforced.run("deploy", folder)
        assert refused.returncode == 1
        assert "lambent credentials" in refused.stderr
        key = json.loads(enforced.succeed("credentials", "--json"))
        done = subprocess.run(
            [sys.executable, "-m", "lambent", "deploy", str(folder)], env={**enforced.environ(), **key},
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    finally:
        end(process)


def test_credentials_of_a_directory_that_no_server_used_are_refused(session: Session, tmp_path: Path) -> None:
    done = session.run("credentials", "--data", tmp_path)
    assert done.returncode == 1
    assert "lambent up" in done.stderr
