"""The system-call filter, assembled as classic BPF.

It takes away what no function needs and what kernels were broken through: mounting, namespaces, tracing, key rings, BPF,
performance counters, io_uring, modules, clocks, core dumps. Calls of another architecture (i386, x32) end the process. What is newer
than this list answers ENOSYS, so that programs fall back to something older.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # evaluated, this would need Python 3.9
    _Instruction = tuple[int, int, int, int]  # code, how many to skip if true, if false, value

# Numbers from the kernel's headers: asm/unistd_64.h, asm-generic/unistd.h.
_X86_64 = {
    "ioctl": 16, "socket": 41, "socketpair": 53, "clone": 56, "ptrace": 101, "syslog": 103, "uselib": 134,
    "personality": 135, "ustat": 136, "sysfs": 139, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156,
    "setrlimit": 160, "prlimit64": 302,
    "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
    "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "create_module": 174, "init_module": 175, "delete_module": 176, "get_kernel_syms": 177, "query_module": 178,
    "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "mbind": 237, "set_mempolicy": 238,
    "get_mempolicy": 239, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256,
    "unshare": 272, "vmsplice": 278, "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300,
    "fanotify_mark": 301, "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
    "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_AARCH64 = {
    "lookup_dcookie": 18, "ioctl": 29, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42, "chroot": 51,
    "vhangup": 58, "quotactl": 60, "vmsplice": 75, "acct": 89, "personality": 92, "setrlimit": 164, "prlimit64": 261, "unshare": 97, "kexec_load": 104,
    "init_module": 105, "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142,
    "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "socket": 198, "socketpair": 199,
    "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "swapon": 224, "swapoff": 225, "mbind": 235,
    "get_mempolicy": 236, "set_mempolicy": 237, "migrate_pages": 238, "move_pages": 239, "perf_event_open": 241,
    "fanotify_init": 262, "fanotify_mark": 263, "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266,
    "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280,
    "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip
# From here on one number serves every architecture.
_COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
    "set_mempolicy_home_node": 450, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460, "lsm_list_modules": 461,
}  # fmt: skip
_LAST_KNOWN = 466  # removexattrat

# These are asked for by programs that have something to fall back to when the kernel "does not know" them.
_UNKNOWN = {"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key",
            "userfaultfd", "memfd_secret", "statmount", "listmount"}  # fmt: skip

_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag of clone()
_OWN_DIRECTORY = 0x200  # CLONE_FS, all that unshare() may be asked for: init does, see standby.py
_FAMILIES = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink"}  # of sockets; netlink only to ask for routes and names
_PROTOCOLS = (0, 1, 6, 17, 58)  # of inet and inet6: the usual one, ICMP, TCP, UDP, ICMPv6. Others may load modules
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: put characters into somebody else's terminal
_PERSONALITIES = (0x0, 0xFFFFFFFF)  # set the default one; ask
_CORE = 4  # RLIMIT_CORE: see `init.limit_resources`
_ITSELF = -10001 & 0xFFFFFFFF  # PIDFD_SELF: what process_madvise does then, madvise does as well

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _RETURN, _AND = 0x20, 0x06, 0x54
_EQUAL, _GREATER_EQUAL, _ANY_BIT = 0x15, 0x35, 0x45
_NUMBER_AT, _ARCH_AT = 0, 4
_HIGH = 4  # from an argument's lower half to its upper one


def _argument_at(index: int) -> int:
    """The offset of an argument's lower 32 bits (little-endian)."""
    return 16 + 8 * index


def refused(machine: str = platform.machine()) -> dict[str, int]:
    """Name → number of every call that the filter looks at on this architecture."""
    return {**{"x86_64": _X86_64, "aarch64": _AARCH64}[machine], **_COMMON}


def assemble(machine: str = platform.machine()) -> bytes:
    """The filter for one architecture. Raises KeyError for one that is not known."""
    code: list[_Instruction] = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
                                (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER_AT)]  # fmt: skip
    if machine == "x86_64":
        code += [(_GREATER_EQUAL, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    code += _search(_ranges(machine))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _ranges(machine: str) -> list[tuple[int, list[_Instruction]]]:
    """From which number on which rule holds."""
    conditions = _conditions()
    rules = {number: conditions.get(name) or _refusal(name) for name, number in refused(machine).items()}
    allow, unknown = [(_RETURN, 0, 0, _ALLOW)], [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    found: list[tuple[int, list[_Instruction]]] = []
    for number in range(_LAST_KNOWN + 2):
        rule = rules.get(number, allow) if number <= _LAST_KNOWN else unknown
        if not found or found[-1][1] != rule:
            found.append((number, rule))
    return found


def _refusal(name: str) -> list[_Instruction]:
    return [(_RETURN, 0, 0, _ERRNO | (errno.ENOSYS if name in _UNKNOWN else errno.EPERM))]


def _search(ranges: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    """By halves: the kernel tries every number, one after the other, whenever a process installs the filter."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below = _search(ranges[:middle])
    return [(_GREATER_EQUAL, len(below), 0, ranges[middle][0]), *below, *_search(ranges[middle:])]


def _conditions() -> dict[str, list[_Instruction]]:
    """What is asked of the arguments; each rule ends in a decision."""
    refuse, allow = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    no_family = (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT)
    unix, inet, inet6, netlink = _FAMILIES
    count = len(_PROTOCOLS)
    sockets = [
        (_LOAD, 0, 0, _argument_at(0)),
        (_EQUAL, 0, 1, unix),
        allow,
        (_EQUAL, 3, 0, inet),
        (_EQUAL, 2, 0, inet6),
        (_EQUAL, count + 4, 0, netlink),
        no_family,
        (_LOAD, 0, 0, _argument_at(2)),
        *((_EQUAL, count - i, 0, protocol) for i, protocol in enumerate(_PROTOCOLS)),
        (_RETURN, 0, 0, _ERRNO | errno.EPROTONOSUPPORT),
        allow,
        (_LOAD, 0, 0, _argument_at(2)),
        (_EQUAL, 0, 1, 0),  # NETLINK_ROUTE
        allow,
        no_family,
    ]
    done = (_RETURN, 0, 0, _ERRNO)  # says the kernel, and has done nothing
    core_limit = [
        (_LOAD, 0, 0, _argument_at(1)),
        (_EQUAL, 0, 10, _CORE),
        (_LOAD, 0, 0, _argument_at(2)),
        (_EQUAL, 0, 2, 0),
        (_LOAD, 0, 0, _argument_at(2) + _HIGH),
        (_EQUAL, 6, 0, 0),  # a question
        (_LOAD, 0, 0, _argument_at(3)),
        (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _argument_at(3) + _HIGH),
        (_EQUAL, 0, 1, 0),
        done,
        refuse,  # it wants an answer, too
        allow,
    ]
    return {
        "setrlimit": [(_LOAD, 0, 0, _argument_at(0)), (_EQUAL, 0, 1, _CORE), done, allow],
        "prlimit64": core_limit,
        "clone": [(_LOAD, 0, 0, _argument_at(0)), (_ANY_BIT, 0, 1, _NAMESPACES), refuse, allow],
        "unshare": [(_LOAD, 0, 0, _argument_at(0)), (_EQUAL, 0, 1, _OWN_DIRECTORY), allow, refuse],
        "socket": sockets,
        "socketpair": sockets,
        "ioctl": [(_LOAD, 0, 0, _argument_at(1)), *((_EQUAL, 2 - i, 0, n) for i, n in enumerate(_TERMINAL_INPUT)), allow,
                  refuse],
        "process_madvise": [(_LOAD, 0, 0, _argument_at(0)), (_EQUAL, 0, 1, _ITSELF), allow, refuse],
        "personality": [(_LOAD, 0, 0, _argument_at(0)), *((_EQUAL, 2 - i, 0, n) for i, n in enumerate(_PERSONALITIES)),
                        refuse, allow],
    }  # fmt: skip
