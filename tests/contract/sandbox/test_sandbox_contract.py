"""What every level of isolation promises (`ports.Sandbox`, `ports.Cage`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from pathlib import Path

import pytest

from cagebench import Bench
from lambent.model.errors import EntrypointError
from lambent.sandbox.caged import LauncherCage
from lambent.sandbox.process import ProcessCage


async def test_a_program_runs_with_exactly_the_variables_it_was_given(bench: Bench) -> None:
    output = await bench.output_of("#!/bin/sh\nexec /usr/bin/env\n", variables={"PATH": "/usr/bin", "COLOUR": "blue"})
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert "COLOUR=blue" in output
    assert names - {"PWD", "SHLVL", "_", "TMPDIR"} == {
        "PATH", "COLOUR", "AWS_LAMBDA_RUNTIME_API", "AWS_ENDPOINT_URL", "_LAMBDA_TELEMETRY_LOG_FD"
    }  # fmt: skip


async def test_the_runtime_waits_until_it_is_started(bench: Bench) -> None:
    running = await bench.launch(bench.spec("#!/bin/sh\necho here\n"))
    assert running.output == b""
    await running.cage.start_runtime()
    await running.printed("here")


async def test_stdout_stderr_and_framed_logs_arrive(bench: Bench) -> None:
    running = await bench.run("#!/bin/bash\necho out; echo err >&2\nprintf frame >&$_LAMBDA_TELEMETRY_LOG_FD\n")
    await running.exited()
    assert sorted(running.output.split()) == [b"err", b"out"]
    assert running.logs == b"frame"


async def test_the_function_reaches_its_runtime_api(bench: Bench) -> None:
    running = await bench.run(
        "#!/bin/bash\nexec 9<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/:/\\/}\necho hello >&9\nread -u 9 answer\necho got $answer\n"
    )
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(running.cage.runtime_api)
    with connection:
        connection.setblocking(False)
        assert await loop.sock_recv(connection, 100) == b"hello\n"
        await loop.sock_sendall(connection, b"42\n")
        await running.printed("got 42")


async def test_an_exit_status_is_reported_once(bench: Bench) -> None:
    running = await bench.run("#!/bin/sh\nexit 7\n")
    how = await running.exited()
    assert (how.exit_status, how.signal, how.out_of_memory) == (7, None, False)


async def test_a_signal_is_reported(bench: Bench) -> None:
    how = await (await bench.run("#!/bin/bash\nkill -SEGV $BASHPID\n")).exited()
    assert (how.exit_status, how.signal) == (None, 11)


async def test_a_missing_program_is_the_functions_own_fault(bench: Bench) -> None:
    spec = bench.spec("")
    (spec.code_dir / "bootstrap").unlink()
    running = await bench.launch(spec)
    with pytest.raises(EntrypointError, match="no such file or directory"):
        await running.cage.start_runtime()


async def test_a_program_that_may_not_be_executed_is_the_functions_own_fault(bench: Bench) -> None:
    spec = bench.spec("#!/bin/sh\n")
    (spec.code_dir / "bootstrap").chmod(0o644)
    running = await bench.launch(spec)
    with pytest.raises(EntrypointError, match="permission denied"):
        await running.cage.start_runtime()


async def test_sigterm_reaches_the_runtime(bench: Bench) -> None:
    running = await bench.run(
        # No substitutions: bash takes a trap that comes while it parses one for a syntax error.
        "#!/bin/bash\ntrap 'echo bye; exit 3' TERM\necho up\nwhile :; do sleep 0.05; done\n"
    )
    await running.printed("up")
    await running.cage.terminate_runtime()
    assert (await running.exited()).exit_status == 3


async def test_destroy_ends_what_was_daemonised(bench: Bench) -> None:
    seconds = secrets.randbelow(1 << 30) + 1000  # known by its argument among the host's processes
    running = await bench.run(f"#!/bin/bash\n(setsid bash -c 'echo daemon; exec sleep {seconds}' &)\nsleep {seconds}\n")
    await running.printed("daemon")
    async with asyncio.timeout(10):
        while len(_sleeping(seconds)) < 2:
            await asyncio.sleep(0.01)
    running.unwatch()
    await running.cage.destroy()
    assert _sleeping(seconds) == []
    await running.cage.destroy()  # twice does no harm


@pytest.mark.parametrize("turns", range(4))
async def test_an_end_goes_on_when_whoever_waits_for_it_does_not(bench: Bench, turns: int) -> None:
    running = await bench.run("#!/bin/bash\necho up\nexec sleep 1000\n")
    await running.printed("up")
    descriptor = running.cage.output_fd
    inode = os.fstat(descriptor).st_ino
    running.unwatch()
    ending = asyncio.create_task(running.cage.destroy())
    for _ in range(turns):
        await asyncio.sleep(0)
    ending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ending
    if turns:  # else it had not begun
        async with asyncio.timeout(10):
            while _is_open(descriptor, inode):
                await asyncio.sleep(0.01)


def _is_open(descriptor: int, inode: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:
        return False


def _sleeping(seconds: int) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0%d\0" % seconds:
                found.append(pid)
    return found


async def test_too_much_shared_memory_is_too_much_memory_and_what_is_shared_counts_once(bench: Bench) -> None:
    fill = """
import mmap, os, time
def fill(mib):
    shared = mmap.mmap(-1, mib << 20)
    for at in range(0, mib << 20, 4096):
        shared[at] = 1
    return shared
"""
    shared = await bench.run(
        "#!/usr/bin/python3\n"
        + fill
        + """
held = fill(60)
for _ in range(3):
    if os.fork() == 0:
        sum(held[at] for at in range(0, 60 << 20, 4096))
        time.sleep(1)  # for a watchdog to look at it more than once
        os._exit(0)
for _ in range(3):
    os.wait()
""",
        memory_mib=128,
    )
    assert (await shared.exited()).exit_status == 0
    assert shared.cage.peak_memory_bytes() > 60 << 20
    greedy = await bench.run("#!/usr/bin/python3\n" + fill + "fill(500)\ntime.sleep(1000)\n", memory_mib=128)
    assert (await greedy.exited()).out_of_memory


async def test_too_much_memory_is_reported_as_such(bench: Bench) -> None:
    script = "#!/usr/bin/python3 -SE\nheld = []\nwhile True: held.append(bytearray(b'x' * (1 << 20)))\n"
    running = await bench.run(script, memory_mib=128)
    how = await running.exited()
    assert how.out_of_memory
    assert how.signal == 9
    assert running.cage.peak_memory_bytes() > 100 << 20


async def test_temporary_files_go_away_with_the_environment(bench: Bench) -> None:
    running = await bench.run("#!/bin/bash\necho secret > ${TMPDIR:-/tmp}/left\necho done\nsleep 1000\n")
    await running.printed("done")
    await running.cage.destroy()
    other = await bench.output_of("#!/bin/bash\nls ${TMPDIR:-/tmp}; echo end\n")
    assert other == "end\n"


async def test_the_code_directory_is_the_working_directory(bench: Bench) -> None:
    spec = bench.spec("#!/bin/bash\necho $(ls) $LAMBDA_TASK_ROOT\npwd\n")
    running = await bench.launch(spec)
    await running.cage.start_runtime()
    await running.exited()
    lines = running.output.decode().splitlines()
    assert lines[0] == f"bootstrap {lines[1]}"


async def test_an_extension_starts_and_its_exit_is_told_apart(bench: Bench) -> None:
    layers = bench.root / "layers"
    (layers / "extensions").mkdir(parents=True)
    extension = layers / "extensions" / "watcher"
    extension.write_text("#!/bin/bash\necho extension ${_HANDLER:-none}\nexit 5\n")
    for path, mode in ((layers, 0o755), (layers / "extensions", 0o755), (extension, 0o755)):
        path.chmod(mode)
    running = await bench.launch(bench.spec("#!/bin/bash\nsleep 1000\n", layers_dir=layers))
    await running.cage.start_extension("/opt/extensions/watcher")
    assert (await running.exited("/opt/extensions/watcher")).exit_status == 5
    assert os.read(running.cage.extension_output_fd, 100) == b"extension none\n"
    with pytest.raises(EntrypointError, match="no such file"):
        await running.cage.start_extension("/opt/extensions/absent")


async def test_sigterm_and_sigkill_reach_the_runtime_and_not_the_extensions(bench: Bench) -> None:
    layers = bench.root / "layers"
    (layers / "extensions").mkdir(parents=True)
    extension = layers / "extensions" / "runtime"  # a name that must not be taken for the runtime's
    extension.write_text("#!/bin/bash\ntrap 'echo terminated' TERM\nsleep 1000 &\nwait\n")
    for path in (layers, layers / "extensions", extension):
        path.chmod(0o755)
    running = await bench.launch(
        bench.spec("#!/bin/bash\ntrap 'echo noted' TERM\necho up\nwhile :; do sleep 0.05; done\n", layers_dir=layers)
    )
    await running.cage.start_extension("/opt/extensions/runtime")
    await running.cage.start_runtime()
    await running.printed("up")
    await running.cage.terminate_runtime()
    await running.printed("noted")
    await running.cage.kill_runtime()
    assert (await running.exited()).signal == 9
    assert list(running.exits) == ["runtime"]
    with pytest.raises(BlockingIOError):
        os.read(running.cage.extension_output_fd, 100)


async def test_environments_can_be_made_at_the_same_time(bench: Bench) -> None:
    outputs = await asyncio.gather(*(bench.output_of(f"#!/bin/sh\necho number {i}\n") for i in range(8)))
    assert outputs == [f"number {i}\n" for i in range(8)]


async def test_processor_time_grows_with_work(bench: Bench) -> None:
    running = await bench.run(
        "#!/bin/bash\nfor ((i = 0; i < 300000; i++)); do :; done\necho done\nsleep 1000\n", memory_mib=1769
    )
    await running.printed("done")
    async with asyncio.timeout(10):
        while running.cage.processor_time_s() < 0.05:
            await asyncio.sleep(0.01)


async def test_a_gigabyte_of_output_is_slowed_to_what_is_read(bench: Bench) -> None:
    running = await bench.launch(bench.spec("#!/bin/bash\nexec head -c 1073741824 /dev/zero\n", memory_mib=256))
    loop = asyncio.get_running_loop()
    loop.remove_reader(running.cage.output_fd)
    done, received = asyncio.Event(), 0

    def read() -> None:
        nonlocal received
        received += len(os.read(running.cage.output_fd, 1 << 20))
        if received == 1 << 30:
            done.set()

    loop.add_reader(running.cage.output_fd, read)
    await running.cage.start_runtime()
    await asyncio.wait_for(done.wait(), 60)
    assert running.cage.peak_memory_bytes() < 200 << 20


async def test_a_listener_accepts_only_on_loopback(bench: Bench) -> None:
    running = await bench.launch(bench.spec("#!/bin/sh\n"))
    assert running.cage.runtime_api_address == "{}:{}".format(*running.cage.runtime_api.getsockname())
    assert running.cage.runtime_api_address.startswith("127.0.0.1:")
    assert running.cage.runtime_api.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


LISTENER = """#!/usr/bin/python3 -ISE
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], "end", flush=True)
connection, _ = listener.accept()
connection.sendall(b"hello " + connection.recv(100))
connection.recv(100)
"""


async def test_a_listener_inside_can_be_reached_from_the_server(bench: Bench) -> None:
    running = await bench.run(LISTENER)
    port = int((await running.printed("end")).split()[1])
    cage = running.cage
    assert isinstance(cage, LauncherCage | ProcessCage)
    reader, writer = await cage.connect(port)
    writer.write(b"server")
    assert await reader.read(100) == b"hello server"
    writer.close()
    await running.exited()
    with pytest.raises(ConnectionRefusedError):
        await cage.connect(port)
