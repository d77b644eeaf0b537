"""The Ruby client as functions and their users see it, on the Ruby of this machine, whatever its version."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import pytest

from fake_runtime_api import ARN, Posted, Reply
from guests import Function, running, write
from lambent.model.cage import RuntimeInstallation, StartMethod
from lambent.runtimes import ruby
from lambent.runtimes.family import copy_guest
from lambent.runtimes.search import AnswerCache, SearchPaths, base_variables

RUBY = shutil.which("ruby")

pytestmark = pytest.mark.skipif(RUBY is None, reason="no Ruby on this machine")

Start = Callable[..., AbstractContextManager[Function]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    assert RUBY is not None
    installation = RuntimeInstallation(
        runtime="ruby3.3",
        family="ruby",
        version="3.3.0",
        start=StartMethod.EXEC,
        executable=Path(os.path.realpath(RUBY)),
        argv=(os.path.realpath(RUBY), "/var/runtime/bootstrap.rb"),
        host_mounts=(),
        runtime_dir=None,
        environment=base_variables(),
    )
    runtime_dir = tmp_path / "runtime"
    runtime_dir.mkdir()
    copy_guest(installation, runtime_dir)

    def function(
        source: str, handler: str = "app.handler", variables: Mapping[str, str] | None = None, *, framed: bool = False
    ) -> AbstractContextManager[Function]:
        code = write(tmp_path / "task", {"app.rb": source})
        return running(installation, runtime_dir, code, handler, variables, framed=framed)

    return function


def error_of(posted: Posted) -> tuple[str, str, str]:
    document = posted.json()
    return posted.kind, document["errorType"], document["errorMessage"].split("\n")[0]


@pytest.mark.parametrize(
    ("source", "handler"),
    [
        ("def handler(event:, context:) = event['n'] + 1", "app.handler"),
        ("module A; class B; def self.run(event:, context:) = event['n'] + 1; end; end", "app.A::B.run"),
    ],
)
def test_handlers_are_methods_of_the_file_or_of_a_class(start: Start, source: str, handler: str) -> None:
    with start(source, handler) as function:
        assert function.api.call({"n": 1}).json() == 2
        assert function.api.call({"n": 41}).json() == 42


def test_the_context_says_what_it_says_on_lambda(start: Start) -> None:
    source = """
        def handler(event:, context:)
          names = %i[aws_request_id invoked_function_arn log_group_name log_stream_name function_name memory_limit_in_mb
                     function_version identity client_context tenant_id]
          names.to_h { |name| [name, context.send(name)] }.merge(left: context.get_remaining_time_in_millis,
                                                                 trace: ENV['_X_AMZN_TRACE_ID'])
        end
    """
    with start(source) as function:
        answer = function.api.call(
            deadline_s=10, client_context='{"a": 1}', cognito_identity='{"b": 2}', aws_tenant_id="blue"
        ).json()
    assert 0 < answer.pop("left") <= 10_000
    assert answer == {
        "aws_request_id": "00000000-0000-4000-8000-000000000001",
        "invoked_function_arn": ARN,
        "log_group_name": "/aws/lambda/hello",
        "log_stream_name": "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef",
        "function_name": "hello",
        "memory_limit_in_mb": "128",
        "function_version": "$LATEST",
        "identity": {"b": 2},
        "client_context": {"a": 1},
        "tenant_id": "blue",
        "trace": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    }


def test_an_error_is_reported_with_its_trace_and_the_function_goes_on(start: Start, tmp_path: Path) -> None:
    source = """
        class Own < StandardError; end
        def handler(event:, context:)
          raise Own, 'went wrong' if event
          'fine'
        end
    """
    with start(source) as function:
        posted = function.api.call(True)
        assert function.api.call(False).json() == "fine"
        out, _ = function.runtime.stop()
    assert error_of(posted) == ("error", "Function<Own>", "went wrong")
    trace = posted.json()["stackTrace"]
    assert len(trace) == 1
    assert trace[0].startswith(f"{tmp_path}/task/app.rb:4:in ")
    assert posted.headers["lambda-runtime-function-error-type"] == "Function<UserException>"
    assert out.startswith("Error raised from handler method\n{\n")


@pytest.mark.parametrize(
    ("body", "error_type", "message"),
    [
        ("exit", "Function<SystemExit>", "exit"),
        ("nil.nope", "Function<NoMethodError>", "undefined method `nope' for nil:NilClass"),
    ],
)
def test_critical_errors_end_the_process(start: Start, body: str, error_type: str, message: str) -> None:
    with start(f"def handler(event:, context:)\n{body}\nend") as function:
        kind, found_type, found_message = error_of(function.api.call())
        assert (kind, found_type) == ("error", error_type)
        assert found_message.replace("'", "`").split("`")[0] == message.split("`")[0]
        assert function.runtime.wait()[0] == 255


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        ("", "absent.handler", "Init<LoadError>", "cannot load such file -- absent"),
        ("raise 'at load'", "app.handler", "Init<RuntimeError>", "at load"),
        ("def (", "app.handler", "Init<SyntaxError>", None),
        ("", "app", "Init<ArgumentError>", None),
    ],
)
def test_a_function_that_cannot_be_loaded_fails_its_init(
    start: Start, source: str, handler: str, error_type: str, message: str | None
) -> None:
    with start(source, handler) as function:
        kind, found_type, found_message = error_of(function.api.posted())
        assert (kind, found_type) == ("init/error", error_type)
        assert message is None or found_message == message
        assert function.runtime.wait()[0] == 252


LOGGING = """
    require 'logger'
    LOG = Logger.new($stdout)
    def handler(event:, context:)
      puts 'two', 'lines'
      $stdout.puts 'raw'
      LOG.info('logged')
      LOG.debug('detail')
    end
"""


def test_messages_are_frames_and_carry_the_request_id(start: Start) -> None:
    with start(LOGGING, framed=True) as function:
        function.api.call()
        frames = function.runtime.log_frames()
        out, _ = function.runtime.stop()
    assert out == "raw\n"
    assert frames[0] == (0xA55A0003, "two\nlines\n")
    assert frames[1][1].startswith("I, [")
    assert frames[1][1].endswith("]  INFO 00000000-0000-4000-8000-000000000001 -- : logged\n")
    assert len(frames) == 3


def test_json_log_lines_are_objects_of_the_wanted_level(start: Start) -> None:
    variables = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
    with start(LOGGING, variables=variables, framed=True) as function:
        function.api.call()
        frames = function.runtime.log_frames()
    assert len(frames) == 2
    assert (
        json.loads(frames[1][1]).items()
        >= {
            "level": "INFO",
            "message": "logged",
            "requestId": "00000000-0000-4000-8000-000000000001",
        }.items()
    )


def test_large_events_and_results_pass_unharmed(start: Start) -> None:
    event = {"text": "ü€😀" * 500_000}
    with start("def handler(event:, context:) = event") as function:
        assert function.api.call(event).json() == event


def test_a_connection_that_was_closed_in_between_is_opened_again(start: Start) -> None:
    with start("def handler(event:, context:) = event") as function:
        function.api.replies = lambda posted: Reply(hang_up=posted.body == b"1")
        assert [function.api.call(n).json() for n in (0, 1, 2)] == [0, 1, 2]


@attrs.define
class ToldVersion(AnswerCache):
    """Instead of asking the program."""

    version: str = ""

    def ask(self, executable: Path, arguments: object) -> str:
        return json.dumps(
            {"engine": "ruby", "version": self.version, "api": "3.3.0", "prefix": str(executable.parent.parent)}
        )


@pytest.mark.parametrize(
    ("version", "runtimes"), [("3.3.6", {"ruby3.3"}), ("4.0.1", {"ruby4.0"}), ("3.1.2", set()), ("3.5.0", set())]
)
def test_a_ruby_serves_the_runtime_of_its_exact_minor_version_only(
    tmp_path: Path, version: str, runtimes: set[str]
) -> None:
    assert RUBY is not None
    (tmp_path / "bin").mkdir()
    shutil.copy(os.path.realpath(RUBY), tmp_path / "bin/ruby")
    search = SearchPaths(path=(), system=(), prefixes=(tmp_path,), answers=ToldVersion(version=version))
    assert {found.runtime for found in ruby.find(search)} == runtimes
