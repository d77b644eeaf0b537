"""Libraries that functions bring along are found by LD_LIBRARY_PATH, although interpreters start before the function's code is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from live_server import LiveServer, package

LOAD = """
    import ctypes
    def handler(event, context):
        return ctypes.CDLL("libown.so").own()
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
def test_python_finds_a_library_in_the_packages_lib(live: LiveServer, tmp_path: Path) -> None:
    if live.level == "process":
        pytest.skip("level process has the host's directories")
    library = tmp_path / "libown.so"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input="int own(void) { return 42; }", text=True, check=True)
    name = live.create(package({"app.py": LOAD, "lib/libown.so": library.read_bytes()}))
    assert live.invoke(name).value == 42
