"""The machine and the versions, as far as figures depend on them."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lambent
from lambent.bench.load import generator
from lambent.bench.yardsticks import nginx_program


def about(quick: bool) -> dict[str, Any]:
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
        "node": said("node", "--version"),
        "java": said("java", "-version"),
        "nginx": said(nginx_program() or "nginx", "-v"),
        "wrk": said("wrk", "-v"),
        "load_generator": generator(),
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
