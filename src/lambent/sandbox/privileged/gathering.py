"""Code that every child runs, side by side in memory.

From 3.11 on Python rewrites instructions as it learns about them, and counts within code what it could not learn. A page of which one
function ran is a page of each child's own, so functions that run in all of them are copied to where nothing else is.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable


def gather(road: Callable[[], None], *, always: str) -> int:
    """Copies the code that `road()` runs, and that of modules whose names begin with `always`. How many functions have it."""
    ran = _that_runs(road)
    functions = [
        one
        for one in gc.get_objects()
        if type(one) is types.FunctionType and (id(one.__code__) in ran or str(one.__module__).startswith(always))
    ]
    copies: dict[int, types.CodeType] = {}
    for function in functions:
        code = function.__code__
        if id(code) not in copies:
            copies[id(code)] = code.replace()
            ran[id(code)] = code  # as long as it is there, no other one has its number
        function.__code__ = copies[id(code)]
    return len(functions)


def _that_runs(road: Callable[[], None]) -> dict[int, types.CodeType]:
    ran: dict[int, types.CodeType] = {}

    def note(frame: types.FrameType, _event: str, _argument: object) -> None:
        ran[id(frame.f_code)] = frame.f_code

    sys.setprofile(note)
    try:
        road()
    finally:
        sys.setprofile(None)
    return ran
