"""Deployment packages that would damage the server; AWS's one answer to each."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import ROLE, RUNNING_PYTHON, LiveServer, package

MIB = 1024 * 1024
GIB = 1024 * MIB
UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."
TOO_LARGE = "Unzipped size must be smaller than 262144000 bytes"
GROWTH_MAX_MIB = 200  # twice the largest package here, and room for what a request needs


def archive(name: str, content: bytes, mode: int = stat.S_IFREG | 0o644) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        opened.writestr(info, content)
    return out.getvalue()


def deflated_zeros(size: int) -> bytes:
    """A raw deflate stream of so many zeros (in steps of 1 MiB), made without compressing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size // MIB) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def header(name: bytes, packed: bytes, claimed: int, checksum: int) -> bytes:
    """What a local header and an entry of the directory have in common."""
    return struct.pack("<HHHHHLLLHH", 20, 0, zipfile.ZIP_DEFLATED, 0, 0, checksum, len(packed), claimed, len(name), 0)


def directory(entries: list[tuple[bytes, bytes, int]]) -> bytes:
    """(name, header, offset) of each."""
    listed = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHLL", 0, 0, 0, 0, offset) + name
        for name, fields, offset in entries
    )
    begins = entries[-1][2]  # the last one's header, name and compressed bytes come right before
    begins += 30 + len(entries[-1][0]) + struct.unpack_from("<L", entries[-1][1], 14)[0]
    return listed + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, len(entries), len(entries), len(listed), begins, 0)


def bomb(claimed: int, packed: bytes) -> bytes:
    """An archive of one file."""
    fields = header(b"zeros", packed, claimed, 0)
    return b"PK\x03\x04" + fields + b"zeros" + packed + directory([(b"zeros", fields, 0)])


def nested_bomb(size: int, files: int) -> bytes:
    """Files that share the same compressed bytes: each one's content begins with the next one's header, quoted.

    https://www.bamsoftware.com/hacks/zipbomb/
    """
    packed, content, entries = deflated_zeros(size), bytes(size), []
    for number in reversed(range(files)):
        name = b"%05d" % number
        fields = header(name, packed, len(content), zlib.crc32(content))
        local = b"PK\x03\x04" + fields + name
        entries.append((name, fields, packed))
        quoted = struct.pack("<BHH", 0, len(local), len(local) ^ 0xFFFF) + local  # a stored block that is not the last
        packed, content = quoted + packed, local + content
    archive = packed[5:]  # nobody quotes the first header
    at = [(name, fields, len(archive) - len(rest) - 30 - len(name)) for name, fields, rest in reversed(entries)]
    return archive + directory(at)


def refusal(live: LiveServer, code: bytes) -> tuple[int, str, str]:
    def refused(call: Any, **members: Any) -> tuple[int, str, str]:
        with pytest.raises(ClientError) as raised:
            call(**members)
        answer = raised.value.response
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]

    created = refused(
        live.client().create_function, FunctionName="never-made", Runtime=RUNNING_PYTHON, Handler="app.handler",
        Role=ROLE, Code={"ZipFile": code},
    )  # fmt: skip
    with pytest.raises(ClientError, match="Function not found"):
        live.client().get_function(FunctionName="never-made")
    assert refused(live.client().publish_layer_version, LayerName="never-made", Content={"ZipFile": code}) == created
    return created


def remains(live: LiveServer) -> set[str]:
    return {entry.name for entry in os.scandir(live.data / "code") if entry.is_dir()}


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(package({"app.py": "x = 1\n" * 1000})[:-40], id="cut off"),
        pytest.param(b"PK\x03\x04" + bytes(500), id="only its first bytes are a zip's"),
        pytest.param(archive("a.py", b"hello").replace(b"hello", b"hullo"), id="checksum"),
        pytest.param(archive("../../../../tmp/lambent-slipped", b"x"), id="zip slip"),
        pytest.param(archive("/tmp/lambent-slipped", b"x"), id="absolute path"),
        pytest.param(archive("out", b"/etc", stat.S_IFLNK | 0o777), id="absolute link"),
        pytest.param(archive("a/out", b"../../..", stat.S_IFLNK | 0o777), id="link out"),
    ],
)
def test_packages_that_cannot_be_unpacked_safely_are_refused(live: LiveServer, code: bytes) -> None:
    before = remains(live)
    assert refusal(live, code) == (400, "InvalidParameterValueException", UNREADABLE)
    assert not Path("/tmp/lambent-slipped").exists()
    assert remains(live) == before


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(bomb(0xFFFFFFFE, deflated_zeros(10 * GIB)), id="10 GiB in 10 MB"),
        pytest.param(bomb(1, deflated_zeros(10 * GIB)), id="10 GiB that claim to be a byte"),
        pytest.param(bomb(0xFFFFFFFE, deflated_zeros(GIB)), id="1 GiB in 1 MB"),
        pytest.param(nested_bomb(20 * MIB, 15), id="300 MiB in 20 KB of files that overlap"),
    ],
)
def test_a_bomb_is_refused_before_it_fills_anything(live: LiveServer, code: bytes) -> None:
    before, resident_mib = remains(live), live.resident_mib()
    status, error, message = refusal(live, code)
    assert (status, error) == (400, "InvalidParameterValueException")
    assert message in (TOO_LARGE, UNREADABLE)  # AWS's answer to sizes that contradict each other is not documented
    assert remains(live) == before
    assert live.resident_mib() - resident_mib < GROWTH_MAX_MIB
