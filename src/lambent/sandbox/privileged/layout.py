"""What every cage looks like. The zygotes build it and the printed plan shows it, both from here."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

USER_ID, GROUP_ID = 993, 990  # as the function sees itself; AWS's numbers
USER_NAME = "sbx_user1051"
# Each launcher on a host takes a block of user ids for itself, and each environment one of the block. The blocks begin
# above what systemd and the usual /etc/subuid give to containers.
HOST_IDS_FROM = 0x7000_0000
HOST_IDS_PER_BLOCK = 65_536
HOST_ID_BLOCKS = 256
HOST_ID_LOCK = "/run/lambent-ids-{}"
HOST_NAME = "lambent"
RUNTIME_API_PORT = 9001
PROCESSES_MAX = 1_024
DESCRIPTORS_MAX = 1_024
SHARED_MEMORY = "64m"  # /dev/shm; counts as the function's memory

# Where launches name a program to be started ahead: the runtime waits for an image instead, with nothing else in its memory.
RESTORE: dict[str, object] = {"restore": True}

PRIVATE_DIR = "/run/lambent"  # in a zygote's root only while it starts: its own program

# The host's directories that everybody sees, read-only. /usr/local, /usr/src and /usr/include are not needed.
SYSTEM_DIRS = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libexec", "/usr/share")
TOP_DIRS = ("/bin", "/sbin", "/lib", "/lib64", "/lib32")  # links into /usr on a merged system
SYSTEM_FILES = (
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted", "/etc/crypto-policies", "/etc/alternatives", "/etc/ld.so.cache", "/etc/fonts",
    "/etc/mime.types", "/etc/java-*", "/etc/services", "/etc/protocols",
)  # fmt: skip

DIRECTORIES = (
    "/proc", "/dev", "/dev/shm", "/tmp", "/var/task", "/var/runtime", "/var/lang", "/var/tmp", "/opt", "/etc", "/mnt",
    "/run", PRIVATE_DIR,
    # For what starts before code and layers are there: of LD_LIBRARY_PATH the dynamic linker never looks again into a
    # directory that was missing.
    "/var/task/lib", "/opt/lib",
)  # fmt: skip
LINKS = {"/var/run": "/run", "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
         "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2"}  # fmt: skip
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}

FILES = {
    "/etc/passwd": f"root:x:0:0:root:/root:/sbin/nologin\n{USER_NAME}:x:{USER_ID}:{GROUP_ID}::/home/{USER_NAME}:/sbin/nologin\n",
    "/etc/group": f"root:x:0:\n{USER_NAME}:x:{GROUP_ID}:\n",
    # The last two are where extensions have telemetry delivered.
    "/etc/hosts": f"127.0.0.1 localhost {HOST_NAME} sandbox.localdomain sandbox\n::1 localhost\n",
    "/etc/hostname": f"{HOST_NAME}\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "/etc/resolv.conf": "options timeout:1 attempts:1\n",
    "/etc/os-release": 'NAME="Lambent"\nID=lambent\nPRETTY_NAME="Lambent"\n',
}

# Parts of /proc that tell of the host, or that change it.
MASKED_FILES = ("/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/kallsyms", "/proc/sysrq-trigger",
                "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats", "/proc/kpagecount",
                "/proc/kpageflags", "/proc/kpagecgroup")  # fmt: skip
READ_ONLY_DIRS = ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs")

NAMESPACES = ("mount", "pid", "ipc", "uts", "network", "cgroup", "user")


def files(resolvers: Sequence[str]) -> dict[str, str]:
    """What is written for every cage, by path; `resolvers` are the name servers that it may ask."""
    servers = "".join(f"nameserver {address}\n" for address in resolvers)
    return {**FILES, "/etc/resolv.conf": servers + FILES["/etc/resolv.conf"]}


def host_mounts() -> list[tuple[str, str]]:
    """(source, target) of the system's directories and files that exist on this host."""
    shown = [path for path in SYSTEM_DIRS + tuple(d for d in TOP_DIRS if not os.path.islink(d)) if os.path.isdir(path)]
    for pattern in SYSTEM_FILES:
        shown.extend(sorted(glob.glob(pattern)))
    return [(path, path) for path in shown]


def top_links() -> dict[str, str]:
    """The links /bin → usr/bin … as they are on this host."""
    return {path: os.readlink(path) for path in TOP_DIRS if os.path.islink(path)}
