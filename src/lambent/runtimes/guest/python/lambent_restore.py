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

PAGE = 4096
IMAGE_FD = 4
FILES_FROM_FD = 512  # files to be mapped are opened from here on, where programs seldom are
EXIT_STATUS = 71  # of a process that could not become what the image says

MAGIC = b"lambent image 1\n"
TRAILER = struct.Struct("<16sQQ")  # magic, offset and length of the description
CALL = struct.Struct("<8Q")  # number, six arguments, the largest result that is not an error
UNLESS_ERROR, ANYTHING = 0xFFFF_FFFF_FFFF_F000, 0xFFFF_FFFF_FFFF_FFFF

# Of the area: a guard, the machine code, then data: the registers, what the table points to, the table, variables; a guard.
DATA_BYTES = 0x180000
TABLE_AT = 0x2000
VARIABLES_AT = 0x140000
AREA_BYTES = 2 * PAGE + DATA_BYTES + PAGE
CALLS_MAX = (VARIABLES_AT - TABLE_AT) // CALL.size

_PROT_NONE, _PROT_READ, _PROT_WRITE, _PROT_EXEC = 0, 1, 2, 4
_MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_NORESERVE = 2, 0x20, 0x4000
_MAP_FAILED = ctypes.c_void_p(-1).value

# x86-64. save(context) keeps what a call must keep (rbx, rbp, r12–r15, rsp, the return address, the two control words of
# floating point), then forks by the bare system call, so that libc and Python in the copy believe that they are the original.
# The copy waits for ever: it is there to be read. load(context, table, count) makes the system calls of the table without
# touching the stack, ends the process if one fails, and returns from `save` with 0.
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
    "4989fd 4889f3 4889d5"  # r13 = context, rbx = table, rbp = count
    "4885ed 7438"  # next: if there is none left, go on at done
    "488b03 488b7b08 488b7310 488b5318 4c8b5320 4c8b4328 4c8b4b30 0f05"  # rax, rdi, rsi, rdx, r10, r8, r9; syscall
    "483b4338 7709 4883c340 48ffcd ebcf"  # a result beyond its bound: failed; else the next one
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
        self.identity = os.urandom(16).hex()
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
        self._load = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)(code + _LOAD_AT)

    def fork(self):
        """A copy of this process that does nothing: its number. In what is restored from its image: 0."""
        pid = self._save(self.data)
        if pid < 0:
            raise OSError(-pid, "clone")
        return pid

    def view(self):
        """The area's data, to be read and written."""
        return memoryview((ctypes.c_ubyte * DATA_BYTES).from_address(self.data)).cast("B")

    def load(self, calls):
        """Never returns here."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._load(self.data, self.data + TABLE_AT, calls)

    def _protect(self, start, length, rights):
        if self._libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(length), rights):
            raise OSError(ctypes.get_errno(), "mprotect")


def restore(area, variables):
    """Becomes the process of the image behind IMAGE_FD. Never returns; ends the process where that cannot be."""
    try:
        description = read_description(IMAGE_FD)
        if description is None or area is None or description["zygote"] != area.identity:
            raise OSError("the image was taken of another interpreter")
        for place, (path, status) in enumerate(description["files"]):
            _open_at(FILES_FROM_FD + place, path, os.O_RDONLY, status)
        for number, path, flags, position in description["descriptors"]:
            _open_at(number, path, flags, None)
            os.lseek(number, position, os.SEEK_SET)
        lambent_leftovers.unpack(description["left"], IMAGE_FD)
        for number, family, flags in description["sockets"]:
            _put_socket(number, family, flags)
        os.umask(description["umask"])
        os.chdir(description["directory"])
        data = area.view()
        start, length = description["data"]
        if os.preadv(IMAGE_FD, [data[:length]], start) != length:
            raise OSError("the image is incomplete")
        text = json.dumps(variables).encode()
        data[VARIABLES_AT : VARIABLES_AT + 8] = len(text).to_bytes(8, "little")
        data[VARIABLES_AT + 8 : VARIABLES_AT + 8 + len(text)] = text
        area.load(description["calls"])
    except Exception as error:
        os.write(2, f"SnapStart: the environment could not be restored: {error}\n".encode())
    os._exit(EXIT_STATUS)


def variables_given(area):
    """In what was restored: the variables that `restore` was called with."""
    data = area.view()
    length = int.from_bytes(data[VARIABLES_AT : VARIABLES_AT + 8], "little")
    return json.loads(bytes(data[VARIABLES_AT + 8 : VARIABLES_AT + 8 + length]))


def read_description(image):
    """What `lambent_image` wrote at the end; None when there is nothing whole."""
    end = os.lseek(image, 0, os.SEEK_END)
    if end < TRAILER.size:
        return None
    magic, start, length = TRAILER.unpack(os.pread(image, TRAILER.size, 0))
    return json.loads(os.pread(image, length, start)) if magic == MAGIC else None


def identify(status):
    """Of a file that is to be mapped: replaced by another one, its code would not fit the image's memory."""
    return [status.st_ino, status.st_size, status.st_mtime_ns]


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


def _open_at(number, path, flags, status):
    opened = os.open(path, flags | os.O_CLOEXEC)
    if status is not None and identify(os.fstat(opened)) != status:
        raise OSError(f"{path} is another file now")
    if opened != number:
        os.dup2(opened, number, inheritable=False)
        os.close(opened)
