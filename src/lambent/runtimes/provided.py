"""OS-only runtimes: the function, or a layer, brings an executable `bootstrap` that speaks the Runtime API itself."""

from __future__ import annotations

from typing import Final

from lambent.model.cage import RuntimeInstallation, StartMethod
from lambent.runtimes.family import Family
from lambent.runtimes.search import SearchPaths, base_variables

# `provided` and `go1.x` are not among them: AWS runs neither any more.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
RUNTIMES: Final = ("provided.al2023", "provided.al2")


def find(_search: SearchPaths) -> list[RuntimeInstallation]:
    """Always there. An empty `argv` tells the sandbox to try the places where a bootstrap may be."""
    return [
        RuntimeInstallation(
            runtime=runtime,
            family="provided",
            version=runtime.removeprefix("provided."),
            start=StartMethod.EXEC,
            executable=None,
            argv=(),
            host_mounts=(),
            runtime_dir=None,
            environment=base_variables(),
        )
        for runtime in RUNTIMES
    ]


FAMILY: Final = Family(
    name="provided",
    prefixes=("provided",),
    interpreter=lambda runtime: f"the operating system of {runtime}",
    hint=lambda runtime: f"Use {' or '.join(RUNTIMES)}, whose program is the function's own `bootstrap`.",
    find=find,
    fill=None,
)
