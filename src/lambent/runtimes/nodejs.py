"""Node.js 18 and later: how it is found, and what its runtime directory holds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from lambent.model.cage import HostMount, RuntimeInstallation, StartMethod
from lambent.runtimes import nodejs_sdk
from lambent.runtimes.family import Family, copy_guest
from lambent.runtimes.search import SearchPaths, base_variables, is_binary

OLDEST_MAJOR: Final = 18
SDK_OLDEST_MAJOR: Final = 20  # "engines" of the clients in nodejs_sdk/package.json
# As Lambda's own runtime starts Node.js: shares of the function's memory for new and for old objects.
OPTIONS: Final = ("--expose-gc", "--max-semi-space-size={5%}", "--max-old-space-size={90%}")

# Variables that Node.js, V8, ICU, OpenSSL, libuv or the C library read when the process starts, or may have read by then.
READ_AT_START: Final = re.compile(
    r"NODE_(?!ENV\Z|TLS_REJECT_UNAUTHORIZED\Z).*|(?:UV|LD|LC|MALLOC|GLIBC|OPENSSL|SSL|ICU)_.*|LANG|LANGUAGE|TZ"
)

_VERSION: Final = re.compile(r"v(\d+)\.\d+\.\d+\Z")


def find(search: SearchPaths) -> list[RuntimeInstallation]:
    """Every Node.js that the machine has, one for each real binary."""
    found = []
    for executable in _interpreters(search):
        version = (search.ask(executable, "--version") or "").strip()
        known = _VERSION.match(version)
        if known and int(known[1]) >= OLDEST_MAJOR:
            found.append(_installation(executable, version[1:]))
    return found


def sdk_fits(installation: RuntimeInstallation) -> bool:
    """Whether the AWS SDK that Lambent brings supports this Node.js."""
    return int(installation.version.split(".")[0]) >= SDK_OLDEST_MAJOR


def fill(installation: RuntimeInstallation, directory: Path) -> None:
    """The guest client, and the AWS SDK where `nodejs_sdk.build_node_sdk` has built it. Raises OSError."""
    copy_guest(installation, directory)
    built = nodejs_sdk.built_in(_runtimes_of(directory))
    if built is not None and sdk_fits(installation):
        nodejs_sdk.link_into(built, directory / "node_modules")


def fetch_sdk(runtimes_dir: Path, installation: RuntimeInstallation, progress: Callable[[str], None]) -> None:
    """The AWS SDK for JavaScript, once for all versions of Node.js that it supports. Raises RuntimeNotUsable."""
    if sdk_fits(installation):
        nodejs_sdk.build_node_sdk(runtimes_dir, progress)


def shared_state(runtimes_dir: Path) -> str:
    """Changes when the SDK is built or replaced, so that functions find it from their next cold start on."""
    built = nodejs_sdk.built_in(runtimes_dir)
    return built.name if built is not None else ""


def _runtimes_of(directory: Path) -> Path:
    """`<data>/runtimes` of a runtime directory, `<data>/runtimes/<runtime>/<digest>`."""
    return directory.parent.parent


def _interpreters(search: SearchPaths) -> Iterator[Path]:
    seen: set[Path] = set()
    for directory in search.executables():
        for name in ("node", "nodejs"):
            executable = Path(os.path.realpath(directory / name))
            if executable not in seen and is_binary(executable):
                seen.add(executable)
                yield executable


def _installation(executable: Path, version: str) -> RuntimeInstallation:
    major = version.split(".")[0]
    prefix = executable.parent.parent
    of_the_system = prefix == Path("/usr")
    inside = executable if of_the_system else Path("/var/lang") / executable.relative_to(prefix)
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html: NODE_PATH
    packages = (f"/opt/nodejs/node{major}/node_modules", "/opt/nodejs/node_modules", "/var/runtime/node_modules")
    return RuntimeInstallation(
        runtime=f"nodejs{major}.x",
        family="nodejs",
        version=version,
        start=StartMethod.EXEC,
        executable=executable,
        argv=(str(inside), *OPTIONS, "/var/runtime/bootstrap.cjs"),
        host_mounts=() if of_the_system else (HostMount(source=prefix, target="/var/lang"),),
        runtime_dir=None,
        environment={**base_variables(), "NODE_PATH": ":".join((*packages, "/var/runtime", "/var/task"))},
        read_at_start=READ_AT_START,
    )


def _interpreter(runtime: str) -> str:
    return f"Node.js {runtime.removeprefix('nodejs').removesuffix('.x')}"


def _hint(runtime: str) -> str:
    major = runtime.removeprefix("nodejs").removesuffix(".x")
    return (
        f"Install it where `node` of version {major} is on PATH (a system package, `nvm install {major}`), or unpack it "
        f"anywhere and run `lambent runtimes add DIRECTORY`; then restart Lambent."
    )


FAMILY: Final = Family(
    name="nodejs",
    prefixes=("nodejs",),
    interpreter=_interpreter,
    hint=_hint,
    find=find,
    fill=fill,
    fetch_sdk=fetch_sdk,
    shared_state=shared_state,
)
