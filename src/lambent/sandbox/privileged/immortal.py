"""Objects without a count of references: those that a zygote has when it begins to serve.

Python counts the references to an object in the object itself, so that whoever looks at one writes to its page, and a fork then
has that page for itself. From CPython 3.12 on there are objects that are never counted and never freed, such as None. Everything
that exists before the first fork becomes such an object, so that children share it for as long as they live.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIES = 1_000
_count_at = ctypes.c_uint32.from_address  # the lower half of the count, which is all that 3.12 and later look at


def make_everything_immortal() -> int:
    """How many objects were made so; 0 where this interpreter has no such objects. To be called with the collector off."""
    immortal = _count_of_immortals()
    if immortal is None:
        return 0
    made = 0
    pending: list[object] = [*gc.get_objects(), *_unlisted()]
    while pending:
        found: list[object] = []
        for one in pending:
            count = _count_at(id(one))
            if count.value != immortal:
                count.value = immortal
                found.append(one)
        made += len(found)
        pending = gc.get_referents(*found)
        for one in found:
            if type(one) is types.CodeType:  # which the collector does not look into
                pending += (one.co_consts, one.co_names, one.co_filename, one.co_name, one.co_linetable)
                pending += (one.co_qualname, one.co_exceptiontable)
    return made


def _count_of_immortals() -> int | None:
    """None's own; tried on an object whose count has to stay as it is however many refer to it. None if it does not."""
    if sys.version_info < (3, 12) or sys.implementation.name != "cpython" or hasattr(sys, "gettotalrefcount"):
        return None
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    tried = [object()]
    count = _count_at(id(tried[0]))
    before = count.value
    many = tried * _TRIES
    if count.value != before + _TRIES:
        return None  # it is not counted here, or not in this way
    del many
    immortal = _count_at(id(None)).value
    count.value = immortal
    many = tried * _TRIES
    if count.value != immortal:
        return None
    del many
    return immortal if count.value == immortal else None


def _unlisted() -> Iterator[object]:
    """What the collector neither lists nor looks into: the types that are written in C."""
    pending: list[type] = [object]
    while pending:
        one = pending.pop()
        pending += type.__subclasses__(one)
        yield from (one, *gc.get_referents(vars(one)), one.__mro__, one.__bases__)
