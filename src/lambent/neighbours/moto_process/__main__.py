"""python -m lambent.neighbours.moto_process LISTENER-FD FOLDER ENDPOINT-PORT"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import sys
import threading
from pathlib import Path

log = logging.getLogger("lambent.neighbours")


def main(listener_fd: int, folder: Path, endpoint_port: int) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o077)
    os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))  # the server comes first
    with contextlib.suppress(OSError):  # the server is spared when memory runs out; this one can be started again
        Path("/proc/self/oom_score_adj").write_text("0")
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # an earlier one may still be writing its last
    from lambent.neighbours.moto_process import patches

    patches.prepare(endpoint_port)
    from lambent.neighbours.moto_process import change_records
    from lambent.neighbours.moto_process.service import Service
    from lambent.neighbours.moto_process.state import State

    state = State.open(folder)
    service = Service(state)
    listener = socket.socket(fileno=listener_fd)
    listener.settimeout(None)
    expire = change_records.expire_regularly
    threading.Thread(target=expire, args=(state,), daemon=True, name="time to live").start()
    threading.Thread(target=service.accept, args=(listener,), daemon=True, name="accept").start()
    while sys.stdin.buffer.read(4096):
        pass  # the server holds the other end
    service.finish()
    state.close()
    os._exit(0)  # threads that wait for a client must not hold us


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
