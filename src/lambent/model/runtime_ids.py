"""Runtime identifiers: which a function may be created with, and changed to.

MODEL = botocore's newest `lambda` service model, shape Runtime;
TABLE = https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html, "Supported runtimes" and "Deprecated runtimes",
columns "Block function create" and "Block function update", as they stood in November 2026: for every runtime that was
deprecated since 2024 AWS has put both dates off to 2027-02-01 and 2027-03-03.
"""

from __future__ import annotations

import re
from typing import Final

SUPPORTED: Final = (
    "nodejs16.x", "nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x",
    "python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "python3.15",
    "java8.al2", "java8.al2023", "java11", "java11.al2023", "java17", "java17.al2023", "java21", "java25",
    "dotnet6", "dotnet8", "dotnet10", "ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0",
    "provided.al2", "provided.al2023", "custom",
)  # fmt: skip

# TABLE: creating is blocked, updating is not until 2027-03-03.
NOT_CREATED: Final = frozenset((
    "nodejs14.x", "python3.7", "java8", "go1.x", "ruby2.7", "provided",
))  # fmt: skip

# TABLE: creating and updating are blocked. MODEL still lists them, for functions that exist already.
DEPRECATED: Final = frozenset((
    "nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x",
    "python2.7", "python3.6", "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "ruby2.5",
))  # fmt: skip

# What AWS recommends instead of a runtime that it refuses, as it was recorded; of others it says "a supported runtime".
SUCCESSORS: Final = {
    "dotnetcore3.1": "dotnet6", "go1.x": "provided.al2023", "java8": "java21", "nodejs12.x": "nodejs18.x",
    "nodejs14.x": "nodejs20.x", "provided": "provided.al2023", "python3.7": "python3.12", "ruby2.7": "ruby3.2",
}  # fmt: skip

# https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html, "Supported features and limitations": Java 11 and later,
# Python 3.12 and later, .NET 8 and later; no OS-only runtime and no container image.
_SNAP_START: Final = re.compile(r"java(1[1-9]|[2-9]\d)(\.al2023)?|python3\.(1[2-9]|[2-9]\d)|dotnet([89]|[1-9]\d)")


def supports_snap_start(runtime: str) -> bool:
    return _SNAP_START.fullmatch(runtime) is not None
