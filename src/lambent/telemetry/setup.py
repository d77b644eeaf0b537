"""Lambent's own log: events with fields, one a line, to standard error.

    log = event_logger(__name__)
    log.info("environment.started", function="hello", level="root", took_ms=1.7)

prints `08:00:00.123 INFO environment.started function=hello level=root took_ms=1.7` on a terminal, or one JSON object
where a program reads. Modules that need no fields use `logging.getLogger(__name__)` and come out the same way.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

LEVELS: Final = ("debug", "info", "warning", "error")

_FIELDS: Final = "lambent_fields"  # where a record keeps its fields
_COLORS: Final = {
    "DEBUG": "\x1b[2m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[31m",
}
_PLAIN: Final = "\x1b[0m"


class EventLogger:
    """A logger whose keyword arguments are the event's fields; fields that are bound come with every event."""

    def __init__(self, logger: logging.Logger, bound: Mapping[str, Any]) -> None:
        self._logger = logger
        self._bound = bound

    def bind(self, /, **fields: Any) -> EventLogger:
        return EventLogger(self._logger, {**self._bound, **fields})

    def debug(self, event: str, /, **fields: Any) -> None:
        self._tell(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._tell(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._tell(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._tell(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error with the traceback of the exception that is being handled."""
        self._tell(logging.ERROR, event, fields, with_traceback=True)

    def _tell(self, level: int, event: str, fields: Mapping[str, Any], with_traceback: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            extra = {_FIELDS: {**self._bound, **fields}}
            # The event is an argument, so that a "%" in it means nothing.
            self._logger.log(level, "%s", event, extra=extra, exc_info=with_traceback)


def event_logger(name: str) -> EventLogger:
    """`logging.getLogger` for events with fields."""
    return EventLogger(logging.getLogger(name), {})


class TextFormatter(logging.Formatter):
    """For people: time of day, level, event, fields."""

    def __init__(self, colored: bool) -> None:
        super().__init__()
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created)
        level = record.levelname
        if self._colored:
            level = f"{_COLORS.get(level, '')}{level}{_PLAIN}"
        parts = [f"{at:%H:%M:%S}.{int(record.msecs):03d}", level, record.getMessage().replace("\n", "\\n")]
        parts += [f"{name}={_shown(value)}" for name, value in _fields(record).items()]
        text = " ".join(parts)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(logging.Formatter):
    """For programs: one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "event": record.getMessage(),
            "logger": record.name,
        }
        for name, value in _fields(record).items():
            entry[f"{name}_" if name in entry else name] = value
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


def set_up_logging(level: str = "info", as_json: bool = False, output: TextIO | None = None) -> None:
    """Sends everything that this process logs to `output`, by default standard error. Called once, by the program.

    `level` is one of LEVELS. Raises ValueError for another.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    stream = output if output is not None else sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter(colored=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(max(root.level, logging.WARNING))
    for chatty in ("boto3", "botocore", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, _FIELDS, {})
    return fields


def _shown(value: Any) -> str:
    """Quoted only where a reader could mistake it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if not text or any(character.isspace() or character in '="' or not character.isprintable() for character in text):
        return msgspec.json.encode(text).decode()
    return text
