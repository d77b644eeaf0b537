"""Images end with the server, and there are some at both levels that have cages."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import snapstart
from live_server import LiveServer, running, until

pytestmark = pytest.mark.long

CODE = """
import os
def handler(event, context):
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


def _status(live: LiveServer, name: str) -> str:
    found = live.client().get_function_configuration(FunctionName=name, Qualifier="1")
    return str(found["SnapStart"]["OptimizationStatus"])


def _start_type(live: LiveServer, name: str) -> object:
    return live.invoke(name, {}, Qualifier="1").value


def _config(tmp_path: Path, **settings: int) -> tuple[str, str]:
    """The options that have a server use these settings."""
    file = tmp_path / "lambent.toml"
    file.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    return "--config", str(file)


def test_after_a_restart_the_first_start_is_normal_and_has_the_image_made_again(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        name = snapstart.create(server, CODE)
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "On")
        assert _start_type(server, name) == "snap-start"
        server.kill()
    with running(tmp_path / "data", *_config(tmp_path, idle_environment_s=1)) as server:
        assert _status(server, name) == "Off"
        assert _start_type(server, name) == "on-demand"
        until(lambda: _status(server, name) == "On")
        # The environment that started normally ends when it has served nothing for a second.
        until(lambda: _rests_and_is_restored(server, name), timeout_s=20.0)


def _rests_and_is_restored(server: LiveServer, name: str) -> bool:
    time.sleep(1.5)
    return _start_type(server, name) == "snap-start"


def test_an_image_that_would_be_larger_than_all_may_be_is_not_taken(tmp_path: Path) -> None:
    ballast = "BALLAST = bytearray(range(256)) * (200 << 10)\n"
    with running(tmp_path / "data", *_config(tmp_path, snapstart_memory_mib=40)) as server:
        name = snapstart.create(server, ballast + CODE, MemorySize=256)
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "Off")
        assert "larger than it may be" in server.log_of(name)
        assert _start_type(server, name) == "on-demand"


def test_at_level_process_it_is_off(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--isolation", "process") as server:
        name = snapstart.create(server, CODE)
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "Off")
        assert "cannot be taken at this level of isolation" in server.log_of(name)


def test_at_level_rootless_they_are_restored(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--isolation", "rootless") as server:
        name = snapstart.create(server, CODE)
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "On"), server.log_of(name)
        assert _start_type(server, name) == "snap-start"
