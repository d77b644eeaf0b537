"""CPython 3.8 and later: how it is found, and what its runtime directory holds."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from lambent.model.cage import Compiler, HostMount, RuntimeInstallation, StartMethod
from lambent.runtimes.errors import RuntimeNotUsable
from lambent.runtimes.family import Family, copy_guest, guest_fingerprint
from lambent.runtimes.half_built import half_built
from lambent.runtimes.search import SearchPaths, base_variables, is_binary

OLDEST: Final = (3, 8)
SDK_DISTRIBUTIONS: Final = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "python-dateutil", "six")
AS_SOURCE: Final = "/rehearsal/"  # left uncompiled, as the code of functions is
FETCHED: Final = "python-sdk"  # below the runtimes' directory: SDKs that pip brought
COMPILE_TIMEOUT_S: Final = 60.0
FETCH_TIMEOUT_S: Final = 300.0

_NAME: Final = re.compile(r"python3(\.\d+)?\Z")
_QUESTION: Final = (
    "import json, sys, sysconfig; print(json.dumps({"
    "'version': sys.version.split()[0].rstrip('+'), 'minor': sys.version_info[:2], 'name': sys.implementation.name,"
    "'prefix': sys.base_prefix, 'gil': not sysconfig.get_config_var('Py_GIL_DISABLED')}))"
)


def find(search: SearchPaths) -> list[RuntimeInstallation]:
    """Every CPython that the machine has: real interpreters only, virtual environments are followed to theirs."""
    found = []
    for executable in _interpreters(search):
        facts = _ask(search, executable)
        if facts is not None and facts["name"] == "cpython" and facts["gil"] and tuple(facts["minor"]) >= OLDEST:
            found.append(_installation(executable, facts))
    return found


def sdk_fits(installation: RuntimeInstallation) -> bool:
    """Whether the SDK that Lambent itself runs on supports this interpreter."""
    version = tuple(int(number) for number in installation.runtime.removeprefix("python").split("."))
    return all(version >= _requires_python(name) for name in SDK_DISTRIBUTIONS)


def fill(installation: RuntimeInstallation, directory: Path) -> None:
    """The guest client, and the AWS SDK from Lambent's own installation: nothing is fetched. Raises OSError."""
    copy_guest(installation, directory)
    if sdk_fits(installation):
        same_python = installation.runtime == "python{}.{}".format(*sys.version_info[:2])
        for name in SDK_DISTRIBUTIONS:
            for source, relative in _distribution_files(name, bytecode=same_python):
                _link(source, directory / relative)
    else:
        _link_tree(_fetched(directory.parent.parent, installation), directory)
    _compile(installation, directory, recursive=False)


def finish(installation: RuntimeInstallation, directory: Path) -> None:
    """Compiles the SDK, which takes half a second and saves as much at each cold start that imports boto3."""
    _compile(installation, directory, recursive=True)


def fetch_sdk(runtimes_dir: Path, installation: RuntimeInstallation, progress: Callable[[str], None]) -> None:
    """boto3 for an interpreter that Lambent's own is too new for, by that interpreter's pip. Raises RuntimeNotUsable."""
    if sdk_fits(installation):
        return
    wanted = _fetched(runtimes_dir, installation)
    progress(f"Installing boto3 for {installation.runtime} with its pip.")
    try:
        with half_built(wanted.parent) as building:
            _pip_install(installation, building)
            building.chmod(0o755)
            if wanted.exists():
                shutil.rmtree(wanted)
            building.rename(wanted)
    except OSError as error:
        raise RuntimeNotUsable(f"boto3 for {installation.runtime} could not be put into {wanted}: {error}.") from error


def shared_state(runtimes_dir: Path) -> str:
    """Changes when an SDK was fetched."""
    found = sorted(runtimes_dir.glob(f"{FETCHED}/*/boto3-*.dist-info"))
    return "\n".join(f"{path.parent.name}/{path.name}" for path in found)


# Of a distribution that Lambent itself runs with. Looking is slow, and it is asked for every Python that was found.
_version_here: Final = functools.cache(importlib.metadata.version)


def fingerprint(installation: RuntimeInstallation) -> str:
    """Changes with the guest's files and the SDK's versions."""
    digest = hashlib.sha256(guest_fingerprint(installation).encode())
    if sdk_fits(installation):
        for name in SDK_DISTRIBUTIONS:
            digest.update(f"{name}=={_version_here(name)}\n".encode())
    return digest.hexdigest()


def _interpreters(search: SearchPaths) -> Iterator[Path]:
    """Each real binary once, symbolic links followed."""
    seen: set[Path] = set()
    for directory in search.executables():
        try:
            names = sorted((n for n in os.listdir(directory) if _NAME.match(n)), key=len, reverse=True)
        except OSError:
            continue
        for name in names:
            executable = (directory / name).resolve()
            if executable in seen:
                continue
            seen.add(executable)
            if is_binary(executable) and not (executable.parent.parent / "pyvenv.cfg").exists():
                yield executable


def _ask(search: SearchPaths, executable: Path) -> dict[str, Any] | None:
    answer = search.ask(executable, "-I", "-S", "-c", _QUESTION)
    if answer is None:
        return None
    try:
        facts: dict[str, Any] = json.loads(answer)
    except ValueError:
        return None
    return facts


def _installation(executable: Path, facts: dict[str, Any]) -> RuntimeInstallation:
    minor = "{}.{}".format(*facts["minor"])
    prefix = Path(facts["prefix"])
    of_the_system = prefix == Path("/usr")
    inside = executable if of_the_system else Path("/var/lang") / executable.relative_to(prefix)
    return RuntimeInstallation(
        runtime=f"python{minor}",
        family="python",
        version=facts["version"],
        start=StartMethod.FORK,
        executable=executable,
        argv=(str(inside), "/var/runtime/bootstrap.py"),
        host_mounts=() if of_the_system else (HostMount(source=prefix, target="/var/lang"),),
        runtime_dir=None,
        # The last one is for our client alone, which takes it away: where the layers are, should that not be /opt.
        environment={**base_variables(), "PYTHONPATH": "/var/runtime", "_LAMBENT_LAYERS_ROOT": "/opt"},
        compiler=Compiler("lambent_bytecode.handler", "cpython-{}{}".format(*facts["minor"])),
    )


def _requires_python(distribution: str) -> tuple[int, ...]:
    """The oldest Python that a distribution supports: (3, 10) from `>=3.10`. Raises PackageNotFoundError."""
    asked = str(importlib.metadata.metadata(distribution)["Requires-Python"])
    oldest = re.search(r">=\s*(\d+)\.(\d+)", asked)
    return (int(oldest[1]), int(oldest[2])) if oldest else (0,)


def _distribution_files(name: str, *, bytecode: bool) -> Iterator[tuple[Path, Path]]:
    """(file on disk, path below the runtime directory) of an installed distribution; its commands are left out."""
    for file in importlib.metadata.distribution(name).files or ():
        if ".." in file.parts or file.parts[0] in ("bin", "/"):
            continue
        if "__pycache__" in file.parts and not bytecode:
            continue
        source = Path(str(file.locate()))
        if source.is_file():
            yield source, Path(*file.parts)


def _link_tree(root: Path, target: Path) -> None:
    """Every file below `root`, commands left out; nothing when it does not exist."""
    for parent, directories, names in os.walk(root):
        if Path(parent) == root and "bin" in directories:
            directories.remove("bin")
        for name in names:
            source = Path(parent, name)
            _link(source, target / source.relative_to(root))


def _compile(installation: RuntimeInstallation, directory: Path, *, recursive: bool) -> None:
    """Bytecode by the interpreter that will load it. Without it everything works, only slower, so failures are not raised."""
    depth = () if recursive else ("-l",)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [
                str(installation.executable),
                "-I",
                "-S",
                "-m",
                "compileall",
                "-q",
                *depth,
                "-x",
                AS_SOURCE,
                str(directory),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMPILE_TIMEOUT_S,
            umask=0o022,
            check=False,
        )


def _fetched(runtimes_dir: Path, installation: RuntimeInstallation) -> Path:
    return runtimes_dir / FETCHED / installation.runtime


def _pip_install(installation: RuntimeInstallation, target: Path) -> None:
    command = [str(installation.executable), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, "--no-compile", "--target", str(target), "boto3"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FETCH_TIMEOUT_S,
            umask=0o022,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeNotUsable(
            f"pip did not finish installing boto3 for {installation.runtime} within {FETCH_TIMEOUT_S:.0f} s. "
            f"See that the package index can be reached, and try again."
        ) from error
    if done.returncode != 0:
        said = " ".join(done.stdout.decode(errors="replace").split()[-60:])
        raise RuntimeNotUsable(f"pip could not install boto3 for {installation.runtime}: {said}")


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system allows it and every user may read it; a copy elsewhere."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_mode & 0o004:
        try:
            os.link(source, target)
        except OSError:
            pass  # another file system, or a file of another owner: copied below
        else:
            return
    shutil.copy2(source, target)
    target.chmod(0o644)


def _interpreter(runtime: str) -> str:
    return f"CPython {runtime.removeprefix('python')}"


def _hint(runtime: str) -> str:
    minor = runtime.removeprefix("python")
    return (
        f"Install it where `python{minor}` is on PATH (a system package, `pyenv install {minor}`, `uv python install "
        f"{minor}`), or unpack it anywhere and run `lambent runtimes add DIRECTORY`; then restart Lambent."
    )


FAMILY: Final = Family(
    name="python",
    prefixes=("python",),
    interpreter=_interpreter,
    hint=_hint,
    find=find,
    fill=fill,
    fingerprint=fingerprint,
    finish=finish,
    fetch_sdk=fetch_sdk,
    shared_state=shared_state,
)
