"""What Lambent is measured beside that is no peer: nginx with one worker, and a socket that gives back what it is given."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambent.bench.errors import NotMeasured
from lambent.bench.server import free_port

START_TIMEOUT_S: Final = 10.0
NGINX: Final = """worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log /dev/null;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {directory}; proxy_temp_path {directory};
  fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""


def nginx_program() -> str | None:
    """Debian has it where only root's PATH looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin:/usr/local/sbin")


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[int]:
    """The port of one that answers 200 to everything. Raises NotMeasured where there is none."""
    program = nginx_program()
    if program is None:
        raise NotMeasured("nginx is not installed")
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, port=port))
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        until_listening(port, process, "nginx")
        yield port
    finally:
        process.terminate()
        process.wait()


def until_listening(port: int, process: subprocess.Popen[bytes], name: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Raises NotMeasured when the process ends before, or takes longer."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if process.poll() is not None:
            raise NotMeasured(f"{name} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise NotMeasured(f"{name} did not listen within {timeout_s:g} s")
        time.sleep(0.02)


def there_and_back_ms(payload: bytes, times: int) -> list[float]:
    """Copying it through a TCP socket of loopback and back again, so twice; the other end is a thread that gives back all it has read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_give_back, args=(listener, len(payload)), daemon=True)
        thread.start()
        with socket.create_connection(listener.getsockname()) as near:
            taken = []
            for _ in range(times):
                begun = time.perf_counter()
                near.sendall(payload)
                _read(near, len(payload))
                taken.append((time.perf_counter() - begun) * 1000)
        thread.join()
    return taken


def _give_back(listener: socket.socket, size: int) -> None:
    far, _ = listener.accept()
    with far:
        while content := _read(far, size):
            far.sendall(content)


def _read(connection: socket.socket, size: int) -> bytes | bytearray:
    """So many bytes, or none when the other side has closed."""
    content = bytearray(size)
    view, there = memoryview(content), 0
    while there < size:
        count = connection.recv_into(view[there:])
        if not count:
            return b""
        there += count
    return content
