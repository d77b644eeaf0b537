"""Where interpreters are looked for, and a memory of what each of them answered.

Starting an interpreter to ask for its version costs 10 to 500 ms, so an answer is kept in `<data>/runtimes/found.json`
for as long as the file keeps its size and its time of change.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

ASK_TIMEOUT_S: Final = 20.0  # a JVM on a busy machine takes seconds; nothing healthy takes longer
SHARED_RUNTIMES: Final = Path("/opt/lambent/runtimes")
JVM_HOMES: Final = Path("/usr/lib/jvm")


class AnswerCache:
    """What executables answered when asked for their version, by path, size and time of change."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._answers: dict[str, list[Any]] = _read_json_object(file)
        self._changed = False

    def ask(self, executable: Path, arguments: Sequence[str]) -> str | None:
        """What the program prints (both outputs); None if it cannot be run, fails or takes too long."""
        try:
            status = executable.stat()
        except OSError:
            return None
        key = "\0".join((str(executable), *arguments))
        stamp = [status.st_mtime_ns, status.st_size]
        known = self._answers.get(key)
        if isinstance(known, list) and known[:2] == stamp and len(known) == 3:
            answer: str | None = known[2]
            return answer
        answer = _run(executable, arguments)
        self._answers[key] = [*stamp, answer]
        self._changed = True
        return answer

    def save(self) -> None:
        """Keeps the answers. A directory that cannot be written only means asking again next time."""
        if self._file is None or not self._changed:
            return
        with contextlib.suppress(OSError):
            replace_file(self._file, json.dumps(self._answers, indent=0).encode())
            self._changed = False


@attrs.frozen(kw_only=True)
class SearchPaths:
    """Where a family's `find` looks. Tests give directories of their own."""

    path: tuple[Path, ...]  # the directories of $PATH
    prefixes: tuple[Path, ...]  # self-contained installations: `bin/python3.13`, `bin/node`, `bin/java` below each
    system: tuple[Path, ...] = (Path("/usr/bin"), Path("/usr/local/bin"))
    answers: AnswerCache = attrs.field(factory=lambda: AnswerCache(None))

    def executables(self) -> Iterator[Path]:
        """Every directory that may hold interpreters: added and self-contained ones first."""
        seen: set[Path] = set()
        for directory in (*(prefix / "bin" for prefix in self.prefixes), *self.path, *self.system):
            if directory not in seen:
                seen.add(directory)
                yield directory

    def ask(self, executable: Path, *arguments: str) -> str | None:
        """See `AnswerCache.ask`."""
        return self.answers.ask(executable, arguments)


def standard_paths(data_dir: Path, environ: Mapping[str, str] = os.environ) -> SearchPaths:
    """The search that `lambent up` makes."""
    home = Path(environ.get("HOME") or "/nonexistent")
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    rbenv = Path(environ.get("RBENV_ROOT") or home / ".rbenv")
    nvm = Path(environ.get("NVM_DIR") or home / ".nvm")
    collections = (
        SHARED_RUNTIMES,
        pyenv / "versions",
        home / ".local" / "share" / "uv" / "python",
        nvm / "versions" / "node",
        rbenv / "versions",
        JVM_HOMES,
    )
    prefixes = [*added_prefixes(data_dir), *(child for parent in collections for child in _children(parent))]
    return SearchPaths(
        path=tuple(Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry.startswith("/")),
        prefixes=tuple(dict.fromkeys(prefixes)),
        answers=AnswerCache(data_dir / "runtimes" / "found.json"),
    )


def added_prefixes(data_dir: Path) -> list[Path]:
    """What `lambent runtimes add` has remembered, newest first."""
    listed = _read_json_object(_added_file(data_dir)).get("prefixes", [])
    return [Path(entry) for entry in listed if isinstance(entry, str)]


def remember_prefix(data_dir: Path, prefix: Path) -> None:
    """Adds a directory to those that are searched. Raises OSError."""
    prefixes = [str(prefix), *(str(known) for known in added_prefixes(data_dir) if known != prefix)]
    replace_file(_added_file(data_dir), json.dumps({"prefixes": prefixes}, indent=1).encode())


def is_binary(executable: Path) -> bool:
    """True for a real program; pyenv's and asdf's shims are shell scripts that pick a version by the current directory."""
    try:
        with executable.open("rb") as file:
            return file.read(4) == b"\x7fELF" and os.access(executable, os.X_OK)
    except OSError:
        return False


def version_key(version: str) -> tuple[tuple[int, ...], bool]:
    """Orders exact versions: `3.13.10` after `3.13.9`, and `3.15.0` after `3.15.0rc1`."""
    numbers: list[int] = []
    final = True
    for part in version.replace("_", ".").replace("+", ".").split("."):
        digits = "".join(c for c in part if c.isdigit()) if part.isdigit() else _leading_digits(part)
        final = final and part.isdigit()
        if digits:
            numbers.append(int(digits))
    return tuple(numbers), final


@functools.cache
def language_setting() -> str:
    """The value of LANG: AWS's `en_US.UTF-8`, or `C.UTF-8` where the machine has not got that locale."""
    lc_all_mask = 0x1FBF  # glibc: every category
    try:
        newlocale = ctypes.CDLL(None).newlocale
    except (OSError, AttributeError):
        return "C.UTF-8"
    newlocale.restype = ctypes.c_void_p
    newlocale.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    return "en_US.UTF-8" if newlocale(lc_all_mask, b"en_US.UTF-8", None) else "C.UTF-8"


def base_variables() -> dict[str, str]:
    """Lambda's own variables that every language has in common; a family adds to them or changes them.

    Values: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
    """
    return {
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        "LANG": language_setting(),
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
    }


def replace_file(file: Path, content: bytes) -> None:
    """Writes a whole file or leaves the old one. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            os.fchmod(out.fileno(), 0o644)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _run(executable: Path, arguments: Iterable[str]) -> str | None:
    quiet = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    try:
        done = subprocess.run(
            [str(executable), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=quiet,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _children(parent: Path) -> list[Path]:
    try:
        return sorted((child for child in parent.iterdir() if child.is_dir()), reverse=True)
    except OSError:
        return []


def _added_file(data_dir: Path) -> Path:
    return data_dir / "runtimes" / "added.json"


def _read_json_object(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _leading_digits(text: str) -> str:
    return text[: len(text) - len(text.lstrip("0123456789"))]
