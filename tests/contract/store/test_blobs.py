"""Packages by digest: stored once, unpacked once, layered, and collected when nobody needs them."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import lambent
from lambent.model.errors import AwsError
from lambent.store.blobs import FileBlobs

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(lambent.__file__).parents[1])}


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", "/")), content)
    return out.getvalue()


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    blobs = FileBlobs(tmp_path / "data")
    yield blobs
    await blobs.close()


async def test_a_blob_comes_back_by_its_digest_and_is_stored_once(blobs: FileBlobs, tmp_path: Path) -> None:
    data = zipped(app="1")
    digest = await blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert await blobs.put(data) == digest
    assert await blobs.get(digest) == data
    assert [p.name for p in (tmp_path / "data" / "blobs").rglob("*") if p.is_file()] == [f"{digest}.zip"]


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", "A" * 64])
async def test_an_unknown_digest_is_a_key_error(blobs: FileBlobs, digest: str) -> None:
    with pytest.raises(KeyError):
        await blobs.get(digest)
    with pytest.raises(KeyError):
        await blobs.unpacked(digest)


def test_of_thousands_of_packages_few_paths_are_kept(tmp_path: Path) -> None:
    def paths() -> int:
        return sum(isinstance(each, Path) for each in gc.get_objects())

    blobs, before = FileBlobs(tmp_path), paths()
    for number in range(2_000):
        blobs._code_path(f"{number:064x}")
    assert paths() - before < 600


async def test_concurrent_callers_share_one_unpacking_and_one_that_leaves_does_not_end_it(blobs: FileBlobs) -> None:
    digest = await blobs.put(zipped(**{f"f{n}": str(n) for n in range(300)}))
    tasks = [asyncio.ensure_future(blobs.unpacked(digest)) for _ in range(8)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert {p for p in found if isinstance(p, Path)} == {await blobs.unpacked(digest)}
    assert (await blobs.unpacked(digest) / "f7").read_text() == "7"
    assert await blobs.unpacked_bytes(digest) == sum(len(str(n)) for n in range(300))


async def test_a_bad_archive_is_refused_each_time_and_leaves_nothing_behind(blobs: FileBlobs, tmp_path: Path) -> None:
    digest = await blobs.put(b"no zip")
    for _ in range(2):
        with pytest.raises(AwsError, match="Could not unzip uploaded file"):
            await blobs.unpacked(digest)
    assert [p.name for p in (tmp_path / "data" / "code").iterdir()] == [".boot-id"]


async def test_later_layers_lie_over_earlier_ones(blobs: FileBlobs) -> None:
    first = await blobs.put(zipped(python__a="1", python__b="1", bin="a file"))
    second = await blobs.put(zipped(python__b="2", bin__tool="a directory"))
    merged = await blobs.merged_layers([first, second])
    assert merged is not None
    assert {p.relative_to(merged).as_posix(): p.read_text() for p in merged.rglob("*") if p.is_file()} == {
        "python/a": "1",
        "python/b": "2",
        "bin/tool": "a directory",
    }
    assert (await blobs.unpacked(first) / "python" / "b").read_text() == "1"
    assert all(stat.S_IMODE(p.stat().st_mode) in (0o444, 0o555) for p in merged.rglob("*"))
    assert await blobs.merged_layers([first, second]) == merged
    assert await blobs.merged_layers([second, first]) != merged
    assert await blobs.merged_layers([first]) == await blobs.unpacked(first)
    assert await blobs.merged_layers([]) is None


async def test_what_nobody_needs_is_collected_and_what_is_in_use_or_new_stays(blobs: FileBlobs) -> None:
    kept, used, gone = [await blobs.put(zipped(app=text)) for text in ("kept", "used", "gone")]
    directories = [await blobs.unpacked(d) for d in (kept, used, gone)]
    assert await blobs.collect({kept}) == []
    assert set(await blobs.collect({kept}, in_use={directories[1]}, grace_s=-5)) == {used, gone}
    assert [d.exists() for d in directories] == [True, True, False]
    assert await blobs.get(kept)
    with pytest.raises(KeyError):
        await blobs.get(gone)


async def test_asking_for_a_directory_keeps_it_from_being_collected_for_a_while(blobs: FileBlobs) -> None:
    digest = await blobs.put(zipped(app="1"))
    layer = await blobs.put(zipped(lib="1"))
    asks: list[Callable[[], Awaitable[Path | None]]] = [
        lambda: blobs.unpacked(digest),
        lambda: blobs.merged_layers([digest, layer]),
    ]
    for ask in asks:
        directory = await ask()
        assert directory is not None
        before_ns = directory.stat().st_ctime_ns
        async with asyncio.timeout(10):
            while directory.stat().st_ctime_ns == before_ns:  # the file system's clock ticks every few milliseconds
                assert await ask() == directory
                await asyncio.sleep(0.001)


async def test_unpacked_code_is_made_again_after_the_machine_has_been_restarted(
    blobs: FileBlobs, tmp_path: Path
) -> None:
    digest = await blobs.put(zipped(app="1"))
    directory = await blobs.unpacked(digest)
    (tmp_path / "data" / "code" / ".boot-id").write_text("another boot")
    again = FileBlobs(tmp_path / "data")
    assert not directory.exists()
    assert (await again.unpacked(digest) / "app").read_text() == "1"
    await again.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from lambent.store.blobs import FileBlobs

async def main():
    blobs = FileBlobs(Path(sys.argv[1]))
    async def some(first):
        for n in range(first, 10**9, 4):
            print(await blobs.put(str(n).encode() * 5000), n, flush=True)
    await asyncio.gather(*(some(n) for n in range(4)))

asyncio.run(main())
"""


def test_every_acknowledged_blob_is_whole_after_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        seen += [line for line in process.stdout if line.endswith("\n")]
    for line in seen:
        digest, n = line.split()
        assert (tmp_path / "blobs" / digest[:2] / f"{digest}.zip").read_bytes() == n.encode() * 5000
