"""Images end with the server, with their version, and under the memory that all of them may take."""

from __future__ import annotations

import time
from pathlib import Path

import snapstart
from live_server import LiveServer, running, until

CODE = """
import os
BALLAST = os.urandom({})
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
        name = snapstart.create(server, CODE.format(0))
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "On")
        assert _start_type(server, name) == "snap-start"
        server.kill()
    with running(tmp_path / "data", *_config(tmp_path, idle_environment_s=1)) as server:
        assert _status(server, name) == "Off"
        assert _start_type(server, name) == "on-demand"
        until(lambda: _status(server, name) == "On")
        until(lambda: server.log_of(name).count("RESTORE_START") > 1 or _start_type_after_reaping(server, name))
        assert _start_type(server, name) == "snap-start"


def _start_type_after_reaping(server: LiveServer, name: str) -> None:
    """An environment that serves nothing for a second is ended, and the next one is new."""
    time.sleep(1.3)
    _start_type(server, name)


def test_images_make_room_for_one_another(tmp_path: Path) -> None:
    with running(tmp_path / "data", *_config(tmp_path, snapstart_memory_mib=80)) as server:
        first, second, large = (
            snapstart.create(server, CODE.format(mib << 20), MemorySize=256) for mib in (25, 25, 90)
        )
        for name in (first, second):
            assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "On")
        assert (_status(server, first), _status(server, second)) == ("Off", "On")
        assert snapstart.status_of(snapstart.publish(server, large)) == ("Active", "Off")
        assert _start_type(server, large) == "on-demand"


def test_without_memory_for_images_snapstart_is_off(tmp_path: Path) -> None:
    with running(tmp_path / "data", *_config(tmp_path, snapstart_memory_mib=0)) as server:
        name = snapstart.create(server, CODE.format(0))
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "Off")
        assert _start_type(server, name) == "on-demand"


def test_at_level_process_it_is_off(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--isolation", "process") as server:
        name = snapstart.create(server, CODE.format(0))
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "Off")
        assert "cannot be taken at this level of isolation" in server.log_of(name)


def test_at_level_rootless_they_are_restored(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--isolation", "rootless") as server:
        name = snapstart.create(server, CODE.format(0))
        assert snapstart.status_of(snapstart.publish(server, name)) == ("Active", "On"), server.log_of(name)
        assert _start_type(server, name) == "snap-start"
