"""What the guest compiles is what its interpreter takes for an import, on each Python of this machine."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from guests import installed, write
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import python
from lambent.runtimes.family import GUESTS
from lambent.store.bytecode import write_bytecode

ALL_PAGES = """
import json, lambent_bytecode
pages = [lambent_bytecode.handler({}, None)]
while pages[-1]["more"]:
    pages.append(lambent_bytecode.handler({}, None))
print(json.dumps(pages))
"""
IMPORT_COMPILED = """
import importlib.machinery, sys
sys.path.insert(0, sys.argv[1])
def compiles(*_, **__):
    raise AssertionError("it was compiled")
importlib.machinery.SourceFileLoader.source_to_code = compiles
import app, pack.mod
print(app.handler.__code__.co_filename, pack.mod.VALUE)
"""


def pages_of(installation: RuntimeInstallation, directory: Path) -> list[dict[str, bytes]]:
    done = subprocess.run(
        [str(installation.executable), "-S", "-c", ALL_PAGES], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(GUESTS / "python"), "LAMBDA_TASK_ROOT": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return [
        {path: base64.b64decode(text) for path, text in page["modules"].items()} for page in json.loads(done.stdout)
    ]


@pytest.mark.parametrize("installation", installed(python.find), ids=lambda found: found.runtime)
def test_an_import_takes_it_and_it_is_not_made_twice(installation: RuntimeInstallation, tmp_path: Path) -> None:
    package = write(tmp_path, {
        "app.py": "def handler(event, context): pass", "pack/__init__.py": "", "pack/mod.py": "VALUE = 42",
        "pack/tests/test_mod.py": "VALUE = 43", "broken.py": "this is no Python", "nul.py": "a = '\0'", "data.txt": "x",
        "deep.py": "(" * 5_000 + ")" * 5_000,
    })  # fmt: skip
    (package / "binary.py").write_bytes(b"\xff\xfe\x00")
    (package / "link.py").symlink_to("app.py")
    (package / os.fsdecode(b"caf\xe9.py")).write_text("1")
    assert installation.compiler is not None

    (page,) = pages_of(installation, package)
    assert sorted(page) == ["app.py", "pack/__init__.py", "pack/mod.py"]
    assert write_bytecode(package, installation.compiler.tag, page) == 3

    command = [str(installation.executable), "-I", "-S", "-B", "-c", IMPORT_COMPILED, str(package)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(package / "app.py"), "42"]
    assert pages_of(installation, package) == [{}]

    (package / "app.py").write_text("def handler(event, context): return 1")
    os.utime(package / "app.py", (1, 1))
    assert [sorted(page) for page in pages_of(installation, package)] == [["app.py"]]


def test_much_comes_in_pages_and_nothing_in_them_is_run(tmp_path: Path) -> None:
    installation = installed(python.find)[0]
    text = "\n".join(f"def f{number}(a, b): return [a, b, {number}]" for number in range(5_000))
    package = write(tmp_path, {f"m{number}.py": text for number in range(6)} | {"bad.py": "open('/proc/self/no', 'w')"})
    pages = pages_of(installation, package)
    assert len(pages) > 1
    assert sorted(path for page in pages for path in page) == ["bad.py", *(f"m{number}.py" for number in range(6))]
