"""What a caged process may not become, and which of the kernel's doors are shut."""

from __future__ import annotations

import os
import resource

import pytest

from cagebench import Bench
from conftest_types import Attempt
from lambent.sandbox.privileged import seccomp

NO_CORE = [1, 1] if resource.getrlimit(resource.RLIMIT_CORE)[1] else [0, 0]


async def test_it_is_nobody_without_any_privilege(attempt: Attempt) -> None:
    result = await attempt("""
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
tell([os.getresuid(), os.getresgid(), os.getgroups(), {k: status[k] for k in
     ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')}, open('/proc/self/uid_map').read().split()])
""")
    none = "0" * 16
    assert result[0] == [993] * 3
    assert result[1] == [990] * 3
    assert result[2] == []
    assert result[3] == {"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
                         "NoNewPrivs": "1", "Seccomp": "2"}  # fmt: skip
    assert result[4][0] == "993"
    assert int(result[4][1]) >= 0x7000_0000
    assert result[4][2] == "1"


async def test_no_two_environments_are_the_same_user_on_the_host(bench: Bench) -> None:
    async def host_id() -> str:
        running = await bench.run("#!/bin/bash\ncat /proc/self/uid_map; sleep 1000\n")
        return (await running.printed("\n")).split()[1]

    ids = [await host_id() for _ in range(4)]
    assert len(set(ids)) == 4


async def test_it_cannot_become_another_user(attempt: Attempt) -> None:
    result = await attempt("""
tell([attempt(os.setuid, 0), attempt(os.setgid, 0), attempt(os.setgroups, [0]), attempt(os.setresuid, 0, 0, 0),
      attempt(os.setreuid, 200000, 200000)])
""")
    assert set(result) <= {"EPERM", "EINVAL"}


async def test_namespaces_mounts_and_roots_are_out_of_reach(attempt: Attempt) -> None:
    result = await attempt("""
namespace = os.open('/proc/self/ns/net', os.O_RDONLY)
tell({
    'unshare files': call(272, 0x400), 'unshare mount and directory': call(272, 0x20200), 'unshare none': call(272, 0),
    'unshare user': call(272, 0x10000000), 'unshare mount': call(272, 0x20000), 'unshare all': call(272, 0x7e020000),
    'clone user': call(56, 0x10000000 | 17, 0, 0, 0, 0), 'clone3': call(435, bytes(88), 88), 'setns': call(308, namespace, 0),
    'mount': call(165, b'none', b'/tmp', b'tmpfs', 0, 0), 'umount': call(166, b'/proc', 2), 'chroot': call(161, b'/tmp'),
    'pivot_root': call(155, b'/tmp', b'/tmp'), 'open_tree': call(428, -100, b'/', 1), 'fsopen': call(430, b'tmpfs', 0),
    'move_mount': call(429, -100, b'/', -100, b'/tmp', 0), 'mount_setattr': call(442, -100, b'/', 0, bytes(32), 32),
})
""")
    assert result.pop("clone3") == "ENOSYS"
    assert set(result.values()) == {"EPERM"}, result


async def test_the_kernels_dangerous_calls_are_refused(attempt: Attempt) -> None:
    result = await attempt("""
tell({
    'ptrace': call(101, 16, 1, 0, 0), 'bpf': call(321, 0, bytes(128), 128), 'perf': call(298, bytes(128), 0, -1, -1, 0),
    'process_vm_readv': call(310, 1, None, 0, None, 0, 0), 'kcmp': call(312, 1, 1, 0, 0, 0), 'syslog': call(103, 10, 0, 0),
    'open_by_handle': call(304, 0, bytes(64), 0), 'kexec': call(246, 0, 0, 0, 0), 'reboot': call(169, 0xfee1dead, 672274793, 0),
    'init_module': call(175, bytes(8), 8, b''), 'swapon': call(167, b'/tmp/x', 0), 'acct': call(163, b'/tmp/x'),
    'iopl': call(172, 3), 'clock_settime': call(227, 0, bytes(16)), 'settimeofday': call(164, bytes(16), None),
    'adjtimex': call(159, bytes(208)), 'sethostname': call(170, b'evil', 4), 'fanotify': call(300, 0, 0),
    'pidfd_getfd': call(438, 0, 0, 0), 'vmsplice': call(278, 1, None, 0, 0), 'ldt': call(154, 0, None, 0),
    'personality': call(135, 0x0040000), 'process_madvise': call(440, os.pidfd_open(os.getppid() or os.getpid()), bytes(16), 1, 4, 0),
})
""")
    assert set(result.values()) == {"EPERM"}, result
    result = await attempt("""
tell([call(425, 8, bytes(120)), call(250, 0, -3, 0), call(248, b'user', b'x', b'y', 1, -3), call(323, 0), call(999, 0)])
""")
    assert set(result) == {"ENOSYS"}


async def test_sockets_of_strange_families_are_refused(attempt: Attempt) -> None:
    result = await attempt("""
families = {name: attempt(socket.socket, number, kind) for name, number, kind in (
    ('packet', 17, 3), ('vsock', 40, 1), ('alg', 38, 5), ('bluetooth', 31, 3), ('xdp', 44, 3), ('can', 29, 3), ('rds', 21, 5),
    ('tipc', 30, 1), ('netfilter', 16, 3))}
families['audit'] = attempt(socket.socket, 16, 3, 9)
families['raw'] = attempt(socket.socket, 2, 3, 1)
families['usual'] = [attempt(socket.socket, f, 1) for f in (1, 2, 10)]
tell(families)
""")
    assert result.pop("usual") == ["ok"] * 3
    assert result.pop("netfilter") == "ok"  # protocol 0 is NETLINK_ROUTE, which getaddrinfo needs
    assert result.pop("raw") == "EPERM"
    assert set(result.values()) == {"EAFNOSUPPORT"}, result


async def test_protocols_that_would_load_modules_or_that_nobody_needs_are_refused(attempt: Attempt) -> None:
    result = await attempt("""
strange = {'sctp': (1, 132), 'dccp': (6, 33), 'mptcp': (1, 262), 'udplite': (2, 136), 'l2tp': (2, 115)}
usual = ((1, 0), (2, 0), (1, 6), (2, 17))
tell([{name: attempt(socket.socket, family, *rest) for name, rest in strange.items() for family in (2, 10)},
      [attempt(socket.socket, family, *rest) for rest in usual for family in (2, 10)]])
""")
    assert set(result[0].values()) == {"EPROTONOSUPPORT"}
    assert set(result[1]) == {"ok"}


async def test_limits_cannot_be_raised(attempt: Attempt) -> None:
    result = await attempt("""
import resource
def raised(kind):
    try:
        resource.setrlimit(kind, (1 << 20, 1 << 20))
        return 'ok'
    except (OSError, ValueError):
        return 'refused'
tell([resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE),
      raised(resource.RLIMIT_NOFILE), raised(resource.RLIMIT_NPROC), attempt(os.nice, -5)])
""")
    assert result[:2] == [[1024, 1024], NO_CORE]
    assert result[2:] == ["refused", "refused", "EPERM"]


async def test_its_crash_starts_no_program_of_the_hosts(attempt: Attempt) -> None:
    """A limit of 1 is what the kernel takes for that; with 0 it starts the one that core_pattern names, outside of the cage."""
    result = await attempt("""
import resource
limits, core = struct.pack('QQ', 0, 0), resource.RLIMIT_CORE
answers = [call({'x86_64': 160, 'aarch64': 164}[os.uname().machine], core, limits), attempt(resource.setrlimit, core, (0, 0)),
           attempt(resource.prlimit, 0, core, (0, 0)), attempt(resource.prlimit, 1, core, (0, 0))]
tell([answers, resource.getrlimit(core), resource.prlimit(1, core)])
""")
    # Programs that wish for none are told that they have that.
    assert result == [["ok", "ok", "EPERM", "EPERM"], NO_CORE, NO_CORE]


async def test_a_terminals_input_cannot_be_forged(attempt: Attempt) -> None:
    assert await attempt("tell([call(16, 0, 0x5412, b'x'), call(16, 0, 0x541C, b'x')])") == ["EPERM", "EPERM"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="i386 and x32 exist on x86-64 only")
async def test_calls_of_another_architecture_end_the_process(bench: Bench, prologue: str) -> None:
    x32 = await bench.run(prologue + "call(0x40000000 + 39)\ntell('alive')\n")
    how = await x32.exited()
    assert how.signal == 31
    assert b"alive" not in x32.output
    i386 = await bench.run(
        prologue
        + """
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex('b814000000cd80c3'))  # mov eax, 20 (getpid); int 0x80; ret
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
ctypes.CFUNCTYPE(ctypes.c_int)(address)()
tell('alive')
"""
    )
    how = await i386.exited()
    assert how.signal in (31, 11)  # 11 where the kernel was built without i386
    assert b"alive" not in i386.output


def test_the_filter_is_whole_on_every_architecture() -> None:
    for machine in ("x86_64", "aarch64"):
        program = seccomp.assemble(machine)
        assert len(program) % 8 == 0
        assert {"mount", "ptrace", "bpf", "unshare", "setns", "clone3", "io_uring_setup"} <= set(
            seccomp.refused(machine)
        )
