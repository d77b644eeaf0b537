"""The road's figures, each beside a yardstick in the same run: cold start, warm invoke, memory, start of the server.

    python bench/road.py [--quick] [--json FILE]

Yardsticks: `python3 -S -E -c pass` (the function's own interpreter) for cold starts; nginx with one worker that answers
200, driven by wrk with one thread, for warm ones. Without nginx or wrk the warm part says so and is left out. Ratios are
of medians. docs/promises.md holds the goals.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROLE = "arn:aws:iam::000000000000:role/bench"
HELLO = "def handler(event, context):\n    return {'message': 'hello'}\n"
ECHO = "def handler(event, context):\n    return event\n"
SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event['s'])\n"
EVENT = json.dumps({"text": "x" * 1000}).encode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`lambent up` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "lambent", "up", "--port", str(self.port), "--data", str(directory)]
        self.log = (directory.parent / "server.log").open("wb")
        begun = time.perf_counter()
        # What is measured is the machine: an account's quota of requests, 10,000 a second, is not to be in the way.
        quotas = {"LAMBENT_ACCOUNT_CONCURRENCY": "1000000"}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env={**os.environ, **quotas})
        self.start_s = self._until_healthy(begun)

    def _until_healthy(self, begun: float) -> float:
        while time.perf_counter() - begun < 30:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/_lambent/health")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - begun
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended: see {self.log.name}")
            time.sleep(0.005)
        raise SystemExit("the server did not become healthy in 30 s")

    def client(self) -> Any:
        return boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}, read_timeout=120),
        )

    def tree(self) -> list[int]:
        """The process ids of the server and everything below it."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    stat = Path("/proc", entry, "stat").read_text()
                    children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += children.get(pid, [])
        return found

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


def memory_mib(pid: int, *fields: str) -> float:
    """The sum of these fields of a process's smaps_rollup."""
    with contextlib.suppress(OSError):
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in fields) / 1024
    return 0.0


def archive(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("index.py", source)
    return buffer.getvalue()


def create(client: Any, name: str, source: str, runtime: str, **settings: Any) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=runtime,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": archive(source)},
        **{"Timeout": 30, **settings},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


class Caller:
    """One kept connection that invokes by raw HTTP, so that the client costs little."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def invoke(self, name: str, body: bytes = b"{}") -> bytes:
        self.socket.sendall(
            b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n"
            % (name.encode(), len(body))
            + body
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._read()
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        if b" 200 " not in lines[0] or any(line.startswith(b"x-amz-function-error") for line in lines):
            raise SystemExit(f"an invocation failed: {received!r}")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        while len(rest) < length:
            rest += self._read()
        return rest

    def _read(self) -> bytes:
        data = self.socket.recv(1 << 20)
        if not data:
            raise SystemExit("the server closed the connection")
        return data


def timed_ms(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return (time.perf_counter() - begun) * 1000


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "min": round(ordered[0], 3),
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[int(len(ordered) * 0.95)], 3),
    }


COLD_PAUSE_S = 0.1  # between two cold starts: time enough to make the next cell ahead


def cold(server: Server, client: Any, runtime: str, interpreter: str, runs: int) -> dict[str, Any]:
    """Interleaved: a cold hello by HTTP, and the bare interpreter.

    First with a pause before each, as cold starts come, then one right after the other, which soon finds no cell waiting.
    """
    for number in range(2 * runs + 3):
        create(client, f"cold-{number}", HELLO, runtime)
    caller = Caller(server.port)
    for number in range(3):  # the zygote's own start is not a cold start's
        caller.invoke(f"cold-{2 * runs + number}")
    paced, yardstick = _interleaved(caller, interpreter, range(runs), COLD_PAUSE_S)
    rushed, rushed_yardstick = _interleaved(caller, interpreter, range(runs, 2 * runs), 0.0)
    return {
        "cold_ms": spread(paced),
        "python_c_pass_ms": spread(yardstick),
        "ratio": round(statistics.median(paced) / statistics.median(yardstick), 3),
        "back_to_back_ms": spread(rushed),
        "back_to_back_ratio": round(statistics.median(rushed) / statistics.median(rushed_yardstick), 3),
    }


def _interleaved(caller: Caller, interpreter: str, numbers: range, pause_s: float) -> tuple[list[float], list[float]]:
    starts, yardstick = [], []
    for number in numbers:
        time.sleep(pause_s)
        starts.append(timed_ms(lambda name=f"cold-{number}": caller.invoke(name)))  # type: ignore[misc]
        yardstick.append(timed_ms(lambda: subprocess.run([interpreter, "-S", "-E", "-c", "pass"], check=True)))
    return starts, yardstick


WRK_SCRIPT = """
wrk.method = "POST"
wrk.body = '%s'
wrk.path = "/2015-03-31/functions/echo/invocations"
wrk.headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=test/20261121/us-east-1/lambda/aws4_request, \
SignedHeaders=host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
wrk.headers["X-Amz-Date"] = "20261121T080000Z"
"""


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[int]:
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        f"worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log /dev/null;\n"
        "events { worker_connections 512; }\n"
        "http { access_log off; keepalive_requests 100000000;\n"
        f'  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }} }}\n'
    )
    process = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def wrk(url: str, seconds: int, *arguments: str) -> tuple[float, float]:
    """(requests a second, p99 in milliseconds)."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", "--latency", *arguments, url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = next(float(line.split()[1]) for line in output.splitlines() if line.startswith("Requests/sec"))
    p99 = next(line.split()[1] for line in output.splitlines() if line.strip().startswith("99%"))
    unit = 1000.0 if p99.endswith("s") and not p99.endswith(("ms", "us")) else 0.001 if p99.endswith("us") else 1.0
    if "Non-2xx" in output:
        raise SystemExit(output)
    return rate, float(p99.rstrip("mus")) * unit


def warm(server: Server, client: Any, runtime: str, directory: Path, rounds: int, seconds: int) -> dict[str, Any]:
    create(client, "echo", ECHO, runtime, MemorySize=1769)
    script = directory / "invoke.lua"
    script.write_text(WRK_SCRIPT % EVENT.decode())
    ours, theirs, p99s = [], [], []
    with nginx(directory) as port:
        wrk(f"http://127.0.0.1:{server.port}", 2, "-s", str(script))  # until the environments are there
        for _ in range(rounds):
            rate, p99 = wrk(f"http://127.0.0.1:{server.port}", seconds, "-s", str(script))
            ours.append(rate)
            p99s.append(p99)
            theirs.append(wrk(f"http://127.0.0.1:{port}", seconds)[0])
    return {
        "invokes_per_s": spread(ours),
        "p99_ms": spread(p99s),
        "nginx_per_s": spread(theirs),
        "ratio": round(statistics.median(ours) / statistics.median(theirs), 3),
    }


def is_caged(pid: int) -> bool:
    """Cages have users of their own; what the server does besides, such as preparing runtimes, is root's."""
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid)).stat().st_uid != 0
    return False


def density(server: Server, client: Any, runtime: str, count: int) -> dict[str, Any]:
    """`count` environments of one function at once, then what each keeps for itself when idle."""
    create(client, "dense", SLEEP, runtime)
    before = set(server.tree())
    threads = [threading.Thread(target=lambda: Caller(server.port).invoke("dense", b'{"s": 8}')) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(1)
    new = {pid for pid in set(server.tree()) - before if is_caged(pid)}
    own = sum(memory_mib(pid, "Private_Clean", "Private_Dirty") for pid in new)
    return {
        "environments": count,
        "processes": len(new),
        "own_mib_each": round(own / count, 2),
        "proportional_mib_total": round(sum(memory_mib(pid, "Pss") for pid in new), 1),
    }


def measure(quick: bool) -> dict[str, Any]:
    """All of it, in minutes; `quick` takes half a minute and gives rougher figures."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = os.path.realpath(sys.executable)
    figures: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "kernel": os.uname().release}, "python": version}
    directory = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    directory.chmod(0o755)
    Server(directory / "data").stop()  # the first start looks for interpreters; what counts is every other one
    server = Server(directory / "data")
    try:
        client = server.client()
        idle_mib = sum(memory_mib(pid, "Pss") for pid in server.tree())
        figures["start"] = {"healthy_after_s": round(server.start_s, 3), "idle_mib": round(idle_mib, 1)}
        with urlopen_health(server.port) as health:
            figures["health"] = json.load(health)
        runtime = f"python{version}"
        figures["cold"] = cold(server, client, runtime, interpreter, 15 if quick else 60)
        if shutil.which("nginx") and shutil.which("wrk"):
            rounds, seconds = (1, 3) if quick else (5, 5)
            figures["warm"] = warm(server, client, runtime, directory, rounds, seconds)
        else:
            figures["warm"] = "left out: it needs nginx and wrk (apt-get install nginx-light wrk)"
        figures["density"] = density(server, client, runtime, 50 if quick else 300)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer runs; figures are rougher")
    options.add_argument("--json", type=Path, help="write the figures there")
    chosen = options.parse_args()
    figures = measure(chosen.quick)
    print(json.dumps(figures, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


def urlopen_health(port: int) -> Any:
    import urllib.request

    return urllib.request.urlopen(f"http://127.0.0.1:{port}/_lambent/health")


if __name__ == "__main__":
    main()
