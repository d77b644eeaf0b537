"""The filter's instructions, run as the kernel runs them: what each system call is answered."""

from __future__ import annotations

import errno
import struct

import pytest

from lambent.sandbox.privileged import seccomp

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, KILLED, REFUSED, UNKNOWN = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
NO_FAMILY, NO_PROTOCOL = 0x00050000 | errno.EAFNOSUPPORT, 0x00050000 | errno.EPROTONOSUPPORT
DONE = 0x00050000  # nothing, and says that it was
CONDITIONAL = {"clone", "socket", "socketpair", "ioctl", "personality", "process_madvise", "setrlimit", "prlimit64"}
UNKNOWN_NAMES = {"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key",
                 "userfaultfd", "memfd_secret", "statmount", "listmount"}  # fmt: skip
NEWEST = 466
machines = pytest.mark.parametrize("machine", ARCHITECTURES)


class Filter:
    def __init__(self, machine: str, architecture: int | None = None) -> None:
        self._code = list(struct.iter_unpack("HBBI", seccomp.assemble(machine)))
        self._architecture = ARCHITECTURES[machine] if architecture is None else architecture

    def answer(self, number: int, *arguments: int) -> int:
        """As seccomp(2) and the kernel's description of classic BPF have it."""
        six = [argument & (1 << 64) - 1 for argument in (*arguments, *[0] * (6 - len(arguments)))]
        data = struct.pack("=IIQ6Q", number, self._architecture, 0, *six)
        at, accumulator = 0, 0
        while True:
            code, if_true, if_false, value = self._code[at]
            at += 1
            if code == 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            elif code == 0x06:
                return int(value)
            else:
                true = {
                    0x15: accumulator == value,
                    0x35: accumulator >= value,
                    0x45: bool(accumulator & value),
                }[code]
                at += if_true if true else if_false


@machines
def test_every_call_has_its_answer(machine: str) -> None:
    rules, names = Filter(machine), {number: name for name, number in seccomp.refused(machine).items()}
    for number in range(NEWEST + 1):
        name = names.get(number)
        if name is None:
            assert rules.answer(number) == ALLOWED, number
        elif name not in CONDITIONAL:
            assert rules.answer(number) == (UNKNOWN if name in UNKNOWN_NAMES else REFUSED), name


@machines
def test_newer_calls_are_unknown(machine: str) -> None:
    rules = Filter(machine)
    assert {rules.answer(number) for number in (NEWEST + 1, 500, 1_000, 0x3FFFFFFF)} == {UNKNOWN}


@machines
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    assert {Filter(machine, 0x40000003).answer(number) for number in (0, 20, 165, 1_000)} == {KILLED}


def test_calls_of_x32_end_the_process() -> None:
    rules = Filter("x86_64")
    assert {rules.answer(number) for number in (0x40000000, 0x40000000 + 39, 0xFFFFFFFF)} == {KILLED}


@machines
def test_some_calls_are_allowed_for_some_arguments(machine: str) -> None:
    rules, numbers = Filter(machine), seccomp.refused(machine)
    expected = [
        ("clone", (17,), ALLOWED), ("clone", (0x003D0F00,), ALLOWED), ("clone", (0x10000000 | 17,), REFUSED),
        ("clone", (0x20000,), REFUSED), ("clone", (0x80,), REFUSED),
        ("socket", (1, 1, 0), ALLOWED), ("socket", (2, 1, 0), ALLOWED), ("socket", (10, 2, 0), ALLOWED),
        ("socket", (2, 1, 6), ALLOWED), ("socket", (10, 2, 17), ALLOWED), ("socket", (2, 2, 1), ALLOWED),
        ("socket", (10, 2, 58), ALLOWED), ("socket", (1, 1, 132), ALLOWED),
        ("socket", (2, 1, 132), NO_PROTOCOL), ("socket", (10, 6, 33), NO_PROTOCOL), ("socket", (2, 1, 262), NO_PROTOCOL),
        ("socket", (2, 2, 136), NO_PROTOCOL), ("socket", (10, 1, -1), NO_PROTOCOL),
        ("socket", (16, 3, 0), ALLOWED), ("socket", (16, 3, 9), NO_FAMILY), ("socket", (17, 3, 0), NO_FAMILY),
        ("socketpair", (1, 1, 0), ALLOWED), ("socketpair", (40, 1, 0), NO_FAMILY),
        ("ioctl", (0, 0x5401), ALLOWED), ("ioctl", (0, 0x5412), REFUSED), ("ioctl", (0, 0x541C), REFUSED),
        ("personality", (0,), ALLOWED), ("personality", (0xFFFFFFFF,), ALLOWED), ("personality", (0x40000,), REFUSED),
        ("process_madvise", (-10001,), ALLOWED), ("process_madvise", (-10000,), REFUSED), ("process_madvise", (3,), REFUSED),
        ("process_madvise", (0,), REFUSED), ("process_madvise", (-1,), REFUSED),
        ("setrlimit", (4, 0x7FFF00000000), DONE), ("setrlimit", (7, 0x1000), ALLOWED),
        ("prlimit64", (0, 4, 0, 0x1000), ALLOWED), ("prlimit64", (0, 4, 0x1000, 0), DONE),
        ("prlimit64", (0, 4, 0x7FFF00000000, 0), DONE), ("prlimit64", (5, 4, 0x1000, 0x1000), REFUSED),
        ("prlimit64", (5, 4, 0x1000, 0x7FFF00000000), REFUSED), ("prlimit64", (0, 7, 0x1000, 0x1000), ALLOWED),
    ]  # fmt: skip
    for name, arguments, answer in expected:
        assert rules.answer(numbers[name], *arguments) == answer, (name, arguments)
