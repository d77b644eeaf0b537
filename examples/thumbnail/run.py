"""Deploys the thumbnail function to a running Lambent, sends it a photograph, and writes what it answers.

Uses the `lambent` command as anybody would. Everything it makes is kept in .lambent/examples, so a second run is quick.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from shared.pillow import LAMBENT, ROOT, WORK, newest_python, pillow_layer  # noqa: E402


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
