"""Functions whose published versions are to be restored from images."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from live_server import LiveServer, until

OLDEST_MINOR = 12  # AWS has SnapStart for Python 3.12 and later


def runtime(live: LiveServer) -> str:
    """A Python on this machine that may have SnapStart."""
    with urllib.request.urlopen(f"{live.url}/_lambent/health") as answer:
        found = [name for name in json.load(answer)["runtimes"] if name.startswith("python3.")]
    usable = [name for name in found if int(name.removeprefix("python3.")) >= OLDEST_MINOR]
    assert usable, f"SnapStart needs Python 3.{OLDEST_MINOR} or later, and this machine has only {found}"
    return str(min(usable, key=lambda name: int(name.removeprefix("python3."))))


def create(live: LiveServer, code: str, **members: Any) -> str:
    """A function that is ready; nothing of it is published."""
    return live.create(
        code, **{"Runtime": runtime(live), "SnapStart": {"ApplyOn": "PublishedVersions"}, "Timeout": 30, **members}
    )


def publish(live: LiveServer, name: str) -> dict[str, Any]:
    """The configuration of version 1 once it is no longer pending."""
    published = live.client().publish_version(FunctionName=name)
    assert (published["Version"], published["State"], published["StateReasonCode"]) == ("1", "Pending", "Creating")
    return settled(live, name)


def settled(live: LiveServer, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = live.client().get_function_configuration(FunctionName=name, Qualifier="1")
        return None if found["State"] == "Pending" else found

    return until(look, timeout_s=30.0)


def status_of(configuration: dict[str, Any]) -> tuple[str, str]:
    """State, and whether SnapStart is on."""
    return configuration["State"], configuration["SnapStart"]["OptimizationStatus"]
