"""Java functions whose JVM was started before anybody knew them see nothing of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cage_census import command_lines, descendants
from guests import NO_DATA
from lambent.runtimes.find import discover
from lambent.runtimes.search import standard_paths
from live_server import LiveServer, folder, until

FIRST_THAT_WAITS = 17
RUNTIMES = [
    name for name in sorted(discover(standard_paths(NO_DATA)))
    if name.startswith("java") and int(name.removeprefix("java").removesuffix(".al2")) >= FIRST_THAT_WAITS
]  # fmt: skip
PROBE = """
    package example;
    import java.io.*;
    import java.lang.management.ManagementFactory;
    import java.nio.file.*;
    import java.util.*;
    import com.sun.management.*;

    public class Probe {
        static final boolean PREFERS_IPV4 = setUp();
        static native String variable(String name);

        static boolean setUp() {
            System.setProperty("java.net.preferIPv4Stack", "true");
            System.out.println("while loading");
            return true;
        }

        static String run(boolean changed, String program) throws Exception {
            ProcessBuilder child = new ProcessBuilder(program);
            if (changed) child.environment().put("ADDED", "1");
            return new String(child.start().getInputStream().readAllBytes());
        }

        public Map<String, Object> look(Map<String, Object> event) throws Exception {
            Map<String, Object> seen = new LinkedHashMap<>();
            seen.put("ahead", Files.readString(Path.of("/proc/self/environ")).contains("_LAMBENT_WAIT_FD"));
            seen.put("environ", new TreeMap<>(System.getenv()));
            seen.put("properties", new TreeMap<>(System.getProperties()));
            seen.put("arguments", ManagementFactory.getRuntimeMXBean().getInputArguments());
            Map<String, String> options = new TreeMap<>();
            HotSpotDiagnosticMXBean bean = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
            for (VMOption option : bean.getDiagnosticOptions()) options.put(option.getName(), option.getValue());
            for (String name : List.of("MaxHeapSize", "InitialHeapSize", "NewSize", "MaxMetaspaceSize", "ReservedCodeCacheSize",
                    "CICompilerCount", "UseSerialGC", "TieredStopAtLevel", "MaxDirectMemorySize", "MaxRAM"))
                try { options.put(name, bean.getVMOption(name).getValue()); } catch (IllegalArgumentException absent) { }
            seen.put("options", options);
            Runtime machine = Runtime.getRuntime();
            seen.put("sizes", List.of(machine.maxMemory(), machine.availableProcessors()));
            seen.put("directory", List.of(new File("marker").exists(), Files.exists(Path.of("marker")),
                    Files.readSymbolicLink(Path.of("/proc/self/cwd")).toString(), new File("x").getAbsolutePath()));
            List<String> threads = new ArrayList<>();
            for (Thread thread : Thread.getAllStackTraces().keySet()) threads.add(thread.getName());
            threads.add(new Thread(() -> {}).getName());
            Collections.sort(threads);
            seen.put("threads", threads);
            seen.put("classes", List.of(getClass().getModule().isNamed(), getClass().getClassLoader().getClass().getName(),
                    getClass().getClassLoader() == Thread.currentThread().getContextClassLoader(),
                    getClass().getClassLoader().getParent() == ClassLoader.getSystemClassLoader(),
                    Object.class.getModule().isOpen("java.lang", getClass().getModule())));
            List<String> stack = new ArrayList<>();
            for (StackTraceElement element : new Throwable().getStackTrace()) stack.add(element.getMethodName());
            seen.put("stack", stack.subList(0, 1));
            seen.put("descriptors", new File("/proc/self/fd").list().length);
            seen.put("locale", List.of(Locale.getDefault().toString(), TimeZone.getDefault().getID(),
                    java.nio.charset.Charset.defaultCharset().name()));
            seen.put("random", Math.random() + " " + UUID.randomUUID());
            seen.put("child", run(false, "/usr/bin/env"));
            seen.put("changedChild", run(true, "/usr/bin/env"));
            return seen;
        }

        public String find(String program) throws Exception {
            return run(false, program);
        }

        public String inC(String name) throws Exception {
            System.loadLibrary("probe");
            return variable(name);
        }

        public boolean ahead() throws Exception {
            return Files.readString(Path.of("/proc/self/environ")).contains("_LAMBENT_WAIT_FD");
        }
    }
"""
# Java calls the first, which needs the second; that one is found by LD_LIBRARY_PATH alone.
PROBE_C = """
    #include <jni.h>
    extern const char *look(const char *);
    JNIEXPORT jstring JNICALL Java_example_Probe_variable(JNIEnv *env, jclass type, jstring name) {
        const char *found = look((*env)->GetStringUTFChars(env, name, 0));
        return found ? (*env)->NewStringUTF(env, found) : 0;
    }
"""
LOOK_C = "#include <stdlib.h>\nconst char *look(const char *name) { return getenv(name); }\n"
ITS_OWN = ("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
           "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")  # fmt: skip

Answer = Callable[..., Any]


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(live: LiveServer, request: pytest.FixtureRequest) -> str:
    if live.level == "process":
        pytest.skip("level process starts nothing ahead")
    if shutil.which("javac") is None:
        pytest.skip("no JDK on this machine")
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("java")
    (directory / "Probe.java").write_text(PROBE)
    code = directory / "code"
    command = ["javac", "--release", "17", "--add-modules", "jdk.management", "-nowarn", "-d", str(code), "Probe.java"]
    subprocess.run(command, cwd=directory, check=True)
    (code / "marker").write_text("")
    return code


def answer(live: LiveServer, runtime: str, code: Path, variables: dict[str, str], **members: Any) -> dict[str, Any]:
    name = live.create(
        folder(code),
        "example.Probe::look",
        Runtime=runtime,
        Environment={"Variables": variables},
        **{"MemorySize": 512, **members},
    )
    value: dict[str, Any] = live.invoke(name, {}).value
    log = live.log_of(name)
    assert "while loading" in log
    assert "WARNING" not in log
    return value


def until_ahead(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Once one waits, which is soon after the first cold start with this size of memory."""

    def started_ahead() -> dict[str, Any] | None:
        value = ask()
        return value if value["ahead"] else None

    return until(started_ahead, 60.0)


def test_a_java_function_cannot_tell_that_its_jvm_waited_for_it(live: LiveServer, runtime: str, code: Path) -> None:
    own = {"OWN": "mine ä=\n", "AWS_X": ""}
    waited = until_ahead(lambda: answer(live, runtime, code, own))
    anew = answer(live, runtime, code, {**own, "JDK_JAVA_OPTIONS": ""})
    assert anew["ahead"] is False
    assert anew["environ"].pop("JDK_JAVA_OPTIONS") == ""
    assert waited["environ"]["OWN"] == own["OWN"]
    for name in ITS_OWN:
        assert waited["environ"].pop(name)
        assert anew["environ"].pop(name)
    for facts in (waited, anew):
        facts["environ"].pop("_X_AMZN_TRACE_ID", None)
        facts["properties"].pop("com.amazonaws.xray.traceHeader", None)
    for fact in ("environ", "properties", "arguments", "options", "sizes", "directory", "threads", "classes", "stack", "locale"):  # fmt: skip
        assert waited[fact] == anew[fact], fact
    assert waited["descriptors"] <= anew["descriptors"]
    for child in (waited["child"], waited["changedChild"]):
        assert "OWN=mine ä=\n" in child
        assert "_LAMBENT" not in child
    assert waited["directory"] == [True, True, "/var/task", "/var/task/x"]
    assert waited["random"] != anew["random"]


def test_the_programs_of_a_jvm_that_waited_are_found_by_its_functions_path(
    live: LiveServer, runtime: str, code: Path
) -> None:
    def found(path: str) -> str | None:
        name = live.create(folder(code), "example.Probe::find", Runtime=runtime, MemorySize=512,
                           Environment={"Variables": {"PATH": path}})  # fmt: skip
        answer = live.invoke(name, "env")
        return None if answer.function_error else str(answer.value)

    until_ahead(lambda: answer(live, runtime, code, {}))
    assert "PATH=/opt/bin:/usr/bin\n" in (found("/opt/bin:/usr/bin") or "")
    assert found("/nonexistent") is None


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
def test_native_code_in_a_jvm_that_waited_finds_its_variables_and_libraries(
    live: LiveServer, runtime: str, code: Path, tmp_path: Path
) -> None:
    native = Path(shutil.copytree(code, tmp_path / "native"))
    (native / "lib").mkdir()
    compile_c(native / "lib", "look", LOOK_C)
    compile_c(
        native / "lib", "probe", PROBE_C, "-I", str(jni_headers()), "-I", str(jni_headers() / "linux"), "-L.", "-llook"
    )
    name = live.create(folder(native), "example.Probe::inC", Runtime=runtime, MemorySize=512,
                       Environment={"Variables": {"OWN": "mine"}})  # fmt: skip
    until_ahead(lambda: answer(live, runtime, code, {}))
    assert live.invoke(name, "OWN").value == "mine"
    assert live.invoke(name, "_LAMBENT_WAIT_FD").value is None


def compile_c(directory: Path, name: str, source: str, *options: str) -> None:
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-o", f"lib{name}.so", *options]
    subprocess.run(command, cwd=directory, input=source, text=True, check=True)


def jni_headers() -> Path:
    compiler = Path(os.path.realpath(shutil.which("javac") or ""))
    return compiler.parent.parent / "include"


@pytest.mark.parametrize("variables", [{"JAVA_TOOL_OPTIONS": "-Dx=y"}, {"TZ": "Asia/Tokyo"}, {"LD_PRELOAD": ""}])
def test_variables_that_a_jvm_reads_when_it_starts_make_a_start_anew(
    live: LiveServer, runtime: str, code: Path, variables: dict[str, str]
) -> None:
    until_ahead(lambda: answer(live, runtime, code, {}))
    value = answer(live, runtime, code, variables)
    assert value["ahead"] is False
    assert value["environ"].items() >= variables.items()
    assert (value["properties"].get("x") == "y") == ("JAVA_TOOL_OPTIONS" in variables)
    assert (value["locale"][1] == "Asia/Tokyo") == ("TZ" in variables)


def test_a_jvm_that_waited_has_the_heap_of_its_functions_size(live: LiveServer, runtime: str, code: Path) -> None:
    for size in (256, 1024):
        anew = answer(live, runtime, code, {"JDK_JAVA_OPTIONS": ""}, MemorySize=size)
        waited = until_ahead(lambda size=size: answer(live, runtime, code, {}, MemorySize=size))  # type: ignore[misc]
        assert (waited["options"], waited["sizes"]) == (anew["options"], anew["sizes"])


def test_one_that_died_while_it_waited_is_replaced(live: LiveServer, runtime: str, code: Path) -> None:
    until_ahead(lambda: answer(live, runtime, code, {}))
    for pid in jvms(live):
        os.kill(pid, signal.SIGKILL)
    assert answer(live, runtime, code, {})["ahead"] in (True, False)
    until_ahead(lambda: answer(live, runtime, code, {}))


def test_each_jvm_that_waits_serves_one_function(live: LiveServer, runtime: str, code: Path) -> None:
    values = [until_ahead(lambda: answer(live, runtime, code, {"OWN": str(i)})) for i in range(3)]  # noqa: B023
    assert [value["environ"]["OWN"] for value in values] == ["0", "1", "2"]
    assert len({value["environ"]["AWS_LAMBDA_FUNCTION_NAME"] for value in values}) == 3
    assert len({value["random"] for value in values}) == 3


def jvms(live: LiveServer) -> list[int]:
    """The JVMs that run in cages, in use or waiting."""
    lines = command_lines()
    return [pid for pid in descendants(live.process.pid) if "lambent.runtime.Main" in lines.get(pid, "")]
