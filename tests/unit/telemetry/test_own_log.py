"""Lambent's own log."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from lambent.telemetry.setup import event_logger, set_up_logging


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text_lines_show_the_event_and_its_fields() -> None:
    output = io.StringIO()
    set_up_logging(output=output)
    log = event_logger("lambent.test").bind(function="hello")
    log.info("environment.started", took_ms=1.7, why="it was asked for", empty="")
    log.debug("unseen")
    pattern = (
        r'\d\d:\d\d:\d\d\.\d{3} INFO environment.started function=hello took_ms=1.7 why="it was asked for" empty=""\n'
    )
    assert re.fullmatch(pattern, output.getvalue())


def test_json_lines_are_objects_even_with_values_that_json_does_not_know() -> None:
    output = io.StringIO()
    set_up_logging("debug", as_json=True, output=output)
    event_logger("lambent.test").warning("odd", value=object, level="root")
    logging.getLogger("elsewhere").error("plain %s", "text")
    first, second = map(json.loads, output.getvalue().splitlines())
    assert (first["event"], first["level"], first["level_"]) == ("odd", "WARNING", "root")
    assert first["value"] == "<class 'object'>"
    assert (second["event"], second["logger"]) == ("plain text", "elsewhere")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])


def test_exceptions_come_with_their_traceback() -> None:
    output = io.StringIO()
    set_up_logging(output=output)
    try:
        raise KeyError("gone")
    except KeyError:
        event_logger("lambent.test").exception("failed", step=1)
    assert "failed step=1\nTraceback" in output.getvalue()


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'loud' is none of debug, info, warning, error"):
        set_up_logging("loud")


def test_a_value_with_a_line_break_cannot_forge_a_line() -> None:
    output = io.StringIO()
    set_up_logging(output=output)
    event_logger("lambent.test").info("request", path="/x\n12:00:00.000 INFO forged")
    logging.getLogger("x").info("path %s", "/x\n12:00:00.000 INFO forged")
    assert output.getvalue().count("\n") == 2
