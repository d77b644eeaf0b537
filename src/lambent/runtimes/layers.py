"""The directory that a function sees at /var/runtime: our client for its language, and the AWS SDK.

Built once for each runtime under `<data>/runtimes/<runtime>/<digest>/`. A new one is made beside the final place and
renamed into it, so a reader sees all of it or nothing, and environments that still show an older one keep it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

import lambent
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes.errors import RuntimeNotUsable
from lambent.runtimes.family import Family
from lambent.runtimes.half_built import half_built

DIGEST_LENGTH: Final = 16  # hex digits in the directory's name
FINISHED: Final = ".finished"


class RuntimeDirectories:
    """Builds runtime directories when they are first asked for. May be called from several threads."""

    def __init__(self, data_dir: Path, families: Mapping[str, Family]) -> None:
        self.root = data_dir.absolute() / "runtimes"
        self._families = families
        self._complete: dict[tuple[str, str], RuntimeInstallation] = {}  # by runtime id and exact version
        self._lock = threading.Lock()

    def complete(self, installation: RuntimeInstallation) -> RuntimeInstallation:
        """The installation with its `runtime_dir`. Raises RuntimeNotUsable when it cannot be built."""
        key = (installation.runtime, installation.version)
        with self._lock:
            known = self._complete.get(key)
            if known is None:
                known = self._complete[key] = attrs.evolve(installation, runtime_dir=self._build(installation))
            return known

    def current(self, installation: RuntimeInstallation) -> Path | None:
        """The directory that a server would use from its next start on, if it has been built."""
        directory = self._directory(self._families[installation.family], installation)
        return directory if directory.is_dir() else None

    def is_built(self, installation: RuntimeInstallation) -> bool:
        """Whether `complete` has nothing left to build."""
        family = self._families[installation.family]
        return family.fill is None or self._directory(family, installation).is_dir()

    def is_finished(self, installation: RuntimeInstallation) -> bool:
        """Whether `finish` has nothing left to do."""
        family = self._families[installation.family]
        return family.finish is None or (self._directory(family, installation) / FINISHED).exists()

    def finish(self, installation: RuntimeInstallation) -> None:
        """Adds what makes a built directory faster; may take seconds. Raises OSError."""
        family = self._families[installation.family]
        if family.finish is not None and not self.is_finished(installation):
            directory = self._directory(family, installation)
            family.finish(installation, directory)
            _readable_by_all(directory)
            (directory / FINISHED).touch()
            (directory / FINISHED).chmod(0o644)

    def sweep(self, installation: RuntimeInstallation) -> None:
        """Removes older directories of this runtime. Only while no environment is alive: they may show one."""
        wanted = self.complete(installation).runtime_dir
        if wanted is not None:
            for directory in wanted.parent.iterdir():
                if directory != wanted:
                    shutil.rmtree(directory, ignore_errors=True)

    def _directory(self, family: Family, installation: RuntimeInstallation) -> Path:
        return self.root / installation.runtime / self._digest(family, installation, family.shared_state(self.root))

    def _build(self, installation: RuntimeInstallation) -> Path | None:
        family = self._families[installation.family]
        if family.fill is None:
            return None
        try:
            wanted = self._directory(family, installation)
            if not wanted.is_dir():
                _build_and_rename(family, installation, wanted)
        except OSError as error:
            raise RuntimeNotUsable(
                f"The directory with the client for {installation.runtime} could not be built under {self.root}: "
                f"{error}. See that it can be written and that the disk is not full."
            ) from error
        return wanted

    @staticmethod
    def _digest(family: Family, installation: RuntimeInstallation, shared: str) -> str:
        content = f"{lambent.__version__}\0{installation.runtime}\0{family.fingerprint(installation)}\0{shared}"
        return hashlib.sha256(content.encode()).hexdigest()[:DIGEST_LENGTH]


def _build_and_rename(family: Family, installation: RuntimeInstallation, wanted: Path) -> None:
    assert family.fill is not None
    with half_built(wanted.parent) as building:
        family.fill(installation, building)
        _readable_by_all(building)
        try:
            building.rename(wanted)
        except OSError:
            if not wanted.is_dir():  # another process was first: its directory is as good
                raise


def _readable_by_all(root: Path) -> None:
    """Functions run under other user ids; a strict umask must not hide the client from them."""
    for directory, _, _ in os.walk(root):
        Path(directory).chmod(0o755)
