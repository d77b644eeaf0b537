"""What is kept for those who subscribe a little later."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.http1.request import Request
from lambent.runtimeapi.protocol import Extension, Refusal
from lambent.runtimeapi.telemetry import EARLY_MAX_CHARACTERS, TelemetryEndpoints


def _nobody(request: Request) -> Extension | Refusal:
    raise AssertionError


def _nothing(event_type: str, record: dict[str, Any]) -> None: ...


async def _nowhere(port: int) -> Any: ...


@pytest.mark.parametrize("line", ["", "x" * 80])
async def test_lines_are_kept_for_them_up_to_a_limit_however_short_they_are(line: str) -> None:
    telemetry = TelemetryEndpoints(_nobody, _nothing, _nowhere, lambda: 0.0)
    for _ in range(100_000):
        telemetry.publish("function", "function", line, 0.0)
    assert 1_000 < len(telemetry._early) < EARLY_MAX_CHARACTERS // 100
