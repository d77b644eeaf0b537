"""The functions that are measured, in each language, and making them."""

from __future__ import annotations

import functools
import io
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from lambent.bench.errors import NotMeasured

ROLE: Final = "arn:aws:iam::000000000000:role/bench"
ACTIVE_TIMEOUT_S: Final = 60.0
LOOK_EVERY_S: Final = 0.02
EXECUTABLE: Final = 0o100755 << 16  # a regular file's mode, where zip archives keep it

ECHO_PYTHON: Final = "def handler(event, context):\n    return event\n"
ECHO_NODE: Final = "exports.handler = async (event) => event;\n"
HELLO_PYTHON: Final = "def handler(event, context):\n    return {'message': 'hello'}\n"
HELLO_NODE: Final = "exports.handler = async () => ({ message: 'hello' });\n"
HELLO_JAVA: Final = """import java.util.Map;
public class Hello {
    public Map<String, String> handle(Map<String, Object> event) { return Map.of("message", "hello"); }
}
"""
# A custom runtime without any program but bash itself: it speaks HTTP over a socket that it opens.
HELLO_BOOTSTRAP: Final = r"""#!/bin/bash
LC_ALL=C
ask() {
    printf '%s /2018-06-01/runtime/invocation/%s HTTP/1.1\r\nHost: runtime\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" "${#3}" "$3" >&3
    local line length=0
    while IFS= read -r line <&3 && line=${line%$'\r'} && [ -n "$line" ]; do
        case "${line,,}" in
            lambda-runtime-aws-request-id:*) id=${line#*: } ;;
            content-length:*) length=${line#*: } ;;
        esac
    done
    [ "$length" -eq 0 ] || IFS= read -r -N "$length" body <&3
}
exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API##*:}"
while :; do
    ask GET next ''
    ask POST "$id/response" '{"message": "hello"}'
done
"""


@attrs.frozen(kw_only=True)
class Code:
    """What is deployed."""

    runtime: str
    handler: str
    package: bytes


def package(files: Mapping[str, bytes | str]) -> bytes:
    """A zip archive; `bootstrap` is executable in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = EXECUTABLE if name == "bootstrap" else 0o100644 << 16
            archive.writestr(info, content)
    return out.getvalue()


def python(runtime: str, source: str = HELLO_PYTHON) -> Code:
    return Code(runtime=runtime, handler="index.handler", package=package({"index.py": source}))


def hello(runtime: str) -> Code:
    """The smallest function of this runtime. Raises NotMeasured when it cannot be made here."""
    if runtime.startswith("python"):
        return python(runtime)
    if runtime.startswith("nodejs"):
        return Code(runtime=runtime, handler="index.handler", package=package({"index.js": HELLO_NODE}))
    if runtime.startswith("java"):
        return Code(runtime=runtime, handler="Hello::handle", package=package({"Hello.class": _compiled()}))
    if runtime.startswith("provided") and Path("/bin/bash").exists():
        return Code(runtime=runtime, handler="any", package=package({"bootstrap": HELLO_BOOTSTRAP}))
    raise NotMeasured(f"there is no smallest function for {runtime} here")


@functools.cache
def _compiled() -> bytes:
    if shutil.which("javac") is None:
        raise NotMeasured("javac is not installed")
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as directory:
        source = Path(directory, "Hello.java")
        source.write_text(HELLO_JAVA)
        subprocess.run(["javac", "--release", "17", "-d", directory, str(source)], check=True, capture_output=True)
        return Path(directory, "Hello.class").read_bytes()


def newest(runtimes: Iterable[str], family: str) -> str | None:
    """The newest of this family (`nodejs`, `java`, `provided`) among runtime ids."""
    of_family = [name for name in runtimes if re.fullmatch(rf"{family}\.?[a-z]*[0-9][0-9.x]*", name)]
    return max(of_family, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)], default=None)


def create(client: Any, names: Iterable[str], code: Code, **settings: Any) -> None:
    """Functions of this code that are active. Raises NotMeasured when one does not become so."""
    made = list(names)
    for name in made:
        client.create_function(
            FunctionName=name,
            Runtime=code.runtime,
            Role=ROLE,
            Handler=code.handler,
            Code={"ZipFile": code.package},
            **{"Timeout": 60, **settings},
        )
    for name in made:
        until_active(client, name)


def until_active(client: Any, name: str, **which: str) -> dict[str, Any]:
    """Its configuration then. `which`: `Qualifier="1"`."""
    deadline = time.monotonic() + ACTIVE_TIMEOUT_S
    while True:
        found: dict[str, Any] = client.get_function_configuration(FunctionName=name, **which)
        if found["State"] == "Active":
            return found
        if found["State"] == "Failed" or time.monotonic() > deadline:
            raise NotMeasured(f"{name} is {found['State']}: {found.get('StateReason', 'no reason given')}")
        time.sleep(LOOK_EVERY_S)
