"""What a caged process may not do to files."""

from __future__ import annotations

import os
from pathlib import Path

from cagebench import Bench
from conftest_types import Attempt


async def test_no_file_with_a_secret_of_the_host_is_there(attempt: Attempt) -> None:
    result = await attempt("""
paths = ['/etc/shadow', '/etc/gshadow', '/etc/ssh', '/root', '/home', '/var/lib', '/var/log', '/sys', '/boot', '/srv', '/usr/local', '/dev/vda',
         '/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/loop-control', '/dev/tty', '/run/lambent/privileged', '/etc/machine-id']
tell([path for path in paths if os.path.lexists(path)])
""")
    assert result == []


async def test_only_what_a_function_needs_is_in_the_root(attempt: Attempt) -> None:
    result = await attempt("tell(sorted(os.listdir('/')))")
    top = {name for name in ("bin", "sbin", "lib", "lib64", "lib32") if os.path.lexists(f"/{name}")}
    assert set(result) == {"dev", "etc", "mnt", "opt", "proc", "run", "tmp", "usr", "var"} | top


async def test_nothing_but_tmp_and_shared_memory_can_be_written(attempt: Attempt) -> None:
    result = await attempt("""
found = []
for top, directories, files in os.walk('/'):
    if top.startswith('/proc'):
        directories.clear()
        continue
    try:
        with open(top + '/probe', 'w'):
            found.append(top)
    except OSError:
        pass
    directories[:] = [d for d in directories if top + d != '/proc']
tell(sorted(found))
""")
    assert result == ["/dev/shm", "/tmp"]


async def test_code_layers_and_system_are_read_only_to_any_call(bench: Bench, attempt: Attempt) -> None:
    layers = bench.root / "layer"
    layers.mkdir()
    (layers / "data").write_text("x")
    (layers / "data").chmod(0o666)
    result = await attempt(
        """
tell({path: [attempt(open, path, 'a'), attempt(os.chmod, path, 0o777), attempt(os.unlink, path), attempt(os.utime, path)]
      for path in ('/var/task/bootstrap', '/opt/data', '/usr/bin/env', '/etc/passwd')})
""",
        layers_dir=layers,
    )
    for path, errors in result.items():
        assert set(errors) <= {"EROFS", "EACCES", "EPERM"}, path
    assert result["/opt/data"][0] == "EROFS"  # though its mode would allow it


async def test_another_functions_code_and_tmp_are_not_there(bench: Bench, attempt: Attempt) -> None:
    other = await bench.run("#!/bin/bash\necho secret > /tmp/mine; echo up; sleep 1000\n")
    await other.printed("up")
    result = await attempt("tell([os.listdir('/tmp'), os.listdir('/var/task'), os.listdir('/dev/shm')])")
    assert result == [[], ["bootstrap"], []]


async def test_no_device_can_be_made_or_used(attempt: Attempt) -> None:
    result = await attempt("""
import stat
tell([attempt(os.mknod, '/tmp/disk', stat.S_IFBLK | 0o666, os.makedev(7, 0)),
      attempt(os.mknod, '/tmp/mem', stat.S_IFCHR | 0o666, os.makedev(1, 1)),
      sorted(os.listdir('/dev'))])
""")
    assert result[:2] == ["EPERM", "EPERM"]
    assert result[2] == ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"]


async def test_a_set_user_id_program_gives_nothing(attempt: Attempt) -> None:
    result = await attempt("""
import shutil, subprocess
shutil.copy('/usr/bin/id', '/tmp/id')
found = [attempt(os.chmod, '/tmp/id', 0o4755), subprocess.run(['/tmp/id', '-u'], capture_output=True, text=True).stdout.strip()]
for program in ('/usr/bin/su', '/usr/bin/mount', '/usr/bin/passwd', '/usr/bin/chsh'):
    if os.path.exists(program):
        code = '/usr/bin/id -u 1>&2'
        shown = subprocess.run([program, '-c', code], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        found.append(shown.stderr.strip() == '0')
flags = os.statvfs('/usr').f_flag, os.statvfs('/tmp').f_flag, os.statvfs('/var/task').f_flag
tell([found, all(f & os.ST_NOSUID for f in flags)])
""")
    assert result[0][1] == "993"
    assert not any(result[0][2:])
    assert result[1]


async def test_tmp_says_no_space_beyond_its_size_and_nothing_of_it_stays(bench: Bench, attempt: Attempt) -> None:
    result = await attempt(
        """
written, block = 0, bytes(1 << 20)
try:
    with open('/tmp/big', 'wb', buffering=0) as file:
        while True:
            written += file.write(block)
except OSError as error:
    tell([written >> 20, errno.errorcode[error.errno]])
""",
        memory_mib=256,
    )
    assert result[1] == "ENOSPC"
    assert 500 <= result[0] <= 520  # and more than the memory: /tmp is not held there
    await bench.close()
    bench.running.clear()
    assert [name for name in os.listdir(bench.root / "launcher" / "disks") if name != "512"] == []


async def test_links_from_the_code_lead_into_the_cage_only(bench: Bench) -> None:
    spec = bench.spec("#!/bin/bash\ncat /var/task/link /var/task/relative; echo done\n")
    os.symlink("/etc/shadow", spec.code_dir / "link")
    os.symlink("../../../../../../etc/shadow", spec.code_dir / "relative")
    running = await bench.launch(spec)
    await running.cage.start_runtime()
    shown = await running.printed("done")
    assert "root:" not in shown
    assert shown.count("No such file") == 2


async def test_the_host_is_untouched_by_what_was_tried(bench: Bench) -> None:
    before = mounts()
    await bench.output_of("#!/bin/sh\nmount -t tmpfs none /tmp; umount /proc\n")
    assert mounts() == before


def mounts() -> list[str]:
    """But for networks that other tests have names for."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4].rpartition("/")[0] != "/run/netns"]
