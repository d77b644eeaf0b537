"""The AWS CLI: each command is a process, forked from one that has read the CLI's modules, for that takes most of its time."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from live_server import REGION, environ

COMMAND_TIMEOUT_S: Final = 60
FORKING: Final = """
import json, os, signal, sys
import awscli.clidriver
awscli.clidriver.create_clidriver()  # brings the modules that it imports late
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        signal.alarm(order["timeout_s"])
        os.environ.update(order["variables"])
        for descriptor, path in enumerate((os.devnull, order["out"], order["err"])):
            os.dup2(os.open(path, os.O_RDWR), descriptor)
        sys.argv = ["aws", *order["arguments"]]
        sys.exit(awscli.clidriver.main())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forker:
    """Used by any thread; one command at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ()
        )
        atexit.register(self._end)

    def run(self, arguments: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            order = {
                "arguments": arguments, "variables": variables, "out": out.name, "err": err.name,
                "timeout_s": COMMAND_TIMEOUT_S,
            }  # fmt: skip
            with self._lock:
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()
                status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(
                arguments, status, Path(out.name).read_text(), Path(err.name).read_text()
            )

    def _end(self) -> None:
        with self._process:  # ends when its input does
            pass


_forker = functools.cache(Forker)


def aws_cli(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `aws` with these arguments, with these variables besides the usual ones."""
    usual = {
        "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    return _forker().run(list(arguments), {**usual, **variables})
