"""Taking up what is free in the memory that a zygote has, so that its children get theirs from pages that are new.

Free places are scattered over pages with objects in between that all children share. Who uses one of them has to copy its page.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

_LEAST_OF_BYTES = 48  # the smallest block that an object of bytes can be made to fill exactly
_HEAD_OF_BYTES = 33
_LARGEST, _SMALLEST = 64 * 1024, 64  # bytes, of what is asked of the C library
_MOST_BLOCKS = 50_000  # which takes 30 ms
# A line of the interpreter's table of small blocks: class, size, pools, blocks in use, blocks that are free.
_CLASS = re.compile(rb"^ *\d+ +(\d+) +\d+ +\d+ +(\d+)$", re.MULTILINE)
_taken: list[list[object]] = []


class _HeapInfo(ctypes.Structure):
    """struct mallinfo2"""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "top",
        )
    ]


def take_up() -> None:
    """Both allocators; where one cannot be asked what is free, it is left as it is."""
    _take_heap()
    for size, free in _small_blocks():
        if size >= _LEAST_OF_BYTES:
            _taken.append([bytes(size - _HEAD_OF_BYTES) for _ in range(free)])
        elif size == 32:
            _taken.append(list(range(1 << 20, (1 << 20) + free)))
        else:
            _taken.append([object() for _ in range(free)])


def _small_blocks() -> list[tuple[int, int]]:
    """(size, how many of it are free in pools that are in use) of the interpreter's own allocator."""
    table, kept = os.memfd_create("table"), os.dup(2)
    try:
        os.dup2(table, 2)
        sys._debugmallocstats()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    try:
        text = os.pread(table, 1 << 20, 0)
    finally:
        os.close(table)
    return [(int(size), int(free)) for size, free in _CLASS.findall(text)]


def _take_heap() -> None:
    """The C library's. What lies above everything that is in use is left: it is new to each child."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):  # glibc has it from 2.33 on
        return
    library.malloc_trim(0)  # whole pages that are free: nothing is left of them for forks to copy
    allocate, free = library.malloc, library.free
    library.mallinfo2.restype = _HeapInfo
    library.sbrk.restype = allocate.restype = ctypes.c_void_p
    allocate.argtypes, free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    above = library.sbrk(0) - library.mallinfo2().top
    size, left = _LARGEST, _MOST_BLOCKS
    while size >= _SMALLEST and left:
        left -= 1
        block = allocate(size)
        if block >= above:
            free(block)
            size = size * 3 // 4
