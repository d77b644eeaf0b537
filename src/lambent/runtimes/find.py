"""Which interpreter runs a function: found once at start, by exact runtime id, and never a different version silently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import dotnet, java, nodejs, provided, python, ruby
from lambent.runtimes.errors import RuntimeMissing, RuntimeNotUsable
from lambent.runtimes.family import Family
from lambent.runtimes.layers import RuntimeDirectories
from lambent.runtimes.search import AnswerCache, SearchPaths, remember_prefix, standard_paths, version_key

FAMILIES: Final[tuple[Family, ...]] = (
    python.FAMILY,
    nodejs.FAMILY,
    java.FAMILY,
    ruby.FAMILY,
    provided.FAMILY,
    dotnet.FAMILY,
)


def family_of(runtime: str) -> Family | None:
    """The language that a runtime id names, whether or not it is installed."""
    return next((family for family in FAMILIES if runtime.startswith(family.prefixes)), None)


def discover(search: SearchPaths, families: Iterable[Family] = FAMILIES) -> dict[str, RuntimeInstallation]:
    """The best installation for each runtime id: the newest patch; among equals the one that was found first."""
    best: dict[str, RuntimeInstallation] = {}
    for family in families:
        for found in family.find(search):
            known = best.get(found.runtime)
            if known is None or version_key(found.version) > version_key(known.version):
                best[found.runtime] = found
    search.answers.save()
    return best


@attrs.frozen
class Installations:
    """The interpreters of this machine. Looking one up costs a dictionary access after its directory was built once."""

    by_runtime: Mapping[str, RuntimeInstallation]
    directories: RuntimeDirectories

    @classmethod
    def find(cls, data_dir: Path) -> Installations:
        """Searches the machine: under 50 ms when nothing changed since the last time, seconds on the first."""
        return cls(discover(standard_paths(data_dir)), RuntimeDirectories(data_dir, {f.name: f for f in FAMILIES}))

    def for_runtime(self, runtime: str) -> RuntimeInstallation:
        """What runs this runtime id, with its runtime directory built.

        Raises RuntimeMissing, which says what to install, and RuntimeNotUsable when the directory cannot be built.
        """
        found = self.by_runtime.get(runtime)
        if found is None:
            raise missing(runtime)
        return self.directories.complete(found)

    def fetch_sdk(self, runtime: str, progress: Callable[[str], None]) -> None:
        """Gets the SDK that Lambent does not bring from its package index (`lambent runtimes build`); the network is used.

        Does nothing for languages and versions that need none. Raises RuntimeMissing and RuntimeNotUsable.
        """
        found = self.by_runtime.get(runtime)
        if found is None:
            raise missing(runtime)
        family = next(family for family in FAMILIES if family.name == found.family)
        if family.fetch_sdk is not None:
            family.fetch_sdk(self.directories.root, found, progress)


def missing(runtime: str) -> RuntimeMissing:
    """The error for a runtime id whose interpreter is not there."""
    family = family_of(runtime)
    if family is None:
        return RuntimeMissing(runtime, f"an interpreter for {runtime}", "Lambent has no client for this language yet.")
    return RuntimeMissing(runtime, family.interpreter(runtime), family.hint(runtime))


def add(data_dir: Path, prefix: Path) -> list[RuntimeInstallation]:
    """Remembers a directory of `lambent runtimes add`: a self-contained installation with its `bin` below it.

    Returns what it brings. Raises RuntimeNotUsable when no interpreter is in it, OSError when it cannot be remembered.
    """
    prefix = prefix.resolve()
    if prefix.name == "bin":
        prefix = prefix.parent
    search = SearchPaths(path=(), system=(), prefixes=(prefix,), answers=AnswerCache(None))
    brought = [found for found in discover(search).values() if found.executable is not None]
    if not brought:
        raise RuntimeNotUsable(
            f"No interpreter that Lambent knows is in {prefix}. Give the directory that has `bin` in it "
            f"(for example the one that holds bin/python3.13 or bin/node)."
        )
    remember_prefix(data_dir, prefix)
    return brought
