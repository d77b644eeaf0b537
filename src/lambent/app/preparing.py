"""What is done with the rights that the server was started with; afterwards they are gone."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs

import lambent
from lambent.config import Config, ConfigError
from lambent.model.cage import IsolationLevel
from lambent.runtimes.build import missing
from lambent.runtimes.find import Installations
from lambent.sandbox.descent import become
from lambent.sandbox.descriptors import raise_limit
from lambent.sandbox.launcher import LauncherHandle, start_launcher
from lambent.sandbox.machine import detect
from lambent.sandbox.memory import total_mib

log = logging.getLogger(__name__)

LISTEN_BACKLOG: Final = 4096
NICENESS: Final = -10  # of the server; see docs/decisions/0011-the-warm-road-calls-back.md
SPARED: Final = -950  # oom_score_adj: functions have 500, and can choose nothing below -900
ROOT_FOLDERS: Final = ("sandbox", "runtimes")  # of the data directory: the launcher's, and what zygotes execute


@attrs.frozen(kw_only=True)
class Prepared:
    """What had to be made with the rights that the process was started with."""

    listener: socket.socket
    installations: Installations
    level: IsolationLevel
    launcher: LauncherHandle | None
    builder: subprocess.Popen[bytes] | None  # builds the runtimes' directories as root
    lock: int  # the data directory's, held until the process ends


def prepare(config: Config) -> Prepared:
    """Everything that needs the rights of whoever started the server; afterwards they are gone."""
    is_root = os.geteuid() == 0
    raise_limit()
    _be_spared()
    config.data_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(config.data_dir)
    listener = _listen(config.host, config.port)
    port = listener.getsockname()[1]
    level = IsolationLevel(config.isolation) if config.isolation != "auto" else detect().level
    config.refuse_level(level.value)
    installations = Installations.find(config.data_dir)
    launcher = None
    if level is not IsolationLevel.PROCESS:
        allowed = {mount.source for found in installations.by_runtime.values() for mount in found.host_mounts}
        allowed.add(config.data_dir / "runtimes")
        launcher = start_launcher(
            config.data_dir / "sandbox", sorted(allowed), level=level, endpoint_port=port,
            internet=config.internet, internet_private=config.internet_private,
            ready_memory_mib=config.ready_memory_mib, memory_reserve_mib=memory_reserve_mib(config),
        )  # fmt: skip
        for warning in launcher.warnings:
            log.warning("%s", warning)
    elif config.internet:
        log.warning(
            "internet = true changes nothing at isolation level process: functions have this machine's whole network"
        )
    builder = None
    if is_root:
        uid, gid = config.service_ids()
        if missing(installations):
            command = [sys.executable, "-m", "lambent.runtimes.build", str(config.data_dir)]
            builder = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        if launcher is not None:  # whose functions are not this process's children, which would have it too
            _be_served_first()
        _give(config.data_dir, uid, gid)
        become(uid, gid, [*_own_directories(), config.data_dir])
    os.umask(0o077)  # what is stored holds secrets; directories that others must enter are opened one by one
    return Prepared(
        listener=listener,
        installations=installations,
        level=level,
        launcher=launcher,
        builder=builder,
        lock=lock,
    )


def _be_spared() -> None:
    """When memory runs out, the kernel ends functions first."""
    with contextlib.suppress(OSError):  # only root may
        Path("/proc/self/oom_score_adj").write_text(str(SPARED))


def _be_served_first() -> None:
    """Every invocation passes here twice, so whoever keeps this process waiting keeps all functions waiting."""
    with contextlib.suppress(OSError):  # root of a container may lack the right
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)


def memory_reserve_mib(config: Config) -> int:
    """What of the machine's memory functions may not have."""
    return config.memory_reserve_mib or int(min(max(total_mib() / 40, 64), 512))


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another by --port") from error
    listener.listen(LISTEN_BACKLOG)
    listener.setblocking(False)
    return listener


def _lock(data_dir: Path) -> int:
    """One server for a data directory. Raises ConfigError while another one runs."""
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"another server is using {data_dir}; stop it, or give another directory by --data") from None
    return descriptor


def _own_directories() -> list[Path]:
    """Where Python and this package are read from."""
    places = {sys.prefix, sys.base_prefix, str(Path(lambent.__file__).parent), *sys.path}
    return [Path(place) for place in places if place and Path(place).is_dir()]


def _give(data_dir: Path, uid: int, gid: int) -> None:
    """Makes the service user the owner of the data directory, once; what root will execute stays root's."""
    if data_dir.stat().st_uid == uid:
        return
    for directory, folders, files in os.walk(data_dir):
        if Path(directory) == data_dir:
            folders[:] = [folder for folder in folders if folder not in ROOT_FOLDERS]
        os.chown(directory, uid, gid)
        for name in files:
            os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)
