"""Deployment packages by digest, and what is in them, as files under the data directory.

blobs/ab/<digest>.zip     the package as it was uploaded: written beside, synced, renamed; the truth
code/<digest>/            unpacked, read-only for everybody: can be made again at any time; bytecode comes later
code/<digest>.json        how large that is
layers/<digest>/          several layers, one over the other, as hard links into code/
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from lambent.store.archive import DIRECTORY_MODE, unpack
from lambent.store.bytecode import write_bytecode

T = TypeVar("T")

THREADS: Final = 4
PATHS_REMEMBERED: Final = 512  # of code: every cold start asks for its own
GRACE_S: Final = 3_600.0  # an upload is younger than that when nothing refers to it yet
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Content(msgspec.Struct):
    """code/<digest>.json"""

    size_bytes: int
    entries: int


def _checked(digest: str) -> str:
    """It becomes a file's name. Raises KeyError."""
    if not _DIGEST.fullmatch(digest):
        raise KeyError(digest)
    return digest


class FileBlobs:
    """Implements ports.Blobs under one directory."""

    def __init__(self, data: Path) -> None:
        self._blobs = data / "blobs"
        self._code = data / "code"
        self._layers = data / "layers"
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="lambent-blobs")
        self._code_path = functools.lru_cache(PATHS_REMEMBERED)(self._new_code_path)
        self._under_way: dict[Path, asyncio.Task[Path]] = {}  # one unpacking of each, however many ask
        self._files = threading.Lock()  # what is put or asked for again is not collected meanwhile
        self._filling: set[Path] = set()  # with bytecode; not collected either
        for folder in (self._blobs, self._code, self._layers):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711 if folder != self._blobs else 0o700)  # uids of cages reach what they are shown, no list
        self._forget_what_a_power_cut_may_have_spoilt()

    async def close(self) -> None:
        """Waits for what is under way."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    async def put(self, data: bytes) -> str:
        """See ports.Blobs."""
        return await self._run(self._put, data)

    async def get(self, digest: str) -> bytes:
        """See ports.Blobs."""
        path = self._blob_path(digest)
        try:
            return await self._run(path.read_bytes)
        except FileNotFoundError:
            raise KeyError(digest) from None

    async def unpacked(self, digest: str) -> Path:
        """See ports.Blobs."""
        directory = self._code_path(digest)
        if self._is_kept(directory):
            return directory
        return await self._once(directory, functools.partial(self._unpack, digest))

    async def unpacked_bytes(self, digest: str) -> int:
        """See ports.Blobs."""
        directory = await self.unpacked(digest)
        content = await self._run(directory.with_suffix(".json").read_bytes)
        return msgspec.json.decode(content, type=_Content).size_bytes

    async def merged_layers(self, digests: Sequence[str]) -> Path | None:
        """See ports.Blobs."""
        if not digests:
            return None
        sources = [await self.unpacked(digest) for digest in digests]
        if len(sources) == 1:
            return sources[0]
        directory = self._layers / hashlib.sha256(",".join(digests).encode()).hexdigest()
        if self._is_kept(directory):
            return directory
        return await self._once(directory, functools.partial(_merge, sources, directory))

    async def add_bytecode(self, directory: Path, tag: str, modules: Mapping[str, bytes]) -> int:
        """Puts compiled modules beside their sources in an unpacked directory, by the sources' paths; says how many.

        Names and contents may be hostile. Raises OSError, also when the directory is gone.
        """
        return await self._run(self._add_bytecode, directory, tag, modules)

    async def collect(
        self, referenced: Set[str], in_use: Set[Path] = frozenset(), grace_s: float = GRACE_S
    ) -> list[str]:
        """Removes packages that nothing refers to, and unpacked directories that nobody needs; returns the digests.

        `referenced` is what the catalog still names, `in_use` the directories that live environments show. Whatever
        was uploaded, unpacked or asked for less than `grace_s` seconds ago stays.
        """
        return await self._run(self._collect, referenced, in_use, time.time() - grace_s)

    # --- on threads ------------------------------------------------------------------------------------------------

    def _put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._blob_path(digest)
        with self._files:
            if path.exists():
                os.utime(path)
                return digest
        path.parent.mkdir(exist_ok=True)
        _sync(self._blobs)
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        _sync(path.parent)
        return digest

    def _unpack(self, digest: str) -> Path:
        archive, directory = self._blob_path(digest), self._code_path(digest)
        if not archive.exists():
            raise KeyError(digest)
        temporary = Path(tempfile.mkdtemp(dir=self._code, prefix=".part-"))
        try:
            content = unpack(archive, temporary)
            described = _Content(size_bytes=content.size_bytes, entries=content.entries)
            directory.with_suffix(".json").write_bytes(msgspec.json.encode(described))
            os.rename(temporary, directory)
        except BaseException:
            remove_tree(temporary)
            raise
        return directory

    def _add_bytecode(self, directory: Path, tag: str, modules: Mapping[str, bytes]) -> int:
        with self._files:
            self._filling.add(directory)
        try:
            return write_bytecode(directory, tag, modules)
        finally:
            with self._files:
                self._filling.discard(directory)

    def _collect(self, referenced: Set[str], in_use: Set[Path], before_s: float) -> list[str]:
        removed = []
        for path in self._blobs.glob("*/*.zip"):
            with self._files:
                if path.stem not in referenced and path.stat().st_mtime < before_s:
                    path.unlink()
                    removed.append(path.stem)
        for directory in [*self._code.iterdir(), *self._layers.iterdir()]:
            is_needed = directory.parent == self._code and directory.name in referenced
            if directory in in_use or is_needed or directory.name.startswith(".") or not directory.is_dir():
                continue
            # Out of the way first: half a directory must never look like a whole one, whenever this is killed.
            going = directory.with_name(f".part-{directory.name}")
            with self._files:
                is_old = directory.stat().st_ctime < before_s and directory not in self._filling
                if is_old:
                    directory.with_suffix(".json").unlink(missing_ok=True)
                    os.rename(directory, going)
            if is_old:
                remove_tree(going)
        return removed

    def _is_kept(self, directory: Path) -> bool:
        """Whether it is there; then it stays for whoever asks, until an environment shows it."""
        with self._files:
            try:
                os.utime(directory)
            except OSError:  # gone; or another user's, which is there but cannot be collected either
                return directory.is_dir()
        return True

    def _forget_what_a_power_cut_may_have_spoilt(self) -> None:
        """What is unpacked is not synced. After a restart of the machine it may be incomplete, so it is made again.

        Remains of an unpacking that was killed go at every start.
        """
        note = self._code / ".boot-id"
        boot_id = _BOOT_ID.read_text() if _BOOT_ID.exists() else ""
        same_boot = note.exists() and note.read_text() == boot_id
        for directory in [*self._code.iterdir(), *self._layers.iterdir()]:
            if directory.is_dir() and (not same_boot or directory.name.startswith(".part-")):
                remove_tree(directory)
        note.write_text(boot_id)

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _blob_path(self, digest: str) -> Path:
        return self._blobs / digest[:2] / f"{_checked(digest)}.zip"

    def _new_code_path(self, digest: str) -> Path:
        return self._code / _checked(digest)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(work, *arguments))

    async def _once(self, directory: Path, work: Callable[[], Path]) -> Path:
        """Several callers share one run, and none of them ends it by going away."""
        task = self._under_way.get(directory)
        if task is None:
            task = asyncio.ensure_future(self._run(work))
            self._under_way[directory] = task
            task.add_done_callback(lambda done: self._done(directory, done))
        return await asyncio.shield(task)

    def _done(self, directory: Path, task: asyncio.Task[Path]) -> None:
        self._under_way.pop(directory, None)
        if not task.cancelled():
            task.exception()  # taken: whoever waited has it


def _merge(sources: Sequence[Path], directory: Path) -> Path:
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=".part-"))
    try:
        for source in sources:
            _lay_over(source, temporary)
        for path, _, _ in os.walk(temporary, topdown=False):
            os.chmod(path, DIRECTORY_MODE)
        os.rename(temporary, directory)
    except BaseException:
        remove_tree(temporary)
        raise
    return directory


def _lay_over(source: Path, target: Path) -> None:
    """Directories are joined; anything else of `source` replaces what `target` has by that name."""
    with os.scandir(source) as entries:
        for entry in entries:
            there = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                if not there.is_dir() or there.is_symlink():
                    _remove(there)
                    there.mkdir(mode=0o755)
                _lay_over(Path(entry.path), there)
            else:
                _remove(there)
                _link(Path(entry.path), there)


def _link(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    try:
        os.link(source, target)
    except OSError:  # too many links to one file, or a file system without them
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Removes a tree whose directories are read-only, by whoever owns it."""
    for folder, names, _ in os.walk(path, topdown=True):
        os.chmod(folder, stat.S_IRWXU)
        names[:] = [n for n in names if not os.path.islink(os.path.join(folder, n))]
    shutil.rmtree(path)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
