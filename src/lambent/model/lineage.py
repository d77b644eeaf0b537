"""How often a chain of invocations has come by a function: the `Lineage` in X-Amzn-Trace-Id.

`Root=1-…;Sampled=0;Lineage=3:a87bd80c:1|68fd508a:0`: how many invocations the chain has, then for each function a hash
of its ARN and how often it ran again. AWS's SDKs inside functions pass the header on.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
from typing import Final
from urllib.parse import unquote

from lambent.model.function import FunctionSettings

FAMILY: Final = "recursion"  # member of `FunctionSettings.extra`: {"RecursiveLoop": "Allow"}
ALLOW: Final = "Allow"
TERMINATE: Final = "Terminate"  # GetFunctionRecursionConfig: the default
HEADER_MAX_CHARACTERS: Final = 2_048  # ours: of a request's header; longer ones are not passed on with messages
INVOCATIONS_MAX: Final = 16  # of one function in one chain: the documents say "approximately 16 times"
FUNCTIONS_MAX: Final = 32  # ours: of so many a header remembers; the oldest are forgotten

_ENTRY: Final = re.compile(r"([0-9a-f]{8}):(\d{1,9})")
_HOPS: Final = re.compile(r"(\d{1,9}):(?=[0-9a-f]{8}:)")


def new_trace(now_s: float) -> str:
    """The header of a chain that begins now: not sampled."""
    return f"Root=1-{int(now_s):08x}-{random.getrandbits(96):024x};Parent={random.getrandbits(64):016x};Sampled=0"


def readable(trace_header: str | None) -> str | None:
    """A request's header as it was meant: AWS's SDKs for Python write `%7C` for `|` in it."""
    return None if trace_header is None else unquote(trace_header)


def of_message(trace_header: str | None) -> str | None:
    """What a message keeps of the header of the request that sent it; None for what belongs to no trace."""
    if trace_header is None or not trace_header.startswith("Root=") or len(trace_header) > HEADER_MAX_CHARACTERS:
        return None
    return trace_header if trace_header.isascii() and trace_header.isprintable() else None


def recursive_loop_of(settings: FunctionSettings) -> str:
    """`Allow` or `Terminate`: what happens to an event that has come back to the function too often."""
    chosen: str = (settings.extra.get(FAMILY) or {}).get("RecursiveLoop", TERMINATE)
    return chosen


def is_stopped(trace_header: str | None, function_arn: str, settings: FunctionSettings | None) -> bool:
    """Whether the function has run so often in the header's chain that it does not run again."""
    if invocations(trace_header, function_arn) < INVOCATIONS_MAX:
        return False
    return settings is None or recursive_loop_of(settings) != ALLOW


def invocations(trace_header: str | None, function_arn: str) -> int:
    """How often this function has run in the chain that the header belongs to."""
    if trace_header is None or "Lineage=" not in trace_header:
        return 0
    return _read(trace_header)[1].get(_hash(function_arn), -1) + 1


def advanced(trace_header: str | None, function_arn: str) -> str:
    """The header for one more invocation of the function."""
    parts = [part.strip() for part in (trace_header or "").split(";") if part.strip()]
    kept = [part for part in parts if not part.startswith("Lineage=")]
    hops, entries = _read(trace_header)
    key = _hash(function_arn)
    count = entries.pop(key, -1) + 1
    remembered = [*list(entries.items())[-(FUNCTIONS_MAX - 1) :], (key, count)]
    return ";".join([*kept, f"Lineage={hops + 1}:" + "|".join(f"{name}:{times}" for name, times in remembered)])


def _read(trace_header: str | None) -> tuple[int, dict[str, int]]:
    """The invocations of the chain (0 where the header does not count them), and each function's repetitions."""
    for part in (trace_header or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "Lineage":
            value = unquote(value)
            hops = _HOPS.match(value)
            entries = re.split(r"[|,]", value if hops is None else value[hops.end() :])
            found = (_ENTRY.fullmatch(entry) for entry in entries)
            return int(hops[1]) if hops else 0, {entry[1]: int(entry[2]) for entry in found if entry is not None}
    return 0, {}


@functools.lru_cache(maxsize=4_096)
def _hash(function_arn: str) -> str:
    return hashlib.sha256(function_arn.encode()).hexdigest()[:8]
