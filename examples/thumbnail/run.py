"""Deploys the thumbnail function to a running Lambent, sends it a photograph, and writes what it answers.

Uses the `lambent` command as anybody would. Everything it makes is kept in .lambent/examples, so a second run is quick.
"""

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / ".lambent" / "examples"
LAMBENT = Path(sys.executable).parent / "lambent"
PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")  # those that the locked Pillow has wheels for


def main() -> None:
    os.environ.setdefault("LAMBENT_ENDPOINT", f"http://127.0.0.1:{os.environ.get('LAMBENT_PORT', '4566')}")
    WORK.mkdir(parents=True, exist_ok=True)
    runtime = newest_python()
    layer = pillow_layer(runtime)
    lambent("deploy", HERE / "function", "--name", "thumbnail", "--handler", "thumbnail.handler", "--runtime", runtime,
            "--layer", layer, "--memory", "512", "--timeout", "30")  # fmt: skip
    event = WORK / "event.json"
    photograph = (HERE / "rocket.jpg").read_bytes()
    event.write_text(json.dumps({"image": base64.b64encode(photograph).decode(), "width": 200, "height": 200}))
    answer = json.loads(lambent("invoke", "thumbnail", "--payload", f"@{event}", quiet=True))
    picture = ROOT / ".lambent" / "thumbnail.jpg"
    picture.write_bytes(base64.b64decode(answer["image"]))
    print(
        f"The function made a thumbnail of examples/thumbnail/rocket.jpg ({len(photograph):,} bytes): "
        f"{answer['width']} × {answer['height']} pixels, {picture.stat().st_size:,} bytes, in {picture}\n"
        f"Next: .venv/bin/lambent logs thumbnail    Stop the server: make down"
    )


def newest_python() -> str:
    """The newest Python runtime that the machine has and Pillow was locked for."""
    there = {
        row["runtime"] for row in json.loads(lambent("runtimes", "--data", ROOT / ".lambent", "--json", quiet=True))
    }
    for runtime in PYTHONS:
        if runtime in there:
            return runtime
    raise SystemExit(f"The thumbnail example needs one of {', '.join(PYTHONS)}; `lambent doctor` says how to add one.")


def pillow_layer(runtime: str) -> Path:
    """A folder with Pillow for the runtime's Python, below `python/` where Lambda looks. Built once."""
    requirements = HERE / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    layer = WORK / f"pillow-{runtime.replace('.', '-')}-{digest}"
    if layer.is_dir():
        return layer
    print(f"Getting Pillow for {runtime}")
    building = layer.with_suffix(".new")
    shutil.rmtree(building, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "-r", requirements]
    wheels = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", runtime.removeprefix("python")]
    for glibc in ("2_28", "2_27", "2_17"):
        wheels += ["--platform", f"manylinux_{glibc}_{platform.machine()}"]
    subprocess.run([*pip, *wheels, "--target", building / "python"], check=True)
    building.rename(layer)
    return layer


def lambent(*arguments: object, quiet: bool = False) -> str:
    """Runs the command; its error output is the user's to see."""
    done = subprocess.run([LAMBENT, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    if not quiet:
        print(done.stdout, end="")
    return done.stdout


if __name__ == "__main__":
    main()
