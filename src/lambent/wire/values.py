"""Scalars between text and Python: timestamps in their three formats, floats, booleans, Base64.

All readers raise ValueError for text that is not what it should be.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final

UTC: Final = datetime.UTC
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,100}", re.ASCII)
_BITS: Final = {"integer": 32, "long": 64}  # https://smithy.io/2.0/spec/simple-types.html
_SPECIAL_FLOATS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def timestamp_from_number(seconds: float) -> datetime.datetime:
    """Seconds since the epoch, to the microsecond."""
    try:
        return _EPOCH + datetime.timedelta(microseconds=round(seconds * 1_000_000))
    except OverflowError as error:
        raise ValueError("the timestamp is out of range") from error


def timestamp_from_text(text: str) -> datetime.datetime:
    """Any of the three formats; a time without a zone is UTC."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return timestamp_from_number(float(text))
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def timestamp_to_number(moment: datetime.datetime) -> int | float:
    """Seconds since the epoch; an integer when there is no fraction."""
    microseconds = (_aware(moment) - _EPOCH) // datetime.timedelta(microseconds=1)
    return microseconds // 1_000_000 if microseconds % 1_000_000 == 0 else microseconds / 1_000_000


def timestamp_to_text(moment: datetime.datetime, timestamp_format: str) -> str:
    """`iso8601`, `rfc822` or `unixTimestamp`, as models spell them in any case."""
    moment = _aware(moment).astimezone(UTC)
    match timestamp_format.lower():
        case "rfc822":
            return format_datetime(moment.replace(microsecond=0), usegmt=True)
        case "unixtimestamp":
            return str(timestamp_to_number(moment))
        case _:
            text = f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S")
            if moment.microsecond % 1000:
                return f"{text}.{moment.microsecond:06d}Z"
            return f"{text}.{moment.microsecond // 1000:03d}Z" if moment.microsecond else f"{text}Z"


def _aware(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def float_from_text(text: str) -> float:
    if (special := _SPECIAL_FLOATS.get(text)) is not None:
        return special
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"not a number: {text}")
    return float(text)


def float_to_text(value: Any) -> str:
    return special_float_name(float(value)) or repr(float(value))


def special_float_name(value: float) -> str | None:
    if math.isfinite(value):
        return None
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def integer_from_text(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"not an integer: {text}")
    return int(text)


def fits(value: int, type_name: str) -> bool:
    """Whether an `integer` or a `long` can hold the value."""
    limit = 1 << (_BITS[type_name] - 1)
    return -limit <= value < limit


def boolean_from_text(text: str) -> bool:
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise ValueError(f"not a boolean: {text}")
    return lowered == "true"


def blob_from_text(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not Base64") from error


def blob_to_text(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
