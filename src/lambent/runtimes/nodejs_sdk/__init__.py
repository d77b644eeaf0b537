"""The AWS SDK for JavaScript v3, which Node.js functions find without packaging it.

npm installs it once, from the exact versions and digests in `package-lock.json`, into `<data>/runtimes/nodejs-sdk/<digest>/`;
after that nothing is fetched. npm's own cache serves as well as its registry.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lambent.runtimes.errors import RuntimeNotUsable
from lambent.runtimes.half_built import half_built

HERE: Final = Path(__file__).parent
MANIFESTS: Final = ("package.json", "package-lock.json")
BUILD_TIMEOUT_S: Final = 900.0
DIGEST_LENGTH: Final = 16  # hex digits in the directory's name
NOT_FOR_RUNNING: Final = (".d.ts", ".d.cts", ".d.mts", ".map", ".md")  # half of the files; Node.js reads none of them

Progress = Callable[[str], None]


@functools.cache
def digest() -> str:
    """Names the pinned set of packages."""
    content = b"\0".join((HERE / name).read_bytes() for name in MANIFESTS)
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def built_in(runtimes_dir: Path) -> Path | None:
    """The directory of the SDK that belongs to this Lambent, if it has been built there (`<data>/runtimes`)."""
    directory = runtimes_dir / "nodejs-sdk" / digest()
    return directory if (directory / "node_modules").is_dir() else None


def build_node_sdk(runtimes_dir: Path, progress: Progress) -> Path:
    """Installs the SDK unless it is there; tells `progress` what it is doing. Takes 10 s to minutes, and 150 MB.

    Returns its directory below `runtimes_dir` (`<data>/runtimes`). Raises RuntimeNotUsable with what npm said.
    """
    built = built_in(runtimes_dir)
    if built is not None:
        progress("The AWS SDK for JavaScript is there.")
        return built
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeNotUsable("The AWS SDK for JavaScript is installed by npm, which is not on PATH. Install Node.js.")
    wanted = runtimes_dir / "nodejs-sdk" / digest()
    try:
        with half_built(wanted.parent) as building:
            progress("Installing the AWS SDK for JavaScript with npm.")
            _install(npm, building)
            progress("Leaving out what only compilers read.")
            _thin_out(building)
            building.chmod(0o755)
            building.rename(wanted)
    except OSError as error:
        if built_in(runtimes_dir) is None:  # another process was not first either
            raise RuntimeNotUsable(f"The AWS SDK for JavaScript could not be put into {wanted}: {error}.") from error
    progress("The AWS SDK for JavaScript is ready.")
    return wanted


def link_into(built: Path, target: Path) -> None:
    """Shows the SDK's packages at `target` by hard links; copies where the file system has none. Raises OSError."""
    shutil.copytree(built / "node_modules", target, copy_function=_link, symlinks=True)


def _install(npm: str, directory: Path) -> None:
    for name in MANIFESTS:
        shutil.copyfile(HERE / name, directory / name)
    command = [npm, "ci", "--prefer-offline", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeNotUsable(
            f"npm did not finish installing the AWS SDK for JavaScript within {BUILD_TIMEOUT_S:.0f} s. "
            f"See that its registry can be reached, and try again."
        ) from error
    if done.returncode != 0:
        said = " ".join(done.stdout.strip().splitlines()[-5:])
        raise RuntimeNotUsable(f"npm could not install the AWS SDK for JavaScript: {said}")


def _thin_out(directory: Path) -> None:
    for parent, _, names in os.walk(directory):
        for name in names:
            if name.endswith(NOT_FOR_RUNNING):
                (Path(parent) / name).unlink()


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
