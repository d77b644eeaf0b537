"""The Java client as functions and their users see it, on every JVM of this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from fake_runtime_api import ARN, Posted, Reply
from guests import Function, installed, running
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import java
from lambent.runtimes.errors import RuntimeNotUsable

INSTALLED = [found for found in installed(java.find) if shutil.which("javac")]
IMPORTS = """
package example;
import com.amazonaws.services.lambda.runtime.*;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.*;
import java.util.*;
"""

pytestmark = pytest.mark.skipif(not INSTALLED, reason="no JDK on this machine")

Start = Callable[..., AbstractContextManager[Function]]


@pytest.fixture(scope="session")
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "runtimes" / "java" / "digest"
    directory.mkdir(parents=True)
    java.fill(INSTALLED[0], directory)
    return directory


@pytest.fixture(params=INSTALLED, ids=lambda found: found.runtime)
def installation(request: pytest.FixtureRequest) -> RuntimeInstallation:
    found: RuntimeInstallation = request.param
    return found


Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes by the digest of their source: a compiler's start takes a second."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def compile_java(runtime_dir: Path, tmp_path: Path, compiled: Path) -> Compile:
    def compile_into(source: str, classes: Path) -> Path:
        known = compiled / hashlib.sha256(source.encode()).hexdigest()
        if not known.exists():
            file = tmp_path / "src" / "example" / "Main.java"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(IMPORTS + textwrap.dedent(source))
            jar = runtime_dir / java.CLIENT_JAR
            command = ["javac", "--release", "17", "-nowarn", "-cp", str(jar), "-d", str(known), str(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return Path(shutil.copytree(known, classes, dirs_exist_ok=True))

    return compile_into


@pytest.fixture
def start(installation: RuntimeInstallation, runtime_dir: Path, tmp_path: Path, compile_java: Compile) -> Start:
    def function(
        source: str, handler: str, variables: Mapping[str, str] | None = None, *, framed: bool = False
    ) -> AbstractContextManager[Function]:
        code = compile_java(source, tmp_path / "task")
        return running(installation, runtime_dir, code, handler, variables, framed=framed)

    return function


def error_of(posted: Posted) -> tuple[str, str | None, str]:
    document = posted.json()
    return posted.kind, document.get("errorType"), document["errorMessage"]


HANDLERS = """
    class Base<T> implements RequestHandler<T, Map<String, Object>> {
        public Map<String, Object> handleRequest(T event, Context context) {
            return Map.of("type", event.getClass().getName(), "event", event);
        }
    }
    public class Main {
        public static class OfMap implements RequestHandler<Map<String, Object>, Object> {
            public Object handleRequest(Map<String, Object> event, Context context) { return event; }
        }
        public static class OfString implements RequestHandler<String, String> {
            public String handleRequest(String event, Context context) { return event + "!"; }
        }
        public static class OfNothing implements RequestHandler<Object, Void> {
            public Void handleRequest(Object event, Context context) { return null; }
        }
        public static class Streams implements RequestStreamHandler {
            public void handleRequest(InputStream in, OutputStream out, Context context) throws IOException {
                out.write('['); in.transferTo(out); out.write(']');
            }
        }
        public static class Inherited extends Base<Integer> {}
        public Object plain(Map<String, Object> event) { return event; }
        public static Object still(List<Integer> event, Context context) { return event.size() + context.getFunctionName(); }
        public int sum(List<Integer> numbers) { int sum = 0; for (Integer n : numbers) sum += n; return sum; }
        public String nothing() { return "nothing"; }
        public String onlyContext(Context context) { return context.getFunctionName(); }
        public void copy(InputStream in, OutputStream out) throws IOException { in.transferTo(out); }
        public void copy3(InputStream in, OutputStream out, Context c) throws IOException { in.transferTo(out); }
        public void outOnly(OutputStream out, Context c) throws IOException { out.write('1'); }
        public String over(String a) { return "short"; }
        public String over(String a, Context c) { return "long"; }
        public String wrong(String a, String b) { return ""; }
    }
"""


def test_handlers_of_every_documented_signature_are_called(start: Start, tmp_path: Path) -> None:
    expected: list[tuple[str, Any, Any]] = [
        ("Main$OfMap", {"a": [1, 2.5, None, True, "x"]}, {"a": [1, 2.5, None, True, "x"]}),
        ("Main$OfString", "hi", "hi!"),
        ("Main$OfNothing", {}, None),
        ("Main$Streams", {"a": 1}, [{"a": 1}]),
        ("Main$Inherited", 5, {"type": "java.lang.Integer", "event": 5}),
        ("Main::plain", {"b": 2}, {"b": 2}),
        ("Main::still", [1, 2], "2hello"),
        ("Main::sum", [1, 2, 3], 6),
        ("Main::nothing", {}, "nothing"),
        ("Main::onlyContext", {}, "hello"),
        ("Main::copy", {"c": 3}, {"c": 3}),
        ("Main::copy3", {"c": 3}, {"c": 3}),
        ("Main::outOnly", {}, 1),
        ("Main::over", "x", "long"),
    ]
    for name, event, result in expected:
        with start(HANDLERS, f"example.{name}") as function:
            posted = function.api.call(event)
            assert (name, posted.kind, posted.json()) == (name, "response", result)


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("example.Absent", "java.lang.ClassNotFoundException", "Class not found: example.Absent"),
        ("example.Main", None, "Class does not implement an appropriate handler interface: example.Main"),
        ("example.Main::wrong", None,
         "No public method named wrong with appropriate method signature found on class example.Main"),
        ("example.Main::absent", None,
         "No public method named absent with appropriate method signature found on class example.Main"),
        ("::x", None, "Invalid handler: `::x'"),
    ],
)  # fmt: skip
def test_a_handler_that_is_not_there_fails_each_invocation(
    start: Start, handler: str, error_type: str | None, message: str
) -> None:
    with start(HANDLERS, handler) as function:
        assert error_of(function.api.call({})) == ("error", error_type, message)
        assert error_of(function.api.call({})) == ("error", error_type, message)


def test_a_constructor_that_throws_fails_the_init(start: Start) -> None:
    source = """
        public class Main implements RequestHandler<Object, Object> {
            public Main() { throw new IllegalStateException("no database"); }
            public Object handleRequest(Object event, Context context) { return event; }
        }
    """
    with start(source, "example.Main") as function:
        posted = function.api.posted()
        status, out, _ = function.runtime.wait()
    assert error_of(posted) == ("init/error", "java.lang.IllegalStateException", "no database")
    assert status == 1
    assert out.startswith(
        "no database: java.lang.IllegalStateException\njava.lang.IllegalStateException: no database\n\tat example"
    )


BEANS = """
    enum Colour { RED, GREEN }
    record Point(int x, Integer y, List<String> tags) {}
    public class Main implements RequestHandler<Main.Order, Main.Order> {
        public static class Item { public String name; private double price; public double getPrice() { return price; }
            public void setPrice(double price) { this.price = price; } }
        public static class Box<T> { private T content; public T getContent() { return content; }
            public void setContent(T content) { this.content = content; } }
        public static class Order {
            private String id; private long count; private boolean urgent; private Colour colour; private List<Item> items;
            private Map<String, Item> byName; private Point point; private int[] numbers; private byte[] data;
            private Box<Item> box; private Optional<String> note = Optional.empty(); private Date when; private Character letter;
            private String eventSourceArn; private List<String> records; private java.util.UUID uuid;
            public String getId() { return id; } public void setId(String id) { this.id = id; }
            public long getCount() { return count; } public void setCount(long count) { this.count = count; }
            public boolean isUrgent() { return urgent; } public void setUrgent(boolean urgent) { this.urgent = urgent; }
            public Colour getColour() { return colour; } public void setColour(Colour c) { this.colour = c; }
            public List<Item> getItems() { return items; } public void setItems(List<Item> items) { this.items = items; }
            public Map<String, Item> getByName() { return byName; } public void setByName(Map<String, Item> m) { byName = m; }
            public Point getPoint() { return point; } public void setPoint(Point point) { this.point = point; }
            public int[] getNumbers() { return numbers; } public void setNumbers(int[] n) { numbers = n; }
            public byte[] getData() { return data; } public void setData(byte[] data) { this.data = data; }
            public Box<Item> getBox() { return box; } public void setBox(Box<Item> box) { this.box = box; }
            public Optional<String> getNote() { return note; } public void setNote(Optional<String> n) { note = n; }
            public Date getWhen() { return when; } public void setWhen(Date when) { this.when = when; }
            public Character getLetter() { return letter; } public void setLetter(Character c) { letter = c; }
            public String getEventSourceArn() { return eventSourceArn; }
            public void setEventSourceArn(String arn) { eventSourceArn = arn; }
            public List<String> getRecords() { return records; } public void setRecords(List<String> r) { records = r; }
            public java.util.UUID getUuid() { return uuid; } public void setUuid(java.util.UUID u) { uuid = u; }
        }
        public Order handleRequest(Order order, Context context) { return order; }
    }
"""


def test_json_becomes_objects_and_objects_json(start: Start) -> None:
    order = {
        "id": "ü😀\"\\\n\u0001", "count": 2**40, "urgent": True, "colour": "GREEN",
        "items": [{"name": "a", "price": 1.5}], "byName": {"b": {"name": "b", "price": 2.0}},
        "point": {"x": 1, "y": None, "tags": ["t"]}, "numbers": [1, 2], "data": "AQI=",
        "box": {"content": {"name": "c", "price": 0.0}}, "note": "n", "when": 1700000000000, "letter": "z",
        "eventSourceArn": "arn", "records": ["r"], "uuid": "123e4567-e89b-12d3-a456-426614174000",
    }  # fmt: skip
    with start(BEANS, "example.Main") as function:
        assert function.api.call(order).json() == order
        renamed = {"eventSourceARN": "arn", "Records": ["r"], "unknown": {"x": [1]}, "when": "2023-11-14T22:13:20Z"}
        answer = function.api.call(renamed).json()
        assert (answer["eventSourceArn"], answer["records"], answer["when"]) == ("arn", ["r"], 1700000000000)
        assert (answer["count"], answer["urgent"], answer["items"]) == (0, False, None)
        assert list(answer)[:3] == ["id", "count", "urgent"]
        assert (
            function.api.call({"when": 1428537600, "event-source-arn": "a"}).json().items()
            >= {
                "when": 1428537600000,
                "eventSourceArn": "a",
            }.items()
        )
        assert function.api.call({"when": 1545084650.987}).json()["when"] == 1545084650987


@pytest.mark.parametrize("event", [{"count": "many"}, {"colour": "BLUE"}, {"items": {}}, {"point": {"x": 2**40}}, [1]])
def test_json_of_another_shape_is_a_parsing_error(start: Start, event: Any) -> None:
    with start(BEANS, "example.Main") as function:
        assert error_of(function.api.call(event)) == (
            "error",
            "java.lang.RuntimeException",
            "An error occurred during JSON parsing",
        )
        assert function.api.call({"id": "x"}).json()["id"] == "x"


def test_text_that_is_no_json_is_a_parsing_error(start: Start) -> None:
    with start(HANDLERS, "example.Main$OfMap") as function:
        for text in (b"{", b'{"a":}', b"[1,]", b'"\\x"', b"nul", b"1 2", b'"open', b"[" * 100_000):
            assert error_of(function.api.call(raw=text))[2] == "An error occurred during JSON parsing"
        assert function.api.call({}).json() == {}


def test_large_events_and_results_pass_unharmed(start: Start) -> None:
    event = {"text": "ü€😀" * 500_000}
    with start(HANDLERS, "example.Main::plain") as function:
        assert function.api.call(event).json() == event


def test_an_error_is_reported_with_its_trace_and_the_function_goes_on(start: Start) -> None:
    source = """
        public class Main implements RequestHandler<Integer, Integer> {
            public Integer handleRequest(Integer event, Context context) {
                if (event == 0) throw new IllegalArgumentException("zero", new RuntimeException("inside"));
                if (event == 1) throw new RuntimeException();
                return event;
            }
        }
    """
    with start(source, "example.Main") as function:
        posted = function.api.call(0)
        nameless = function.api.call(1)
        assert function.api.call(2).json() == 2
        out, _ = function.runtime.stop()
    assert error_of(posted) == ("error", "java.lang.IllegalArgumentException", "zero")
    assert [line.split("(")[0] for line in posted.json()["stackTrace"]] == ["example.Main.handleRequest"] * 2
    assert posted.headers["lambda-runtime-function-error-type"] == "java.lang.IllegalArgumentException"
    assert error_of(nameless) == ("error", "java.lang.RuntimeException", "java.lang.RuntimeException")
    assert out.startswith(
        "zero: java.lang.IllegalArgumentException\njava.lang.IllegalArgumentException: zero\n\tat example.Main"
    )
    assert "Caused by: java.lang.RuntimeException: inside" in out
    assert "lambent" not in out


def test_an_error_of_the_virtual_machine_ends_the_process(start: Start) -> None:
    source = """
        public class Main {
            public Object run(Map<String, Object> event) { return deeper(event) + deeper(event); }
            private String deeper(Object event) { return deeper(event) + "x"; }
        }
    """
    with start(source, "example.Main::run") as function:
        assert error_of(function.api.call({}))[:2] == ("error", "java.lang.StackOverflowError")
        assert function.runtime.wait()[0] == 1


def test_the_heap_is_limited_by_the_functions_memory(start: Start) -> None:
    source = """
        public class Main {
            public long run() { return Runtime.getRuntime().maxMemory() / 1024 / 1024; }
        }
    """
    with start(source, "example.Main::run") as function:
        assert 190 <= function.api.call({}).json() <= 208


CONTEXT = """
    public class Main {
        public Object run(Object event, Context c) {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("id", c.getAwsRequestId()); all.put("group", c.getLogGroupName()); all.put("stream", c.getLogStreamName());
            all.put("name", c.getFunctionName()); all.put("version", c.getFunctionVersion()); all.put("arn", c.getInvokedFunctionArn());
            all.put("memory", c.getMemoryLimitInMB()); all.put("left", c.getRemainingTimeInMillis());
            all.put("tenant", c.getTenantId()); all.put("identity", c.getIdentity().getIdentityId());
            all.put("pool", c.getIdentity().getIdentityPoolId());
            ClientContext client = c.getClientContext();
            all.put("custom", client == null ? null : client.getCustom());
            all.put("title", client == null ? null : client.getClient().getAppTitle());
            all.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
            return all;
        }
    }
"""


def test_the_context_says_what_it_says_on_lambda(start: Start) -> None:
    with start(CONTEXT, "example.Main::run") as function:
        answer = function.api.call(
            {},
            deadline_s=10,
            client_context='{"custom": {"a": "b"}, "client": {"app_title": "t"}}',
            cognito_identity='{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
            aws_tenant_id="blue",
        ).json()
        plain = function.api.call({}, trace_id="").json()
    assert 0 < answer.pop("left") <= 10_000
    assert answer == {
        "id": "00000000-0000-4000-8000-000000000001",
        "group": "/aws/lambda/hello",
        "stream": "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef",
        "name": "hello",
        "version": "$LATEST",
        "arn": ARN,
        "memory": 128,
        "tenant": "blue",
        "identity": "i",
        "pool": "p",
        "custom": {"a": "b"},
        "title": "t",
        "trace": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    }
    assert (plain["tenant"], plain["custom"], plain["identity"], plain["trace"]) == (None, None, "", None)


LOGGING = """
    public class Main {
        public void run(Object event, Context context) {
            System.out.println("printed");
            LambdaLogger logger = context.getLogger();
            logger.log("two\\nlines");
            logger.log("debug", LogLevel.DEBUG);
            logger.log("warn", LogLevel.WARN);
            LambdaRuntime.getLogger().log("static", LogLevel.INFO);
        }
    }
"""


def test_text_messages_go_as_frames_with_their_level(start: Start) -> None:
    with start(LOGGING, "example.Main::run", framed=True) as function:
        assert function.api.call({}).body == b"null"
        frames = function.runtime.log_frames()
        out, err = function.runtime.stop()
    assert frames == [
        (0xA55A0003, "two\nlines"),
        (0xA55A000B, "[DEBUG] debug"),
        (0xA55A0013, "[WARN] warn"),
        (0xA55A000F, "[INFO] static"),
    ]
    assert (out, err) == ("printed\n", "")


def test_json_messages_are_objects_of_the_wanted_level(start: Start) -> None:
    variables = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
    with start(LOGGING, "example.Main::run", variables, framed=True) as function:
        function.api.call({})
        lines = [json.loads(message) for _, message in function.runtime.log_frames()]
    assert [line["message"] for line in lines] == ["two\nlines", "warn", "static"]
    assert lines[1]["level"] == "WARN"
    assert lines[1]["AWSRequestId"] == "00000000-0000-4000-8000-000000000001"
    assert lines[1]["timestamp"].endswith("Z")


def test_jars_of_the_package_and_of_layers_are_on_the_class_path(
    installation: RuntimeInstallation, runtime_dir: Path, tmp_path: Path, compile_java: Compile
) -> None:
    def put_jar(target: Path, source: str) -> None:
        classes = compile_java(source, tmp_path / f"classes-{target.stem}")
        target.parent.mkdir(parents=True)
        with zipfile.ZipFile(target, "w") as jar:
            for file in classes.rglob("*.class"):
                jar.write(file, str(file.relative_to(classes)))

    task, layers = tmp_path / "task", tmp_path / "opt"
    put_jar(layers / "java/lib/layer.jar", 'public class Main { public static String where() { return "layer"; } }')
    put_jar(
        task / "lib/function.jar",
        """class Handler implements RequestHandler<Object, String> { public Handler() {}
           public String handleRequest(Object event, Context context) { return Main.where(); } }
           class Main { static String where() { return "function"; } }""",
    )
    with running(installation, runtime_dir, task, "example.Main::where", layers=layers) as function:
        assert error_of(function.api.call({}))[2].startswith("No public method named where")
    shutil.rmtree(task)
    task.mkdir()
    with running(installation, runtime_dir, task, "example.Main::where", layers=layers) as function:
        assert function.api.call({}).json() == "layer"


def test_a_copy_of_awss_interfaces_in_the_package_does_no_harm(
    installation: RuntimeInstallation, runtime_dir: Path, tmp_path: Path, compile_java: Compile
) -> None:
    task = compile_java(HANDLERS, tmp_path / "task")
    (task / "lib").mkdir()
    with zipfile.ZipFile(runtime_dir / java.CLIENT_JAR) as ours, zipfile.ZipFile(task / "lib/core.jar", "w") as copy:
        for name in ours.namelist():
            if name.startswith("com/amazonaws/"):
                copy.writestr(name, ours.read(name))
    with running(installation, runtime_dir, task, "example.Main$OfString") as function:
        assert function.api.call("x").json() == "x!"


def test_a_connection_that_was_closed_in_between_is_opened_again(start: Start) -> None:
    with start(HANDLERS, "example.Main::plain") as function:
        function.api.replies = lambda posted: Reply(hang_up=posted.body == b'{"n":1}')
        assert [function.api.call({"n": n}).json()["n"] for n in (0, 1, 2)] == [0, 1, 2]


def test_without_a_compiler_the_error_asks_for_a_jdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_compilers", lambda installation: [])
    with pytest.raises(RuntimeNotUsable, match="Install a JDK"):
        java.fill(INSTALLED[0], tmp_path / "runtimes/java17/digest")


def test_a_jvm_whose_variables_cannot_be_set_does_not_wait_and_says_nothing(
    installation: RuntimeInstallation, runtime_dir: Path
) -> None:
    """What it printed would be in the log of a function."""
    command = [str(installation.executable), "--limit-modules", "java.base", "-cp", str(runtime_dir / java.CLIENT_JAR),
               "lambent.runtime.Main"]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"_LAMBENT_WAIT_FD": "0"}
    ) as started:
        assert started.stdout is not None
        assert started.stdout.read() == b""
        assert started.wait() == 1
