"""What a function's own log lines say of themselves, and which of them its logging configuration keeps.

LEVELS = https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from lambent.model.function import LoggingConfig
from lambent.runtimeapi.logframes import LogRecord

_RANKS: Final = {name: rank for rank, name in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))}
_SAME_AS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}  # Python's names
_TIMESTAMP_KEYS: Final = ("timestamp", "time", "@timestamp")  # as the managed runtimes and common loggers name it
_OTHERWISE: Final = "INFO"  # LEVELS: what has no valid level, or no valid timestamp
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class ApplicationLog:
    """One function's view of its own lines. Only with the JSON log format is anything filtered."""

    def __init__(self, config: LoggingConfig) -> None:
        self._is_json = config.log_format == "JSON"
        self._least = _RANKS.get(config.application_log_level or _OTHERWISE, _RANKS[_OTHERWISE])

    def document(self, record: LogRecord) -> dict[str, Any] | None:
        """The JSON object that a line is; None for text."""
        if not (record.is_json or (self._is_json and record.text[:1] == "{")):
            return None
        try:
            return _decode(record.text)
        except (msgspec.DecodeError, RecursionError):
            return None

    def wants(self, record: LogRecord, document: dict[str, Any] | None) -> bool:
        """Whether the log keeps this line. Text is kept: a traceback must not vanish because nobody gave it a level."""
        if not self._is_json or document is None:
            return True
        return _RANKS[record.level or _level(document)] >= self._least


def _level(document: dict[str, Any]) -> str:
    said = str(document.get("level", "")).upper()
    level = _SAME_AS.get(said, said)
    has_time = any(_is_time(document[key]) for key in _TIMESTAMP_KEYS if key in document)
    return level if level in _RANKS and has_time else _OTHERWISE


def _is_time(value: Any) -> bool:
    """RFC 3339."""
    try:
        return "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
