"""Taking an image of this process once its init is done: `lambent_restore` makes other processes continue from it.

The process forks a copy that stands still, and reads the copy's memory: nothing in it moves meanwhile. Written are the pages
that belong to the process alone; what is mapped from read-only files is mapped from them again, and such files that are open
are opened again. TCP connections are found broken, as AWS's functions find them. A process that holds more than that, such as
another thread or a socket that listens, cannot be continued elsewhere, which `Unfit` says.
"""

import array
import ctypes
import json
import os
import re
import signal
import struct
import zlib

import lambent_fitness
import lambent_leftovers
from lambent_fitness import Unfit
from lambent_restore import (
    ANYTHING,
    CALL,
    CALLS_MAX,
    FILES_FROM_FD,
    IMAGE_FD,
    MAGIC,
    PAGE,
    TABLE_AT,
    TRAILER,
    UNLESS_ERROR,
    identify,
)

_PREAD, _MMAP, _MUNMAP, _BRK, _SIGACTION, _SIGPROCMASK, _CLOSE, _SIGALTSTACK, _CLOSE_RANGE = (
    17,
    9,
    11,
    12,
    13,
    14,
    3,
    131,
    436,
)
_PRIVATE, _SHARED, _FIXED, _ANONYMOUS, _NORESERVE = 2, 1, 0x10, 0x20, 0x4000
_FIRST_ADDRESS, _LAST_ADDRESS = 0x10000, 0x7FFF_FFFF_F000  # that a program can have mapped
_SIGACTIONS_AT, _MASK_AT, _ALTSTACK_AT = 0x100, 0x1000, 0x1010  # in the area's data
_SIGACTION_BYTES, _SIGNALS = 32, 64
_ARCH_PRCTL, _GET_FS = 158, 0x1003
_MADVISE, _POPULATE_WRITE = 28, 23  # the latter from Linux 5.14 on; without it pages are copied when they are written
_PRESENT, _SWAPPED, _OF_FILE, _ALONE = 1 << 63, 1 << 62, 1 << 61, 1 << 56  # of an entry in /proc/…/pagemap
_GAP_PAGES = 16  # untouched pages up to as many are not worth a mapping of their own
_CHUNK_BYTES = 1 << 20

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) (\S+) (\d+) *(.*)\n")
_KEPT_NAMES = ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]")
_STRANGE = {"io": "a device", "pf": "a device", "ht": "huge pages", "ss": "a shadow stack"}


class Mapping:
    """A line of /proc/…/smaps with what follows it."""

    def __init__(self, match):
        self.start, self.end, self.offset = (int(match[n], 16) for n in (1, 2, 4))
        self.rights = sum(bit for bit, letter in ((1, "r"), (2, "w"), (4, "x")) if letter in match[3])
        self.has_file = match[6] != "0"
        self.name = match[7]
        self.flags = ()
        self.own_kib = 0  # in memory or swapped out, and not the file's

    @property
    def key(self):
        return self.start, self.end, self.rights, self.offset, self.name


def mappings(pid="self", detailed=True):
    """The mappings of a process, in order."""
    found = []
    with open(f"/proc/{pid}/{'smaps' if detailed else 'maps'}", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            match = _MAPPING.match(line)
            if match:
                found.append(Mapping(match))
                continue
            name, _, value = line.partition(":")
            if name == "VmFlags":
                found[-1].flags = value.split()
            elif name in ("Anonymous", "Swap"):
                found[-1].own_kib += int(value.split()[0])
    return found


def unchanging():
    """Of what is mapped from files and not to be written, before the function's code runs: key → digest of what is its own.

    Every process of the zygote's has it, too, so it is left alone when one is restored. What was written before it was made
    read-only, as the dynamic linker does, is its own.
    """
    memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    pages = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return {m.key: _digest(memory, pages, m) for m in mappings() if _is_library(m)}
    finally:
        os.close(memory)
        os.close(pages)


def take(area, kept, beginning, rehearse):
    """Writes the image to IMAGE_FD. True here, once it is whole; False in a process that is restored from it.

    `kept` was `unchanging()` when the process began, and `beginning` how it began.
    `rehearse()` does here what a restored process does first: the pages that it writes are copied ahead in those.
    Raises Unfit, OSError.
    """
    files, sockets, left = lambent_fitness.check(beginning)
    kernel = _kernel_state(area)
    writable = [m for m in mappings(detailed=False) if m.rights & 2 and m.name != "[stack]"]
    pid = area.fork()
    if pid == 0:
        return False
    try:
        rehearse()
        written = _written_since_fork(writable)
        writer = _Writer(pid, area, kept)
        writer.write_memory()
        writer.copy_ahead(written)
        data = writer.data_and_calls(kernel)
        writer.finish(
            data, {"descriptors": files, "sockets": sockets, "left": lambent_leftovers.pack(left, writer.append)}
        )
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return True


def _written_since_fork(writable):
    """Runs of pages that the copy no longer shares with this process. Asked before anything large is allocated here."""
    pages = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = []
        for mapping in writable:
            found += _joined(_pages_that(pages, mapping, lambda entry: entry & _ALONE), 0)
        return found
    finally:
        os.close(pages)


def decline(reason):
    """Says in the image's stead why there is none."""
    text = json.dumps({"unfit": reason}).encode()
    os.pwrite(IMAGE_FD, text, TRAILER.size)
    os.pwrite(IMAGE_FD, TRAILER.pack(MAGIC, TRAILER.size, len(text)), 0)


def _thread_pointer():
    """Where thread-local storage is."""
    pointer = ctypes.c_ulong()
    ctypes.CDLL(None).syscall(_ARCH_PRCTL, _GET_FS, ctypes.byref(pointer))
    return pointer.value


def _kernel_state(area):
    """What the kernel keeps of a process besides its memory: (the data that the calls point to, calls, break)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sbrk.restype = ctypes.c_void_p
    call = libc.syscall
    data = (ctypes.c_ubyte * (TABLE_AT - _SIGACTIONS_AT))()
    base = ctypes.addressof(data) - _SIGACTIONS_AT
    calls = []
    for number in range(1, _SIGNALS + 1):
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        at = _SIGACTIONS_AT + (number - 1) * _SIGACTION_BYTES
        call(_SIGACTION, number, None, ctypes.c_void_p(base + at), ctypes.c_size_t(8))
        calls.append((_SIGACTION, number, area.data + at, 0, 8))
    call(_SIGALTSTACK, None, ctypes.c_void_p(base + _ALTSTACK_AT))
    calls.append((_SIGALTSTACK, area.data + _ALTSTACK_AT, 0))
    call(_SIGPROCMASK, 0, None, ctypes.c_void_p(base + _MASK_AT), ctypes.c_size_t(8))
    calls.append((_SIGPROCMASK, signal.SIG_SETMASK, area.data + _MASK_AT, 0, 8))
    return bytes(data), calls, libc.sbrk(0)


# what it does hold


class _Writer:
    """Reads the copy and writes the image. `calls` are the system calls that put its memory in place again."""

    def __init__(self, pid, area, kept):
        self._area = area
        self._kept = kept
        self._mappings = mappings(pid)
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._pages = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._calls = []
        self._thread = _thread_pointer()
        self._remaining = []  # (start, end) of what is there all the time
        self._files = {}  # path → its number among FILES_FROM_FD
        self._end = PAGE  # of what is written; the first page is the trailer's

    def write_memory(self):
        for mapping in self._mappings:
            if mapping.end <= _LAST_ADDRESS + 1:
                self._place(mapping)

    def data_and_calls(self, kernel):
        """The area's data as it must be when the calls are made, and how many they are. Raises Unfit."""
        kernel_data, kernel_calls, program_break = kernel
        everything = [(_BRK, program_break), *self._gaps(), *self._calls, *kernel_calls]
        everything += [(_CLOSE_RANGE, FILES_FROM_FD, 0xFFFF_FFFF, 0), (_CLOSE, IMAGE_FD)]
        if len(everything) > CALLS_MAX:
            raise Unfit(f"the process has {len(self._mappings)} mappings, which is too many")
        table = b"".join(
            CALL.pack(
                *call, *([0] * (7 - len(call))), ANYTHING if call[0] in (_SIGALTSTACK, _BRK, _MADVISE) else UNLESS_ERROR
            )
            for call in everything
        )
        registers = os.pread(self._memory, _SIGACTIONS_AT, self._area.data)
        return registers + kernel_data + table, len(everything)

    def finish(self, data_and_calls, opened):
        data, calls = data_and_calls
        mask = os.umask(0)
        os.umask(mask)
        description = {
            "zygote": self._area.identity,
            "files": [(path, identify(os.stat(path))) for path in self._files],
            **opened,
            "umask": mask,
            "directory": os.getcwd(),
            "data": (self.append(data), len(data)),
            "calls": calls,
        }
        text = json.dumps(description).encode()  # comes last: the file ends with it
        _write(TRAILER.pack(MAGIC, self.append(text), len(text)), 0)

    def _place(self, mapping):
        if self._area.start <= mapping.start < self._area.end or self._area.start < mapping.end <= self._area.end:
            self._remaining.append((self._area.start, self._area.end))
            if mapping.start < self._area.start or mapping.end > self._area.end:
                raise Unfit("the init code changed memory that is the runtime's")
            return
        is_stack = mapping.name == "[stack]"
        if mapping.name in _KEPT_NAMES or is_stack or self._is_unchanged(mapping):
            self._remaining.append((mapping.start, mapping.end))
            if is_stack:
                self._place_stack(mapping)
            return
        if mapping.start <= self._thread < mapping.end:
            # Replaced in one step: the kernel itself writes into it (rseq), whenever the process moves to another processor.
            self._remaining.append((mapping.start, mapping.end))
        strange = next((what for flag, what in _STRANGE.items() if flag in mapping.flags), None)
        if strange or ("sh" in mapping.flags and "mw" in mapping.flags):
            raise Unfit(f"the init code mapped {strange or 'shared memory'} ({mapping.name or 'without a name'})")
        if not mapping.has_file:
            self._place_own(mapping)
        elif mapping.name.startswith(lambent_fitness.READ_ONLY_ROOTS) and not mapping.name.endswith(" (deleted)"):
            self._place_file(mapping)
        else:
            raise Unfit(f"the init code mapped {mapping.name}, which is not kept")

    def _is_unchanged(self, mapping):
        digest = self._kept.get(mapping.key)
        return digest is not None and digest == _digest(self._memory, self._pages, mapping)

    def copy_ahead(self, runs):
        """Has the kernel copy at once what will be written soon, which saves the faults."""
        self._calls += [(_MADVISE, start, end - start, _POPULATE_WRITE) for start, end in runs]

    def _place_stack(self, mapping):
        """Copied and not mapped, so that it can still grow."""
        (top,) = struct.unpack("Q", os.pread(self._memory, 8, self._area.data + 48))
        if not mapping.start <= top < mapping.end:
            raise Unfit("the init code runs on a stack of its own")
        start = max(mapping.start, top // PAGE * PAGE - PAGE)
        self._calls.append((_PREAD, IMAGE_FD, start, mapping.end - start, self._copy(start, mapping.end)))

    def _place_own(self, mapping):
        """Memory of its own: what was touched from the image, the rest empty."""
        at = mapping.start
        empty = _PRIVATE | _ANONYMOUS | _FIXED | _NORESERVE
        for start, end in _joined(_own_pages(self._pages, mapping), _GAP_PAGES * PAGE):
            if start > at:
                self._map(at, start, mapping.rights, empty, -1, 0)
            self._map(start, end, mapping.rights, _PRIVATE | _FIXED, IMAGE_FD, self._copy(start, end))
            at = end
        if at < mapping.end:
            self._map(at, mapping.end, mapping.rights, empty, -1, 0)

    def _place_file(self, mapping):
        number = FILES_FROM_FD + self._files.setdefault(mapping.name, len(self._files))
        kind = _SHARED if "sh" in mapping.flags else _PRIVATE
        self._map(mapping.start, mapping.end, mapping.rights, kind | _FIXED, number, mapping.offset)
        if mapping.own_kib:
            for start, end in _joined(_own_pages(self._pages, mapping), 0):
                self._map(start, end, mapping.rights, _PRIVATE | _FIXED, IMAGE_FD, self._copy(start, end))

    def _map(self, start, end, rights, kind, descriptor, offset):
        self._calls.append((_MMAP, start, end - start, rights, kind, descriptor & 0xFFFF_FFFF_FFFF_FFFF, offset))

    def _copy(self, start, end):
        """Where in the image the memory from `start` to `end` is from now on."""
        begin = self._end
        for at in range(start, end, _CHUNK_BYTES):
            data = os.pread(self._memory, min(_CHUNK_BYTES, end - at), at)
            self.append(data)
        return begin

    def _gaps(self):
        """Takes away everything else, whatever it is by then."""
        calls, at = [], _FIRST_ADDRESS
        for start, end in sorted(set(self._remaining)):
            if start > at:
                calls.append((_MUNMAP, at, start - at))
            at = max(at, end)
        calls.append((_MUNMAP, at, _LAST_ADDRESS - at))
        return calls

    def append(self, data):
        at = self._end
        _write(data, at)
        self._end += _pages_of(len(data))
        return at


def _is_library(mapping):
    return mapping.has_file and not mapping.rights & 2 and mapping.name.startswith("/")


def _digest(memory, pages, mapping):
    """Of the pages of a mapping that are the process's own; they are few."""
    digest = 0
    for start, end in _own_pages(pages, mapping):
        digest = zlib.crc32(os.pread(memory, end - start, start), zlib.crc32(b"%x" % start, digest))
    return digest


def _own_pages(pages, mapping):
    """(start, end) of pages that are the process's own and no file's."""
    if not mapping.own_kib:
        return iter(())
    mine = _PRESENT | _SWAPPED
    if mapping.has_file:
        return _pages_that(pages, mapping, lambda entry: entry & mine and not entry & _OF_FILE)
    return _pages_that(pages, mapping, lambda entry: entry & mine)


def _pages_that(pages, mapping, fits):
    """(start, end) of pages whose entry in the pagemap `pages` fits."""
    step = _CHUNK_BYTES // 8 * PAGE
    for first in range(mapping.start, mapping.end, step):
        last = min(mapping.end, first + step)
        entries = array.array("Q", os.pread(pages, (last - first) // PAGE * 8, first // PAGE * 8))
        for place, entry in enumerate(entries):
            if fits(entry):
                yield first + place * PAGE, first + (place + 1) * PAGE


def _joined(runs, gap_bytes):
    """Neighbours, and those with little between them, as one."""
    begin = finish = None
    for start, end in runs:
        if finish is not None and start - finish <= gap_bytes:
            finish = end
            continue
        if finish is not None:
            yield begin, finish
        begin, finish = start, end
    if finish is not None:
        yield begin, finish


def _pages_of(length):
    return (length + PAGE - 1) // PAGE * PAGE


def _write(data, at):
    view = memoryview(data)
    while view:
        written = os.pwrite(IMAGE_FD, view, at)
        view, at = view[written:], at + written
