"""Turning this process into the one that an image was taken of. See `lambent_image` for how images are taken.

Every process of one interpreter is a fork of the same zygote, so libraries, heap, stack and thread-local storage lie at the
same addresses in all of them. A process of the same version of a function that has not begun yet can therefore be given the
memory of one that has run its init: the image's pages are mapped privately over its own, and it goes on where that one stopped.

That cannot be done by code which is itself replaced. So the zygote sets an area apart that no image contains: a page of machine
code, which carries out a table of system calls and then loads the processor's registers, and room for that table.
"""

import ctypes
import json
import os
import random
import signal
import socket
import struct
import sys

import lambent_leftovers
from lambent_mappings import FIRST_ADDRESS, KERNELS, LAST_ADDRESS, mappings

PAGE = 4096
IMAGE_FD = 4
FILES_FROM_FD = 5  # files to be mapped are opened from here on, which is where the kernel opens them
EXIT_STATUS = 71  # of a process that could not become what the image says

# An image begins with a page of this: what it is, the zygote's identity, and the first calls.
MAGIC = b"lambent image 1\n"
TRAILER = struct.Struct("<16sQQ")  # magic, offset and length of the description
IDENTITY_OFFSET, HEAD_OFFSET = 64, 128

CALL = struct.Struct("<8Q")  # number, six arguments, the largest result that is not an error
UNLESS_ERROR, ANYTHING = 0xFFFF_FFFF_FFFF_F000, 0xFFFF_FFFF_FFFF_FFFF
COMPARE = 0x10000  # no system call: the result is 0 if the eight bytes at two addresses are equal
END = CALL.pack(ANYTHING, 0, 0, 0, 0, 0, 0, 0)

# Of the area: a guard, the machine code, then data; a guard. The data are registers and what calls point to, calls that this
# process makes, the first calls of the image, which read the others, texts, variables.
DATA_BYTES = 0x180000
CALL_AT, ORDER_AT, BEGIN_AT = 0x1800, 0x1880, 0x1900  # messages to be received
CONTROL_AT, CONTROL_BYTES = 0x1980, 0x100
HEARD_AT, HEARD_BYTES = 0x1A80, 0x80  # what of them does not matter
IDENTITY_AT, OTHERS_IDENTITY_AT = 0x1F00, 0x1F10
FIRST_AT = 0x2000
HEAD_AT = 0x8000
HEAD_CALLS = 3
TABLE_AT = HEAD_AT + HEAD_CALLS * CALL.size
TEXTS_AT = 0x110000
VARIABLES_AT = 0x140000
AREA_BYTES = 2 * PAGE + DATA_BYTES + PAGE
CALLS_MAX = (TEXTS_AT - TABLE_AT) // CALL.size - 1

_CLOSE, _MUNMAP, _BRK, _PREAD, _DUP2, _RECVMSG, _CLOSE_RANGE = 3, 11, 12, 17, 33, 47, 436
_ARCH_PRCTL, _GET_FS = 158, 0x1003
MADVISE, POPULATE_READ, POPULATE_WRITE = 28, 22, 23  # from Linux 5.14 on; without them pages come when they are touched
# For recvmsg: no name; where the parts are, and how many; control data; no flags; the part.
_MESSAGE = struct.Struct("<16xQQQQ8xQQ")
_PART_PLACE = 56
_PROT_NONE, _PROT_READ, _PROT_WRITE, _PROT_EXEC = 0, 1, 2, 4
_MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_NORESERVE = 2, 0x20, 0x4000
_MAP_FAILED = ctypes.c_void_p(-1).value

# x86-64. save(context) keeps what a call must keep (rbx, rbp, r12–r15, rsp, the return address, the two control words of
# floating point), then forks by the bare system call, so that libc and Python in the copy believe that they are the original.
# The copy waits for ever: it is there to be read. load(context, table) makes the system calls of the table without touching
# the stack, ends the process if one fails, and returns from `save` with 0. The table may be read while it is carried out.
_SAVE = bytes.fromhex(
    "48891f"  # mov [rdi], rbx
    "48896f08 4c896710 4c896f18 4c897720 4c897f28"  # mov [rdi+8…40], rbp, r12, r13, r14, r15
    "488d442408 48894730"  # lea rax, [rsp+8]; mov [rdi+48], rax
    "488b0424 48894738"  # mov rax, [rsp]; mov [rdi+56], rax
    "0fae5f40 d97f48"  # stmxcsr [rdi+64]; fnstcw [rdi+72]
    "bf11000000 31f6 31d2 4531d2 4531c0"  # edi = SIGCHLD; esi = edx = r10d = r8d = 0
    "b838000000 0f05"  # clone
    "4885c0 7401 c3"  # in the original: ret
    "b822000000 0f05 ebf7"  # in the copy: pause, again and again
)
_LOAD = bytes.fromhex(
    "4989fd 4889f3"  # r13 = context, rbx = table
    "488b03 4885c0 7841"  # next: rax = number; if it is negative, go on at done
    "488b7b08 488b7310 488b5318 4c8b5320 4c8b4328 4c8b4b30"  # rdi, rsi, rdx, r10, r8, r9
    "3d00000100 740e 0f05"  # if the number is COMPARE, go on at compare; syscall
    "483b4338 770e 4883c340 ebcb"  # check: a result beyond its bound: failed; else the next one
    "488b07 483306 ebec"  # compare: rax = [rdi] ^ [rsi]; go on at check
    "bf47000000 b8e7000000 0f05"  # failed: exit_group(71)
    "4c89e9 488b19 488b6908 4c8b6110 4c8b6918 4c8b7120 4c8b7928"  # done: rbx, rbp, r12, r13, r14, r15
    "0fae5140 d96948"  # ldmxcsr, fldcw
    "31c0 488b6130 ff6138"  # rax = 0; rsp; jump to where `save` returns
)
_LOAD_AT = 0x80


class Area:
    """The zygote's: inherited by everything that it forks. `identity` tells zygotes apart, and with them their addresses."""

    def __init__(self):
        """Raises OSError."""
        self.identity = os.urandom(16)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        kind = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE
        nowhere, length = ctypes.c_void_p(None), ctypes.c_size_t(AREA_BYTES)
        start = self._libc.mmap(nowhere, length, _PROT_NONE, kind, -1, ctypes.c_long(0))
        if start == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), "mmap")
        self.start, self.end = start, start + AREA_BYTES
        self.data = start + 2 * PAGE
        code = start + PAGE
        self._protect(code, PAGE, _PROT_READ | _PROT_WRITE)
        ctypes.memmove(code, _SAVE, len(_SAVE))
        ctypes.memmove(code + _LOAD_AT, _LOAD, len(_LOAD))
        self._protect(code, PAGE, _PROT_READ | _PROT_EXEC)
        self._protect(self.data, DATA_BYTES, _PROT_READ | _PROT_WRITE)
        # Called with the interpreter's lock held, as whatever returns from it has to hold it, too.
        self._save = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(code)
        self._load = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)(code + _LOAD_AT)

    def fork(self):
        """A copy of this process that does nothing: its number. In what is restored from its image: 0."""
        pid = self._save(self.data)
        if pid < 0:
            raise OSError(-pid, "clone")
        return pid

    def write(self, at, data):
        """Into the area's data."""
        ctypes.memmove(self.data + at, data, len(data))

    def read_text(self, at):
        """What was written there, up to its first zero byte."""
        return ctypes.string_at(self.data + at)

    def load(self, before=()):
        """Becomes what the image behind IMAGE_FD says, once the calls `before` are made. Never returns here. Raises OSError."""
        calls = [
            *before,
            call(_PREAD, IMAGE_FD, self.data + OTHERS_IDENTITY_AT, 16, IDENTITY_OFFSET),
            *compared(self.data + IDENTITY_AT, self.data + OTHERS_IDENTITY_AT, 16),
            call(_PREAD, IMAGE_FD, self.data + HEAD_AT, HEAD_CALLS * CALL.size, HEAD_OFFSET),
        ]
        table = b"".join(calls)
        if len(table) > HEAD_AT - FIRST_AT:
            raise OSError("the process has too many mappings")
        self.write(IDENTITY_AT, self.identity)
        self.write(HEAD_AT - len(table), table)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._load(self.data, self.data + HEAD_AT - len(table))

    def _protect(self, start, length, rights):
        if self._libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(length), rights):
            raise OSError(ctypes.get_errno(), "mprotect")


def call(number, *arguments, bound=UNLESS_ERROR):
    """An entry of the table."""
    return CALL.pack(number, *arguments, *([0] * (6 - len(arguments))), bound)


def compared(address, other, length):
    """Entries that end the process unless what is at both addresses is the same."""
    return [call(COMPARE, address + at, other + at, bound=0) for at in range(0, length, 8)]


def restore(area, variables):
    """Becomes the process of the image behind IMAGE_FD. Never returns; ends the process where that cannot be."""
    _give(area, variables)
    area.load()


def wait(area, channel_fd):
    """Gives up all that an image replaces, then waits for one: by then, only mapping it is left to be done. Never returns.

    What comes are the descriptors of output, log, and where to read {"variables": …} with that of the image; then word that the
    files are there. Standard input stays what it is, and others are closed.
    """
    _expect(area, CALL_AT, HEARD_AT, HEARD_BYTES)
    _expect(area, ORDER_AT, VARIABLES_AT, DATA_BYTES - VARIABLES_AT - 1)
    _expect(area, BEGIN_AT, HEARD_AT, HEARD_BYTES)
    area.load([
        *_clearing(area),
        call(_CLOSE_RANGE, 1, channel_fd - 1, 0),
        call(_RECVMSG, channel_fd, area.data + CALL_AT, 0),  # as 1, 2 and 3
        call(_RECVMSG, 3, area.data + ORDER_AT, 0),  # as IMAGE_FD
        call(_DUP2, 2, 3),
        call(_DUP2, 1, 2),
        call(_RECVMSG, channel_fd, area.data + BEGIN_AT, 0),
        call(_CLOSE, channel_fd),
    ])  # fmt: skip


def _expect(area, message_at, into, length):
    """A message for the machine code to receive."""
    part = area.data + message_at + _PART_PLACE
    area.write(message_at, _MESSAGE.pack(part, 1, area.data + CONTROL_AT, CONTROL_BYTES, area.data + into, length))


def _clearing(area):
    """Takes away all memory but libraries' code, the stack, the area, and what the kernel uses itself. Code is mapped in full."""
    pointer = ctypes.c_ulong()
    ctypes.CDLL(None).syscall(_ARCH_PRCTL, _GET_FS, ctypes.byref(pointer))
    # The kernel itself writes there (rseq), whenever the process moves to another processor.
    of_thread = pointer.value // PAGE * PAGE
    kept = [(area.start, area.end), (of_thread - PAGE, of_thread + 2 * PAGE)]
    calls, heap, at = [], [], FIRST_ADDRESS
    for mapping in mappings(detailed=False):
        if mapping.is_library or mapping.name in KERNELS or mapping.name == "[stack]":
            kept.append((mapping.start, mapping.end))
            if mapping.is_library:
                calls.append(call(MADVISE, mapping.start, mapping.end - mapping.start, POPULATE_READ, bound=ANYTHING))
        elif mapping.name == "[heap]":
            heap.append(mapping.start)
    calls += [call(_BRK, start, bound=ANYTHING) for start in heap[:1]]
    for start, end in sorted(kept):
        if start > at:
            calls.append(call(_MUNMAP, at, min(start, LAST_ADDRESS) - at))
        at = max(at, end)
    if at < LAST_ADDRESS:
        calls.append(call(_MUNMAP, at, LAST_ADDRESS - at))
    return calls


def settle(area):
    """In what was restored: has again what it held besides memory, and returns the variables that `restore` was called with.

    Ends the process where that cannot be.
    """
    try:
        description = _read_description()
        lambent_leftovers.unpack(description["left"], IMAGE_FD)
        os.umask(description["umask"])
        os.chdir(description["directory"])
        os.close(IMAGE_FD)
        for number, family, flags in description["sockets"]:
            _put_socket(number, family, flags)
        for number, path, flags, position in description["descriptors"]:
            _open_at(number, path, flags)
            os.lseek(number, position, os.SEEK_SET)
        return _given(area)
    except Exception as error:
        os.write(2, f"SnapStart: the environment could not be restored: {error}\n".encode())
    os._exit(EXIT_STATUS)


def rehearse(area, variables):
    """In a process that is about to end: touches what `settle` does, and returns the same."""
    _give(area, variables)
    os.pread(IMAGE_FD, TRAILER.size, 0)
    json.loads(b'{"left": [], "umask": 18}')
    os.umask(os.umask(0))
    os.chdir(os.getcwd())
    os.close(os.dup(IMAGE_FD))
    return _given(area)


def _give(area, variables):
    area.write(VARIABLES_AT, json.dumps({"variables": variables}).encode() + b"\0")


def _given(area):
    return json.loads(area.read_text(VARIABLES_AT))["variables"]


def _read_description():
    """What `lambent_image` wrote for us at the end."""
    _, start, length = TRAILER.unpack(os.pread(IMAGE_FD, TRAILER.size, 0))
    return json.loads(os.pread(IMAGE_FD, length, start))


def be_unlike_others(old, new):
    """In what was restored: environment variables, and the randomness that would be the same in every restored process."""
    for name in old:
        if name not in new:
            os.environ.pop(name, None)
    for name, value in new.items():
        if old.get(name) != value:
            os.environ[name] = value
    for module in {random, sys.modules.get("random", random)}:  # the function may have had it loaded anew
        module.seed()
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        multiprocessing.current_process().authkey = os.urandom(32)  # as long as its own
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(64), 64.0)


def _put_socket(number, family, flags):
    """One that is not connected: whoever uses it as the connection that it was finds that broken."""
    made = socket.socket(family, socket.SOCK_STREAM).detach()
    if made != number:
        os.dup2(made, number, inheritable=not flags & os.O_CLOEXEC)
        os.close(made)
    os.set_blocking(number, not flags & os.O_NONBLOCK)


def _open_at(number, path, flags):
    opened = os.open(path, flags | os.O_CLOEXEC)
    if opened != number:
        os.dup2(opened, number, inheritable=False)
        os.close(opened)
