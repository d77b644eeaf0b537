"""What `lambent runtimes build` makes ahead of time: everything that a first invocation would otherwise wait for or miss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lambent.runtimes import java, nodejs, nodejs_sdk
from lambent.runtimes.errors import RuntimeNotUsable
from lambent.runtimes.search import standard_paths


def build(data_dir: Path, progress: Callable[[str], None]) -> list[RuntimeNotUsable]:
    """Compiles the Java client and installs the AWS SDK for JavaScript, where there is a Java and a Node.js.

    Takes seconds to minutes and tells `progress` what it does. Returns what could not be made; the rest is there.
    """
    search = standard_paths(data_dir)
    failures: list[RuntimeNotUsable] = []
    try:
        java.build_java_client(data_dir, search, progress)
    except RuntimeNotUsable as error:
        failures.append(error)
    if any(nodejs.sdk_fits(installation) for installation in nodejs.find(search)):
        try:
            nodejs_sdk.build_node_sdk(data_dir, progress)
        except RuntimeNotUsable as error:
            failures.append(error)
    search.answers.save()
    return failures
