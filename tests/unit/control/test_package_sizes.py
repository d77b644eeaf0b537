"""Code and layers share one limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_harness import Control, zipped
from lambent.control.packages import Packages
from lambent.model.errors import AwsError
from lambent.store.blobs import FileBlobs


class LargeBlobs(FileBlobs):
    """Says that everything unpacks to 100,000,000 bytes, which would take long to write for real."""

    async def unpacked_bytes(self, digest: str) -> int:
        return 100_000_000


async def test_code_and_layers_together_are_bounded(idle_control: Control, tmp_path: Path) -> None:
    blobs = LargeBlobs(tmp_path / "large")
    packages = Packages(idle_control.catalog, blobs, idle_control.clock, None)
    layers = [await blobs.put(zipped(lib=text)) for text in ("1", "2")]
    await packages.check_total(62_144_000, layers)
    await packages.check_total(999_999_999, [])  # code alone has been checked where it was unpacked
    with pytest.raises(AwsError) as raised:
        await packages.check_total(100_000_000, layers)
    assert raised.value.message == (
        "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. "
        "The actual size is 300000000 bytes."
    )
    await blobs.close()
