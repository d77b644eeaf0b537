"""Pillow in a folder that can be a layer, for the newest Python that this machine has and Pillow was locked for."""

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".lambent" / "examples"
REQUIREMENTS = ROOT / "examples" / "thumbnail" / "requirements.txt"
LAMBENT = Path(sys.executable).parent / "lambent"
PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")  # those that the locked Pillow has wheels for


def newest_python():
    """The newest Python runtime that the machine has and Pillow was locked for."""
    words = [LAMBENT, "runtimes", "--data", ROOT / ".lambent", "--json"]
    answer = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    there = {row["runtime"] for row in json.loads(answer)}
    for runtime in PYTHONS:
        if runtime in there:
            return runtime
    raise SystemExit(f"This example needs one of {', '.join(PYTHONS)}; `lambent doctor` says how to add one.")


def pillow_layer(runtime):
    """A folder with Pillow for the runtime's Python, below `python/` where Lambda looks. Built once."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    layer = WORK / f"pillow-{runtime.replace('.', '-')}-{digest}"
    if layer.is_dir():
        return layer
    print(f"Getting Pillow for {runtime}")
    building = layer.with_suffix(".new")
    shutil.rmtree(building, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "-r", REQUIREMENTS]
    wheels = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", runtime.removeprefix("python")]
    for glibc in ("2_28", "2_27", "2_17"):
        wheels += ["--platform", f"manylinux_{glibc}_{platform.machine()}"]
    subprocess.run([*pip, *wheels, "--target", building / "python"], check=True)
    building.rename(layer)
    return layer


if __name__ == "__main__":
    pillow_layer(newest_python())
