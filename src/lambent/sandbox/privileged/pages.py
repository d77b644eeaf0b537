"""Pages that a process will write to, had in one call for each run of them instead of a fault for each page."""

from __future__ import annotations

import array
import ctypes
import os

PAGE = os.sysconf("SC_PAGE_SIZE")
_POPULATE_READ, _POPULATE_WRITE = 22, 23  # of madvise, from Linux 5.14 on
_PRESENT, _OF_FILE, _ALONE, _FRAME = 1 << 63, 1 << 61, 1 << 56, (1 << 55) - 1  # of an entry in /proc/…/pagemap
_AROUND_PAGES = 16  # the kernel maps so many of a file's pages around one that is touched
_ITSELF = -10001  # PIDFD_SELF
_PLACES_MAX = 1024  # of one call (IOV_MAX)
_PROCESS_MADVISE = 440
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_syscall = ctypes.CDLL(None).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint]


class Needed:
    """What a process had touched in the end: pages that it has for itself, and pages of files that it read.

    Each is runs of them: start, end, start, end …
    """

    def __init__(self, written: bytes = b"", read: bytes = b"") -> None:
        runs = array.array("Q", written)
        self._written = _Advice(runs, _whole(runs), _POPULATE_WRITE)
        runs = array.array("Q", read)
        self._read = _Advice(runs, _one_of_each_around(runs), _POPULATE_READ)

    def have(self) -> bool:
        """In a process whose memory is as that one's was in the beginning.

        Whether it now has both kinds. It does not when nobody knows of any, and before Linux 5.14; then faults come later.
        """
        return self._written.follow() and self._read.follow()


class _Advice:
    """`places` are the runs as struct iovec: start, length, start, length …"""

    def __init__(self, runs: array.array[int], places: array.array[int], how: int) -> None:
        self._runs = runs
        self._places = places
        self._bytes = sum(places[1::2])
        self._how = how

    def follow(self) -> bool:
        """In one call, which a process may make for itself from Linux 6.13 on: else the calls take as long as the faults."""
        runs, how = self._runs, self._how
        if not runs:
            return False
        address, items = self._places.buffer_info()
        if items <= 2 * _PLACES_MAX and _syscall(_PROCESS_MADVISE, _ITSELF, address, items // 2, how, 0) == self._bytes:
            return True
        refused = 0
        for at in range(0, len(runs), 2):
            refused += _madvise(runs[at], runs[at + 1] - runs[at], how)
        return refused == 0


def _whole(runs: array.array[int]) -> array.array[int]:
    places = array.array("Q", runs)
    for at in range(0, len(runs), 2):
        places[at + 1] -= runs[at]
    return places


def _one_of_each_around(runs: array.array[int]) -> array.array[int]:
    """One page where the kernel maps those around it: looking at each of them would take longer."""
    places, around = array.array("Q"), _AROUND_PAGES * PAGE
    for at in range(0, len(runs), 2):
        for start in range(runs[at] - runs[at] % around, runs[at + 1], around):
            places.extend((max(start, runs[at]), PAGE))
    return places


def needed(pid: int, forked_from: int) -> tuple[bytes, bytes]:
    """(written, read) of a fork, by its pages and those of the process that it is a fork of. Raises OSError.

    From itself, what it alone has is written.
    """
    written, read = array.array("Q"), array.array("Q")
    own, others = (os.open(f"/proc/{number}/pagemap", os.O_RDONLY | os.O_CLOEXEC) for number in (pid, forked_from))
    try:
        for start, end, rights in _mappings(forked_from):
            mine, theirs = (_entries(pages, start, end) for pages in (own, others))
            at = start
            for entry, other in zip(mine, theirs):
                if not entry & _PRESENT:
                    pass
                elif entry & _OF_FILE:
                    _extend(read, at, _AROUND_PAGES)
                elif "w" in rights and (entry & _ALONE or (entry ^ other) & _FRAME):
                    _extend(written, at, 0)
                at += PAGE
    finally:
        os.close(own)
        os.close(others)
    return written.tobytes(), read.tobytes()


def _mappings(pid: int) -> list[tuple[int, int, str]]:
    """(start, end, rights)"""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            place, rights, _, _, _, *name = line.split()
            if not (name and name[0].startswith("[v")):  # the kernel's own
                start, _, end = place.partition("-")
                found.append((int(start, 16), int(end, 16), rights))
    return found


def _entries(pages: int, start: int, end: int) -> array.array[int]:
    return array.array("Q", os.pread(pages, (end - start) // PAGE * 8, start // PAGE * 8))


def _extend(runs: array.array[int], at: int, gap_pages: int) -> None:
    """By one page; gaps of up to so many are taken along."""
    if runs and at - runs[-1] <= gap_pages * PAGE:
        runs[-1] = at + PAGE
    else:
        runs.extend((at, at + PAGE))
