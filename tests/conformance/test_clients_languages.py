"""Node.js, Java, shell scripts, compiled programs and AWS's own client, created and called by boto3 on a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from guests import NO_DATA
from lambent.runtimes.find import discover
from lambent.runtimes.java import CLIENT_JAR
from lambent.runtimes.search import standard_paths
from live_server import LiveServer, folder, package, until

FOUND = discover(standard_paths(NO_DATA))
NODES = sorted(name for name in FOUND if name.startswith("nodejs"))
JAVAS = sorted(name for name in FOUND if name.startswith("java"))
GAP_S = 0.8
SYSTEM_PYTHON = Path("/usr/bin/python3")  # what a cage without an interpreter of its own can execute


@pytest.mark.parametrize("runtime", NODES)
def test_nodejs(live: LiveServer, runtime: str) -> None:
    code = """
        console.log("loaded");
        export const handler = async (event, context) => {
            if (event.fail) throw new RangeError("out of it");
            console.log("called", event.n);
            return { n: event.n + 1, major: process.versions.node.split(".")[0], name: context.functionName };
        };
        export const withCallback = (event, context, callback) => setTimeout(() => callback(null, [event]), 10);
    """
    name = live.create({"index.mjs": code}, "index.handler", Runtime=runtime, Timeout=20)
    answer = live.invoke(name, {"n": 1})
    assert answer.value == {"n": 2, "major": runtime[len("nodejs") :].split(".")[0], "name": name}
    assert "\tINFO\tcalled 1\n" in answer.log
    error = live.invoke(name, {"fail": True}).error
    assert (error["errorType"], error["errorMessage"]) == ("RangeError", "out of it")
    live.client().update_function_configuration(FunctionName=name, Handler="index.withCallback")
    live.until_ready(name)
    assert live.invoke(name, 1).value == [1]


@pytest.mark.parametrize("runtime", NODES)
def test_nodejs_streams_while_it_runs(live: LiveServer, runtime: str) -> None:
    code = f"""
        exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {{
            stream.setContentType("text/plain");
            stream.write("first ");
            await new Promise(done => setTimeout(done, {GAP_S * 1000}));
            stream.write("second");
            stream.end();
            await stream.finished();
        }});
    """
    name = live.create({"index.js": code}, "index.handler", Runtime=runtime, Timeout=20)
    answer = live.client().invoke_with_response_stream(FunctionName=name, Payload=b"{}", LogType="Tail")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == "text/plain"
    text, came_at, complete = b"", [], None
    for event in answer["EventStream"]:
        if "PayloadChunk" in event:
            text += event["PayloadChunk"]["Payload"]
            came_at.append(time.monotonic())
        complete = event.get("InvokeComplete")
    assert text == b"first second"
    assert came_at[-1] - came_at[0] > GAP_S / 2
    assert complete is not None
    assert "ErrorCode" not in complete
    assert complete["LogResult"]


@pytest.mark.parametrize("runtime", NODES)
def test_nodejs_has_awss_sdk_where_it_was_built_and_says_so_where_not(live: LiveServer, runtime: str) -> None:
    code = """
        import { LambdaClient, ListFunctionsCommand } from "@aws-sdk/client-lambda";
        export const handler = async (event, context) => {
            const { Functions } = await new LambdaClient({}).send(new ListFunctionsCommand({ MaxItems: 50 }));
            return Functions.length;
        };
    """
    name = live.create({"index.mjs": code}, "index.handler", Runtime=runtime, Timeout=30, MemorySize=512)
    answer = live.invoke(name)
    if answer.function_error is None:
        assert answer.value >= 1
    else:
        assert answer.error["errorType"] in ("Runtime.ImportModuleError", "Error")
        assert "@aws-sdk/client-lambda" in answer.error["errorMessage"]


def compiled_java(live: LiveServer, directory: Path) -> bytes:
    (jar,) = until(lambda: list((live.data / "runtimes").glob(f"java17/*/{CLIENT_JAR}")), 60)
    source = directory / "Main.java"
    source.write_text(
        """
        package example;
        import com.amazonaws.services.lambda.runtime.Context;
        import com.amazonaws.services.lambda.runtime.RequestHandler;
        import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
        import java.io.*;
        import java.util.*;
        public class Main implements RequestHandler<Map<String, Integer>, List<Integer>> {
            public List<Integer> handleRequest(Map<String, Integer> event, Context context) {
                context.getLogger().log("called with " + event + "\\n");
                if (event.get("n") < 0) throw new IllegalArgumentException("negative");
                return List.of(event.get("n"), context.getMemoryLimitInMB());
            }
            public static class Streams implements RequestStreamHandler {
                public void handleRequest(InputStream in, OutputStream out, Context context) throws IOException {
                    in.transferTo(out);
                }
            }
            public String plain(String event) { return "plain " + event; }
        }
        """
    )
    classes = directory / "classes"
    subprocess.run(
        ["javac", "--release", "17", "-cp", str(jar), "-d", str(classes), str(source)], check=True, capture_output=True
    )
    return folder(classes)


@pytest.mark.skipif(shutil.which("javac") is None or "java17" not in FOUND, reason="no JDK 17 on this machine")
@pytest.mark.parametrize("runtime", JAVAS)
def test_java(live: LiveServer, runtime: str, tmp_path: Path) -> None:
    code = compiled_java(live, tmp_path)
    name = live.create(code, "example.Main", Runtime=runtime, Timeout=30, MemorySize=512)
    answer = live.invoke(name, {"n": 3})
    assert answer.value == [3, 512]
    assert "called with {n=3}\n" in answer.log
    error = live.invoke(name, {"n": -1}).error
    assert (error["errorType"], error["errorMessage"]) == ("java.lang.IllegalArgumentException", "negative")
    for handler, event, expected in (
        ("example.Main$Streams::handleRequest", {"a": [1]}, {"a": [1]}),
        ("example.Main::plain", "text", "plain text"),
    ):
        other = live.create(code, handler, Runtime=runtime, Timeout=30, MemorySize=512)
        assert live.invoke(other, event).value == expected


SHELL = """\
#!/bin/bash
# HTTP by hand: the machine need not have curl.
set -u
api=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API#*:}
while true; do
    exec 3<>"/dev/tcp/$api/$port"
    printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3
    length=0
    while IFS= read -r line <&3; do
        line=${line%$'\\r'}
        [ -z "$line" ] && break
        case "${line,,}" in
            lambda-runtime-aws-request-id:*) id=${line#*: } ;;
            content-length:*) length=${line#*: } ;;
        esac
    done
    IFS= read -r -N "$length" event <&3
    echo "called for $_HANDLER in $LAMBDA_TASK_ROOT"
    answer="{\\"event\\": $event, \\"shell\\": true}"
    printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \\
        "$id" "${#answer}" "$answer" >&3
    read -r status <&3
    exec 3>&-
done
"""


@pytest.mark.parametrize("runtime", ["provided.al2", "provided.al2023"])
def test_a_shell_script(live: LiveServer, runtime: str) -> None:
    name = live.create({"bootstrap": SHELL}, "some.thing", Runtime=runtime)
    for number in range(3):
        answer = live.invoke(name, {"n": number})
        assert answer.value == {"event": {"n": number}, "shell": True}
        assert "called for some.thing in /var/task\n" in answer.log


C = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static int dial(void) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    char host[64];
    int port;
    sscanf(getenv("AWS_LAMBDA_RUNTIME_API"), "%63[^:]:%d", host, &port);
    to.sin_port = htons(port);
    inet_pton(AF_INET, host, &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) exit(1);
    return fd;
}

int main(void) {
    static char data[1 << 16], answer[1 << 16];
    for (;;) {
        int fd = dial();
        dprintf(fd, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n");
        size_t have = 0, length = 0;
        char *body = NULL, id[64] = "";
        while (!body || strlen(body) < length) {
            ssize_t got = read(fd, data + have, sizeof data - have - 1);
            if (got <= 0) exit(2);
            data[have += got] = 0;
            if (!(body = strstr(data, "\r\n\r\n"))) continue;
            body += 4;
            for (char *line = data; line < body; line = strstr(line, "\r\n") + 2) {
                if (!strncasecmp(line, "content-length:", 15)) length = atoi(line + 15);
                if (!strncasecmp(line, "lambda-runtime-aws-request-id:", 30)) sscanf(line + 30, " %63[^\r]", id);
            }
        }
        printf("called with %zu bytes\n", length);
        fflush(stdout);
        int size = sprintf(answer, "{\"compiled\": %s}", body);
        dprintf(fd, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s",
                id, size, answer);
        read(fd, data, sizeof data);
        close(fd);
    }
}
"""
GO = r"""
package main

import ("bytes"; "fmt"; "io"; "net/http"; "os")

func main() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		next, err := http.Get(base + "next")
		if err != nil { panic(err) }
		event, _ := io.ReadAll(next.Body)
		next.Body.Close()
		fmt.Printf("called with %d bytes\n", len(event))
		answer := []byte(fmt.Sprintf("{\"compiled\": %s}", event))
		id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
		sent, err := http.Post(base+id+"/response", "application/json", bytes.NewReader(answer))
		if err != nil { panic(err) }
		sent.Body.Close()
	}
}
"""


def compiled(compiler: str, directory: Path) -> bytes:
    bootstrap = directory / "bootstrap"
    if compiler == "go":
        (directory / "main.go").write_text(GO)
        command: list[Any] = ["go", "build", "-o", bootstrap, directory / "main.go"]
    else:
        (directory / "main.c").write_text(C)
        command = [compiler, "-O1", "-o", bootstrap, directory / "main.c"]
    subprocess.run(command, check=True, cwd=directory, capture_output=True)
    return package({"bootstrap": bootstrap.read_bytes()})


def test_a_compiled_program(live: LiveServer, tmp_path: Path) -> None:
    compiler = next((name for name in ("gcc", "clang", "go") if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("no compiler on this machine")
    name = live.create(compiled(compiler, tmp_path), "unused", Runtime="provided.al2023")
    for number in range(3):
        answer = live.invoke(name, [number])
        assert answer.value == {"compiled": [number]}
        assert "called with 3 bytes\n" in answer.log


@pytest.fixture(scope="module")
def awslambdaric(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A package with AWS's client for the system's Python, and a handler."""
    if not SYSTEM_PYTHON.exists():
        pytest.skip("the system has no Python of its own that a custom runtime could use")
    version = subprocess.run([SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                             check=True, capture_output=True, text=True).stdout.strip()  # fmt: skip
    target = tmp_path_factory.mktemp("awslambdaric")
    options = ["-q", "--disable-pip-version-check", "--only-binary=:all:", f"--python-version={version}"]
    command = [sys.executable, "-m", "pip", "install", *options, f"--target={target}", "awslambdaric"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.skip(f"AWS's client could not be fetched: {done.stderr[-300:]}")
    (target / "bootstrap").write_text(f'#!/bin/sh\nexec {SYSTEM_PYTHON} -m awslambdaric "$_HANDLER"\n')
    (target / "app.py").write_text(
        "import json\n"
        "def handler(event, context):\n"
        "    print('called')\n"
        "    if event == 'fail':\n"
        "        raise KeyError('no such thing')\n"
        "    return {'event': event, 'arn': context.invoked_function_arn, 'left': context.get_remaining_time_in_millis()}\n"
    )
    return folder(target)


def test_awss_own_client_works_unchanged(live: LiveServer, awslambdaric: bytes) -> None:
    name = live.create(awslambdaric, Runtime="provided.al2023", Timeout=20, MemorySize=256)
    answer = live.invoke(name, {"n": [1, 2]})
    told = answer.value
    assert 0 < told.pop("left") <= 20_000
    assert told == {"event": {"n": [1, 2]}, "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}"}
    assert "called\n" in answer.log
    error = live.invoke(name, "fail").error
    assert error["errorType"] == "KeyError"
    assert json.loads(json.dumps(error["stackTrace"]))
