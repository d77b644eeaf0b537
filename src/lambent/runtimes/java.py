"""Java: how JVMs are found, and how our client is compiled for them.

The client is Java 8 source without dependencies. It is compiled once, by any JDK of the machine, into
`<data>/runtimes/java-client/<digest>/`, and serves every version; a machine that has only JREs cannot do that, and is told so.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambent.model.cage import HostMount, RuntimeInstallation, StartMethod
from lambent.runtimes.errors import RuntimeNotUsable
from lambent.runtimes.family import GUESTS, Family, guest_fingerprint
from lambent.runtimes.half_built import half_built
from lambent.runtimes.search import JVM_HOMES, SearchPaths, base_variables, is_binary

CLIENT_JAR: Final = "lambent.jar"
COMPILE_TIMEOUT_S: Final = 120.0
SOURCES: Final = GUESTS / "java"
HEAP: Final = "-Xmx{heap_mib}m"  # filled in for each function: see EnvironmentSpec.argv

# Variables that the JVM, its launcher or the C library read when the process starts, or may have read by then.
READ_AT_START: Final = re.compile(
    r"JAVA_TOOL_OPTIONS|JAVA_OPTS|(?:JDK|_JAVA|_ALT_JAVA|LD|LC|MALLOC|GLIBC)_.*|LANG|LANGUAGE|LOCPATH|GCONV_PATH|TZ|TZDIR|HOME"
)

_SYSTEM: Final = (Path("/usr"), Path("/lib"), Path("/lib64"))  # what the cage's own root has
_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)([^"]*)"')
_FIRST_THAT_WAITS: Final = 17  # see guest/java/lambent/runtime/ProcessVariables.java
_FIRST_WITH_UNSAFE_WARNINGS: Final = 24  # JEP 498


def find(search: SearchPaths) -> list[RuntimeInstallation]:
    """Every JVM that the machine has, one for each real `java` program."""
    found = []
    for executable in _programs(search, "java"):
        answer = search.ask(executable, "-version") or ""
        version = _VERSION.search(answer)
        if version:
            found.append(_installation(executable, int(version[1]), version[1] + version[2]))
    return found


def fill(installation: RuntimeInstallation, directory: Path) -> None:
    """The compiled client. Raises RuntimeNotUsable when it cannot be compiled, OSError."""
    runtimes_dir = directory.parent.parent
    jar = _built_in(runtimes_dir) or _build(runtimes_dir, _compilers(installation))
    shutil.copyfile(jar, directory / CLIENT_JAR)
    (directory / CLIENT_JAR).chmod(0o644)


def _digest() -> str:
    digest = hashlib.sha256()
    for file in _sources():
        digest.update(f"{file.relative_to(SOURCES)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources() -> list[Path]:
    return sorted(SOURCES.rglob("*.java"))


def _built_in(runtimes_dir: Path) -> Path | None:
    jar = runtimes_dir / "java-client" / _digest() / CLIENT_JAR
    return jar if jar.is_file() else None


def _build(runtimes_dir: Path, compilers: list[Path]) -> Path:
    if not compilers:
        raise RuntimeNotUsable(
            "The Java that was found is a JRE: Lambent's client must be compiled once, and no `javac` is on this machine. "
            "Install a JDK of any version from 8 on (a system package, or unpack one and run `lambent runtimes add "
            "DIRECTORY`)."
        )
    wanted = runtimes_dir / "java-client" / _digest()
    with half_built(wanted.parent) as building:
        _compile(compilers[0], building)
        building.chmod(0o755)
        try:
            building.rename(wanted)
        except OSError:
            if not (wanted / CLIENT_JAR).is_file():  # another process was first: its jar is as good
                raise
    return wanted / CLIENT_JAR


def _compile(compiler: Path, directory: Path) -> None:
    classes = directory / "classes"
    command = [
        str(compiler),
        "-nowarn",
        "-Xlint:-options",
        *_release(compiler),
        "-encoding",
        "UTF-8",
        "-d",
        str(classes),
    ]
    try:
        done = subprocess.run(
            [*command, *map(str, _sources())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMPILE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeNotUsable(f"{compiler} could not compile the client for Java: {error}.") from error
    if done.returncode != 0:
        raise RuntimeNotUsable(f"{compiler} could not compile the client for Java: {done.stdout.strip()[-2000:]}")
    shutil.rmtree(classes / "sun")  # the JDK's own: see there
    _pack(classes, directory / CLIENT_JAR)
    shutil.rmtree(classes)


def _release(compiler: Path) -> list[str]:
    """JDK 8 has no --release, and needs none."""
    has_modules = (compiler.parent.parent / "lib" / "modules").exists()
    return ["--release", "8"] if has_modules else []


def _pack(classes: Path, jar: Path) -> None:
    """Uncompressed: it loads faster."""
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(f for f in classes.rglob("*") if f.is_file()):
            archive.writestr(zipfile.ZipInfo(str(file.relative_to(classes))), file.read_bytes())


def _compilers(installation: RuntimeInstallation) -> list[Path]:
    """JDK compilers: the installation's own first, then any other."""
    assert installation.executable is not None
    on_path = shutil.which("javac")
    places = [installation.executable.with_name("javac"), *([Path(on_path)] if on_path else [])]
    places += sorted(JVM_HOMES.glob("*/bin/javac"))
    return [place for place in places if is_binary(place)]


def _programs(search: SearchPaths, name: str) -> Iterator[Path]:
    seen: set[Path] = set()
    for directory in search.executables():
        program = Path(os.path.realpath(directory / name))
        if program not in seen and is_binary(program):
            seen.add(program)
            yield program


def _installation(executable: Path, major: int, version: str) -> RuntimeInstallation:
    home = executable.parent.parent
    of_the_system = _is_below(home, _SYSTEM)
    inside = executable if of_the_system else Path("/var/lang") / executable.relative_to(home)
    mounts = [] if of_the_system else [HostMount(source=home, target="/var/lang")]
    mounts += [HostMount(source=directory, target=str(directory)) for directory in _configuration_elsewhere(home)]
    return RuntimeInstallation(
        runtime="java8.al2" if major == 8 else f"java{major}",
        family="java",
        version=version,
        start=StartMethod.EXEC,
        executable=executable,
        argv=(
            str(inside),
            *_options(major),
            "-cp",
            f"/var/runtime/{CLIENT_JAR}",
            "lambent.runtime.Main",
            "/opt/java/lib",
        ),
        host_mounts=tuple(mounts),
        runtime_dir=None,
        environment=base_variables(),
        read_at_start=READ_AT_START if major >= _FIRST_THAT_WAITS else None,
        takes_connection=True,
    )


def _options(major: int) -> tuple[str, ...]:
    """For a short start: one compiler tier, the smallest collector, the class archive that the JVM came with."""
    quiet = ("--sun-misc-unsafe-memory-access=allow",) if major >= _FIRST_WITH_UNSAFE_WARNINGS else ()
    return ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData", HEAP, *quiet)


def _configuration_elsewhere(home: Path) -> list[Path]:
    """Directories outside of the JVM's home that it links to: Debian keeps its configuration below /etc."""
    outside: set[Path] = set()
    for part in ("conf", "lib", "jre/lib"):
        for directory, names, files in os.walk(home / part):
            for name in (*names, *files):
                link = Path(directory) / name
                target = Path(os.path.realpath(link)) if link.is_symlink() else None
                if target is not None and target.exists() and not _is_below(target, (home, *_SYSTEM)):
                    outside.add(target if target.is_dir() else target.parent)
    return sorted(d for d in outside if not any(other != d and _is_below(d, (other,)) for other in outside))


def _is_below(path: Path, roots: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _number(runtime: str) -> str:
    return runtime.removeprefix("java").removesuffix(".al2")


def _hint(runtime: str) -> str:
    number = _number(runtime)
    return (
        f"Install a JDK {number} in {JVM_HOMES} (a system package such as openjdk-{number}-jdk-headless), or unpack one "
        f"anywhere and run `lambent runtimes add DIRECTORY`; then restart Lambent."
    )


FAMILY: Final = Family(
    name="java",
    prefixes=("java",),
    interpreter=lambda runtime: f"Java {_number(runtime)}",
    hint=_hint,
    find=find,
    fill=fill,
    fingerprint=guest_fingerprint,
)
