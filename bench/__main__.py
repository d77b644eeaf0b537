"""`python -m bench [--quick] [--output DIR]`: measures Lambent beside its yardsticks and writes the figures down.

Writes benchmarks.json and benchmarks.md into the directory, and the table of figures in its promises.md. A quick run prints
the page instead, unless it is told where to write.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lambent
from bench import asynchronous, control_plane, polling, road, snapstart, streams
from bench.report import benchmarks_page, with_figures

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--quick", action="store_true", help="a minute; figures are rougher")
    options.add_argument("--output", type=Path, help="directory to write to; default docs, a quick run writes nothing")
    chosen = options.parse_args()
    print("Measuring: about a minute." if chosen.quick else "Measuring: some minutes. Let nothing else run.")
    figures = {
        "about": about(chosen.quick),
        **road.measure(chosen.quick),
        "snapstart": snapstart.measure(chosen.quick),
        "control": control_plane.measure(chosen.quick),
        "asynchronous": asynchronous.measure(chosen.quick),
        "polling": polling.measure(chosen.quick),
        "streams": streams.measure(chosen.quick),
    }
    output = chosen.output or (None if chosen.quick else DOCS)
    if output is None:
        print(benchmarks_page(figures))
    else:
        write(figures, output)


def write(figures: dict[str, Any], output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "benchmarks.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (output / "benchmarks.md").write_text(benchmarks_page(figures), encoding="utf-8")
    promises = output / "promises.md"
    if promises.is_file():
        promises.write_text(with_figures(promises.read_text(encoding="utf-8"), figures), encoding="utf-8")
    print(f"Written to {output}.")


def about(quick: bool) -> dict[str, Any]:
    """The machine and the versions, as far as figures depend on them."""
    return {
        "date": datetime.date.today().isoformat(),
        "quick": quick,
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "lambent": lambent.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("uvloop", "httptools", "msgspec")},
        "nginx": said("nginx", "-v"),
        "wrk": said("wrk", "-v"),
    }


def processor() -> str:
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()


def said(program: str, *arguments: str) -> str:
    """The version in what it says about itself; `wrk -v` ends with status 1."""
    if shutil.which(program) is None:
        return "not there"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(?:\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "unknown"


if __name__ == "__main__":
    main()
