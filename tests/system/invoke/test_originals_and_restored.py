"""SnapStart's two kinds of environment with runtimes that do not do as they should, each by a process of its own.

These processes know nothing of images: what they do is what a function could have its runtime do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, cast

import pytest

from lambent.invoke.image import Template, Unfit
from lambent.invoke.original import Original, OriginalFailed
from lambent.invoke.restored import RestoredEnvironment
from lambent.model.errors import AwsError
from lambent.model.function import FunctionVersion
from lambent.sandbox.process import ProcessCage

NEVER = "time.sleep(60)"
ENDLESSLY = "while True: print('again ' * 1000)"


@pytest.fixture(autouse=True)
def cages_that_take_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessCage, "can_restore", True)


@pytest.fixture
def template() -> Iterator[Template]:
    made = Template(os.memfd_create("image"), 0.0)
    yield made
    made.close()


def published(road: Any, code: str) -> FunctionVersion:
    made = road.define("f", code, version="1", timeout_s=1, extra={"SnapStart": "PublishedVersions"})
    return cast(FunctionVersion, made)


@pytest.mark.parametrize("code", [NEVER, ENDLESSLY], ids=["silent", "printing"])
async def test_an_init_that_never_ends_fails_in_time(impatient_road: Any, code: str) -> None:
    version = published(impatient_road, code)
    with pytest.raises(OriginalFailed) as raised:
        await Original(version, impatient_road.around).take()
    assert raised.value.reason_code == "FunctionError.InitTimeout"
    assert any(line.startswith("INIT_REPORT ") and "Status: timeout" in line for line in impatient_road.log.lines)


async def test_an_init_that_ends_its_process_fails(road: Any) -> None:
    with pytest.raises(OriginalFailed) as raised:
        await Original(published(road, "sys.exit(3)"), road.around).take()
    assert raised.value.reason_code == "FunctionError.RuntimeInitError"


@pytest.mark.parametrize("code", ["sys.exit(0)", "pass"], ids=["ends", "waits for events"])
async def test_a_runtime_that_takes_no_image_turns_snapstart_off(road: Any, code: str) -> None:
    with pytest.raises(Unfit):
        await Original(published(road, code), road.around).take()
    assert any(line.startswith("SnapStart is off for version 1: ") for line in road.log.lines)


@pytest.mark.parametrize("code", [NEVER, ENDLESSLY], ids=["silent", "printing"])
async def test_a_restore_that_takes_too_long_is_the_callers_to_know(
    impatient_road: Any, template: Template, code: str
) -> None:
    given_up: list[bool] = []
    environment = RestoredEnvironment(
        published(impatient_road, code), impatient_road.around, template, lambda: given_up.append(True)
    )
    with pytest.raises(AwsError) as raised:
        await environment.start()
    assert (raised.value.code, raised.value.status) == ("SnapStartTimeoutException", 408)
    assert any(line.startswith("RESTORE_REPORT ") and "Status: timeout" in line for line in impatient_road.log.lines)
    assert given_up == []


async def test_an_error_after_the_restore_is_the_callers_to_know(road: Any, template: Template) -> None:
    code = """
        ask("POST", "restore/error", "{}", {"Lambda-Runtime-Function-Error-Type": "Runtime.AfterRestoreError"})
        sys.exit(65)
    """
    environment = RestoredEnvironment(published(road, code), road.around, template, lambda: None)
    with pytest.raises(AwsError) as raised:
        await environment.start()
    assert (raised.value.code, raised.value.status) == ("SnapStartException", 400)
    assert any("Error Type: Runtime.AfterRestoreError" in line for line in road.log.lines)


@pytest.mark.parametrize("end", ["sys.exit(71)", "os.kill(os.getpid(), 11)"], ids=["says so", "crashes"])
async def test_what_cannot_be_restored_starts_as_others_do(road: Any, template: Template, end: str) -> None:
    code = f"""
        if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start":
            {end}
        def handle(event, request_id): return 1
    """
    given_up: list[bool] = []
    environment = RestoredEnvironment(published(road, code), road.around, template, lambda: given_up.append(True))
    await environment.start()
    assert environment.usable
    assert (given_up, environment.initialization_type) == ([True], "on-demand")
    await environment.stop("spindown")


async def test_an_image_that_was_dropped_meanwhile_is_done_without(road: Any, template: Template) -> None:
    environment = RestoredEnvironment(
        published(road, "def handle(event, request_id): return 1"), road.around, template, lambda: None
    )
    template.close()
    await environment.start()
    assert environment.initialization_type == "on-demand"
    await environment.stop("spindown")
