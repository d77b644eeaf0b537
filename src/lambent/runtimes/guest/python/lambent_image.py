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
import signal
import struct
import zlib

import lambent_fitness
import lambent_leftovers
from lambent_fitness import Unfit
from lambent_mappings import FIRST_ADDRESS, KERNELS, LAST_ADDRESS, mappings
from lambent_restore import (
    ANYTHING,
    CALLS_MAX,
    END,
    FILES_FROM_FD,
    HEAD_OFFSET,
    IDENTITY_AT,
    IDENTITY_OFFSET,
    IMAGE_FD,
    MADVISE,
    MAGIC,
    PAGE,
    POPULATE_WRITE,
    TABLE_AT,
    TEXTS_AT,
    TRAILER,
    VARIABLES_AT,
    call,
    compared,
)

_PREAD, _MMAP, _MUNMAP, _BRK, _SIGACTION, _SIGPROCMASK, _SIGALTSTACK, _CLOSE_RANGE = 17, 9, 11, 12, 13, 14, 131, 436
_OPENAT, _FSTAT = 257, 5
_AT_FDCWD = -100 & 0xFFFF_FFFF_FFFF_FFFF
_PRIVATE, _SHARED, _FIXED, _ANONYMOUS, _NORESERVE = 2, 1, 0x10, 0x20, 0x4000
_SIGACTIONS_AT, _MASK_AT, _ALTSTACK_AT = 0x100, 0x1000, 0x1010  # in the area's data
_SIGACTION_BYTES, _SIGNALS = 32, 64
_STATUS_BYTES, _IDENTIFYING = (
    144,
    (8, 48, 88, 96),
)  # of what fstat gives: number, size, and seconds and their rest of the last change
_PRESENT, _SWAPPED, _OF_FILE, _ALONE = 1 << 63, 1 << 62, 1 << 61, 1 << 56  # of an entry in /proc/…/pagemap
_GAP_PAGES = 16  # untouched pages up to as many are not worth a mapping of their own
_COPIED_MAX_BYTES = 4 << 20  # of a library's variables: up to here, copying them costs less than opening its file
_NO_FD = 0xFFFF_FFFF_FFFF_FFFF
_CHUNK_BYTES = 1 << 20

_left_alone = []  # what is needed for the image only: restored processes would have to touch it to free it

_STRANGE = {"io": "a device", "pf": "a device", "ht": "huge pages", "ss": "a shadow stack"}


def unchanging():
    """Of what is mapped from files and not to be written, before the function's code runs: key → digest of what is its own.

    Every process of the zygote's has it, too, so it is left alone when one is restored. What was written before it was made
    read-only, as the dynamic linker does, is its own.
    """
    memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    pages = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return {m.key: _digest(memory, pages, m) for m in mappings() if m.is_library}
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
    _left_alone.extend((files, sockets, left, kernel, writable))
    pid = area.fork()
    if pid == 0:
        return False
    try:
        rehearse()
        written = _written_since_fork(writable)
        writer = _Writer(pid, area, kept)
        writer.write_memory()
        writer.copy_ahead(written)
        writer.write_calls(*kernel)
        writer.finish({"descriptors": files, "sockets": sockets, "left": lambent_leftovers.pack(left, writer.append)})
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


def _kernel_state(area):
    """What the kernel keeps of a process besides its memory: the data that calls point to, calls, break."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sbrk.restype = ctypes.c_void_p
    ask = libc.syscall
    data = (ctypes.c_ubyte * (IDENTITY_AT - _SIGACTIONS_AT))()
    base = ctypes.addressof(data) - _SIGACTIONS_AT
    calls = []
    for number in range(1, _SIGNALS + 1):
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        at = _SIGACTIONS_AT + (number - 1) * _SIGACTION_BYTES
        ask(_SIGACTION, number, None, ctypes.c_void_p(base + at), ctypes.c_size_t(8))
        calls.append(call(_SIGACTION, number, area.data + at, 0, 8))
    ask(_SIGALTSTACK, None, ctypes.c_void_p(base + _ALTSTACK_AT))
    calls.append(call(_SIGALTSTACK, area.data + _ALTSTACK_AT, 0, bound=ANYTHING))
    ask(_SIGPROCMASK, 0, None, ctypes.c_void_p(base + _MASK_AT), ctypes.c_size_t(8))
    calls.append(call(_SIGPROCMASK, signal.SIG_SETMASK, area.data + _MASK_AT, 0, 8))
    return bytes(data), calls, libc.sbrk(0)


class _Writer:
    """Reads the copy and writes the image. `calls` are the system calls that put its memory in place again."""

    def __init__(self, pid, area, kept):
        self._area = area
        self._kept = kept
        self._mappings = mappings(pid)
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._pages = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._pieces = []  # (start, end, rights, kind, descriptor, offset) of what is mapped, by address
        self._opening = []  # the calls before that
        self._calls = []  # those after it
        self._remaining = []  # (start, end) of what is there all the time
        self._files = {}  # path → its descriptor
        self._texts = bytearray()
        self._end = PAGE  # of what is written; the first page is the trailer's

    def write_memory(self):
        for mapping in self._mappings:
            if mapping.end <= LAST_ADDRESS + 1:
                self._place(mapping)

    def write_calls(self, kernel_data, kernel_calls, program_break):
        """What the machine code of `lambent_restore` does. Raises Unfit."""
        calls = [
            *self._opening, call(_BRK, program_break, bound=ANYTHING), *self._gaps(), *self._mapped(), *self._calls,
            *kernel_calls, call(_CLOSE_RANGE, FILES_FROM_FD, 0xFFFF_FFFF, 0),
        ]  # fmt: skip
        if len(calls) > CALLS_MAX or len(self._texts) > VARIABLES_AT - TEXTS_AT:
            raise Unfit(f"the process has {len(self._mappings)} mappings, which is too many")
        registers = os.pread(self._memory, _SIGACTIONS_AT, self._area.data)
        head = [
            call(_PREAD, IMAGE_FD, self._area.data + at, len(data), self.append(data))
            for at, data in (
                (0, registers + kernel_data),
                (TEXTS_AT, bytes(self._texts)),
                (TABLE_AT, b"".join([*calls, END])),
            )
        ]
        _write(b"".join(head), HEAD_OFFSET)

    def finish(self, description):
        mask = os.umask(0)
        os.umask(mask)
        description = {**description, "umask": mask, "directory": os.getcwd()}
        text = json.dumps(description).encode()  # comes last: the file ends with it
        _write(self._area.identity, IDENTITY_OFFSET)
        _write(TRAILER.pack(MAGIC, self.append(text), len(text)), 0)

    def _place(self, mapping):
        if self._area.start <= mapping.start < self._area.end or self._area.start < mapping.end <= self._area.end:
            self._remaining.append((self._area.start, self._area.end))
            if mapping.start < self._area.start or mapping.end > self._area.end:
                raise Unfit("the init code changed memory that is the runtime's")
            return
        is_stack = mapping.name == "[stack]"
        if mapping.name in KERNELS or is_stack or self._is_unchanged(mapping):
            self._remaining.append((mapping.start, mapping.end))
            if is_stack:
                self._place_stack(mapping)
            return
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
        self._calls += [call(MADVISE, start, end - start, POPULATE_WRITE, bound=ANYTHING) for start, end in runs]

    def _place_stack(self, mapping):
        """Copied and not mapped, so that it can still grow."""
        (top,) = struct.unpack("Q", os.pread(self._memory, 8, self._area.data + 48))
        if not mapping.start <= top < mapping.end:
            raise Unfit("the init code runs on a stack of its own")
        start = max(mapping.start, top // PAGE * PAGE - PAGE)
        self._calls.append(call(_PREAD, IMAGE_FD, start, mapping.end - start, self._copy(start, mapping.end)))

    def _place_own(self, mapping):
        """Memory of its own: what was touched from the image, the rest empty."""
        empty = _PRIVATE | _ANONYMOUS | _FIXED | _NORESERVE
        self._place_runs(mapping, _GAP_PAGES, lambda start, end: (empty, _NO_FD, 0))

    def _place_file(self, mapping):
        """What is its own from the image, the rest from the file; all of it from the image where that saves opening the file."""
        if mapping.rights & 2 and mapping.end - mapping.start <= _COPIED_MAX_BYTES and _is_within(mapping):
            self._map(mapping.start, mapping.end, mapping.rights, _PRIVATE | _FIXED, IMAGE_FD)
            return
        kind = (_SHARED if "sh" in mapping.flags else _PRIVATE) | _FIXED
        self._place_runs(
            mapping, 0, lambda start, end: (kind, self._file(mapping.name), mapping.offset + start - mapping.start)
        )

    def _place_runs(self, mapping, gap_pages, between):
        """Pages of its own from the image. `between(start, end)` says where others come from: kind, descriptor, offset."""
        at = mapping.start
        for start, end in _joined(_own_pages(self._pages, mapping), gap_pages * PAGE):
            start, end = (
                at if start - at <= gap_pages * PAGE else start,
                mapping.end if mapping.end - end <= gap_pages * PAGE else end,
            )
            if start > at:
                self._map(at, start, mapping.rights, *between(at, start))
            self._map(start, end, mapping.rights, _PRIVATE | _FIXED, IMAGE_FD)
            at = end
        if at < mapping.end:
            self._map(at, mapping.end, mapping.rights, *between(at, mapping.end))

    def _file(self, name):
        """The descriptor that it is mapped from. Replaced by another file, its code would not fit the image's memory."""
        number = self._files.get(name)
        if number is None:
            number = self._files[name] = FILES_FROM_FD + len(self._files)
            status = os.stat(name)
            path = self._text(os.fsencode(name) + b"\0")
            expected = self._text(struct.pack("<4q", status.st_ino, status.st_size, *divmod(status.st_mtime_ns, 10**9)))
            found = self._text(bytes(_STATUS_BYTES))
            self._opening += [
                call(_OPENAT, _AT_FDCWD, path, os.O_RDONLY | os.O_CLOEXEC, bound=number),
                call(_FSTAT, number, found),
                *(
                    each
                    for at, place in enumerate(_IDENTIFYING)
                    for each in compared(expected + 8 * at, found + place, 8)
                ),
            ]
        return number

    def _text(self, data):
        """Where it is when the calls are made."""
        self._texts += bytes(-len(self._texts) % 8)
        self._texts += data
        return self._area.data + TEXTS_AT + len(self._texts) - len(data)

    def _map(self, start, end, rights, kind, descriptor, offset=None):
        """Without an offset: from the image, into which it is copied; together with what lies before it, if that does, too."""
        if offset is None:
            offset = self._copy(start, end)
            if self._pieces:
                first, last, *others, begin = self._pieces[-1]
                if last == start and others == [rights, kind, descriptor] and begin + last - first == offset:
                    self._pieces[-1] = (first, end, rights, kind, descriptor, begin)
                    return
        self._pieces.append((start, end, rights, kind, descriptor, offset))

    def _mapped(self):
        return [call(_MMAP, start, end - start, *how) for start, end, *how in self._pieces]

    def _copy(self, start, end):
        """Where in the image the memory from `start` to `end` is from now on."""
        begin = self._end
        for at in range(start, end, _CHUNK_BYTES):
            data = os.pread(self._memory, min(_CHUNK_BYTES, end - at), at)
            self.append(data)
        return begin

    def _gaps(self):
        """Takes away what is not mapped over, whatever it is by then."""
        calls, at = [], FIRST_ADDRESS
        for start, end in sorted({*self._remaining, *(piece[:2] for piece in self._pieces)}):
            if start > at:
                calls.append(call(_MUNMAP, at, start - at))
            at = max(at, end)
        calls.append(call(_MUNMAP, at, LAST_ADDRESS - at))
        return calls

    def append(self, data):
        at = self._end
        _write(data, at)
        self._end += _pages_of(len(data))
        return at


def _is_within(mapping):
    """Whether the file has all that is mapped of it."""
    return mapping.offset + mapping.end - mapping.start <= os.stat(mapping.name).st_size + PAGE - 1


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
