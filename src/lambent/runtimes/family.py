"""What a language brings: how its interpreters are found, and what goes into its runtime directory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from lambent.model.cage import RuntimeInstallation
from lambent.runtimes.search import SearchPaths

GUESTS: Final = Path(__file__).parent / "guest"


def guest_fingerprint(installation: RuntimeInstallation) -> str:
    """A digest of the language's guest files."""
    digest = hashlib.sha256()
    for file in _guest_files(installation.family):
        digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def copy_guest(installation: RuntimeInstallation, directory: Path) -> None:
    """Puts the language's guest files, as they are, into a new runtime directory. Raises OSError."""
    root = GUESTS / installation.family
    for file in _guest_files(installation.family):
        target = directory / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)


@attrs.frozen(kw_only=True)
class Family:
    """One language.

    `find` gives every usable interpreter, of any version, with `runtime_dir=None`; it never raises for one that is broken.
    `fill` puts the guest and the SDK into an empty directory, which is then shown read-only at /var/runtime; it may raise
    OSError and RuntimeNotUsable. `fingerprint` says what the content depends on: when it changes, the directory is built
    anew. `fill=None`: the language needs no directory (`provided`).

    `finish` adds to a directory that is in use already what only makes it faster. `fetch_sdk(runtimes_dir, installation,
    progress)` gets an SDK from a package index for the next `fill`, because somebody asked for it; raises RuntimeNotUsable.
    """

    name: str
    prefixes: tuple[str, ...]  # of runtime ids: "python" serves "python3.13"
    interpreter: Callable[[str], str]  # what a runtime id needs, in words: "CPython 3.13"
    hint: Callable[[str], str]  # how to add it: one or two sentences
    find: Callable[[SearchPaths], list[RuntimeInstallation]]
    fill: Callable[[RuntimeInstallation, Path], None] | None = copy_guest
    fingerprint: Callable[[RuntimeInstallation], str] = guest_fingerprint
    finish: Callable[[RuntimeInstallation, Path], None] | None = None
    fetch_sdk: Callable[[Path, RuntimeInstallation, Callable[[str], None]], None] | None = None
    # What else the content depends on that lies under `<data>/runtimes` (its argument) and is shared by several runtimes.
    shared_state: Callable[[Path], str] = lambda runtimes_dir: ""


def _guest_files(family: str) -> list[Path]:
    root = GUESTS / family
    return sorted(f for f in root.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
