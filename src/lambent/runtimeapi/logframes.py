"""Decoders of what an environment writes: raw lines of stdout and stderr, and the framed records of AWS's clients.

Sans I/O, and with bounded memory: the bytes come from hostile code. Whatever they are, the text that comes out is whole
UTF-8 (what was not is replaced) in messages of at most LOG_EVENT_MAX_BYTES.

AWS's runtime clients write frames to the descriptor in _LAMBDA_TELEMETRY_LOG_FD, so that a message may have several
lines: four bytes of type, four of length, eight of microseconds since the epoch, big-endian, then the message. The type is
0xa55a0002 for JSON and 0xa55a0003 for text, with the level in the bits from 2 up. Clients of 2020 wrote 0xa55a0001 without a
timestamp.
"""

from __future__ import annotations

from typing import Final

import attrs
import msgspec

from lambent.model.limits import LOG_EVENT_MAX_BYTES

LEVELS: Final = (None, "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_MAGIC: Final = b"\xa5\x5a\x00"
_TYPES: Final = {
    (0xA55A0000 | level << 2 | form): (form == 2, name) for level, name in enumerate(LEVELS) for form in (2, 3)
}
_OLD_TYPE: Final = 0xA55A0001
_SURELY_FITS_BYTES: Final = LOG_EVENT_MAX_BYTES // 3  # a byte that is replaced takes three
_HEADER_BYTES: Final = 16
_OLD_HEADER_BYTES: Final = 8
_EARLIEST_US: Final = 946_684_800_000_000  # the year 2000; anything outside is no time of ours
_LATEST_US: Final = 4_102_444_800_000_000  # the year 2100


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One log event. There are as many as a function can print, so it is made of what is made quickest."""

    text: str  # without its final newline
    timestamp_ms: int | None = None  # milliseconds since the epoch; None: not said, so now
    is_json: bool = False  # the client says that the message is a JSON object
    level: str | None = None  # "INFO", as the client says


class LineDecoder:
    """Raw bytes to lines. A line that is too long for one event becomes several."""

    def __init__(self) -> None:
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[LogRecord]:
        """The lines that `data` completes."""
        whole, newline, rest = data.rpartition(b"\n")
        records: list[LogRecord] = []
        if newline:
            if self._partial:
                whole = bytes(self._partial) + whole
                self._partial.clear()
            if len(whole) <= _SURELY_FITS_BYTES:  # no bytes that are replaced reach over a newline
                records = [LogRecord(text) for text in whole.decode("utf-8", "replace").split("\n")]
            else:
                records = [LogRecord(text) for line in whole.split(b"\n") for text in messages(line)]
        self._partial += rest
        while len(self._partial) > LOG_EVENT_MAX_BYTES:
            cut = _cut(self._partial, LOG_EVENT_MAX_BYTES)
            records += [LogRecord(text) for text in messages(bytes(self._partial[:cut]))]
            del self._partial[:cut]
        return records

    def flush(self) -> list[LogRecord]:
        """The line that has no newline yet: at the end of an invocation, or of the environment."""
        rest = bytes(self._partial)
        self._partial.clear()
        return [LogRecord(text) for text in messages(rest)] if rest else []


@attrs.define
class _Frame:
    timestamp_ms: int | None
    is_json: bool
    level: str | None
    missing: int  # bytes still to come
    body: bytearray = attrs.field(factory=bytearray)
    was_split: bool = False

    def records(self, data: bytes) -> list[LogRecord]:
        return [LogRecord(text, self.timestamp_ms, self.is_json, self.level) for text in messages(data)]


class FrameDecoder:
    """Framed records. What is no frame is taken as raw lines up to the next thing that looks like one."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._frame: _Frame | None = None
        self._lines = LineDecoder()

    def feed(self, data: bytes) -> list[LogRecord]:
        """The records that `data` completes."""
        self._buffer += data
        records: list[LogRecord] = []
        position = 0
        while True:
            position, progressed = self._step(position, records)
            if not progressed:
                break
        del self._buffer[:position]
        return records

    def flush(self) -> list[LogRecord]:
        """What has come of the message under way. Its rest, should it come, is a message of its own."""
        records: list[LogRecord] = []
        frame = self._frame
        if frame is not None:
            if frame.body:
                records += frame.records(bytes(frame.body))
                frame.body.clear()
                frame.was_split = True
            return records
        if not _MAGIC.startswith(bytes(self._buffer[: len(_MAGIC)])):
            records += self._lines.feed(bytes(self._buffer))
            self._buffer.clear()
        return records + self._lines.flush()

    def _step(self, position: int, records: list[LogRecord]) -> tuple[int, bool]:
        """Takes one thing from the buffer: where it ended, and whether there was one."""
        if self._frame is not None:
            return self._take_body(self._frame, position, records)
        if len(self._buffer) - position < 4:
            return position, False
        kind = int.from_bytes(self._buffer[position : position + 4], "big")
        header_bytes = _OLD_HEADER_BYTES if kind == _OLD_TYPE else _HEADER_BYTES
        if kind != _OLD_TYPE and kind not in _TYPES:
            return self._take_garbage(position, records), True
        if len(self._buffer) - position < header_bytes:
            return position, False
        records += self._lines.flush()
        self._frame = _frame(kind, bytes(self._buffer[position + 4 : position + header_bytes]))
        return position + header_bytes, True

    def _take_body(self, frame: _Frame, position: int, records: list[LogRecord]) -> tuple[int, bool]:
        piece = self._buffer[position : position + frame.missing]
        frame.missing -= len(piece)
        frame.body += piece
        while len(frame.body) > LOG_EVENT_MAX_BYTES:
            cut = _cut(frame.body, LOG_EVENT_MAX_BYTES)
            records += frame.records(bytes(frame.body[:cut]))
            del frame.body[:cut]
            frame.was_split = True
        if frame.missing == 0:
            self._frame = None
            body = bytes(frame.body).removesuffix(b"\n")
            if body or not frame.was_split:
                records += frame.records(body)
        return position + len(piece), bool(piece) or frame.missing == 0

    def _take_garbage(self, position: int, records: list[LogRecord]) -> int:
        found = self._buffer.find(_MAGIC, position + 1)
        # Without one, keep back what may be the beginning of one.
        end = found if found >= 0 else max(len(self._buffer) - len(_MAGIC) + 1, position + 1)
        records += self._lines.feed(bytes(self._buffer[position:end]))
        return end


def _frame(kind: int, rest: bytes) -> _Frame:
    length = int.from_bytes(rest[:4], "big")
    if kind == _OLD_TYPE:
        return _Frame(None, False, None, length)
    is_json, level = _TYPES[kind]
    timestamp_us = int.from_bytes(rest[4:], "big")
    credible = _EARLIEST_US <= timestamp_us < _LATEST_US
    return _Frame(timestamp_us // 1000 if credible else None, is_json, level, length)


def messages(data: bytes) -> list[str]:
    """The text of one message, in pieces that fit an event; always at least one."""
    text = data.decode("utf-8", "replace")
    if len(data) <= _SURELY_FITS_BYTES or len(text) <= LOG_EVENT_MAX_BYTES // 4:
        return [text]
    encoded = text.encode()
    pieces: list[str] = []
    while len(encoded) > LOG_EVENT_MAX_BYTES:
        cut = _cut(encoded, LOG_EVENT_MAX_BYTES)
        pieces.append(encoded[:cut].decode())
        encoded = encoded[cut:]
    if encoded or not pieces:
        pieces.append(encoded.decode())
    return pieces


def _cut(data: bytes | bytearray, limit_bytes: int) -> int:
    """Where to cut, at or shortly before the limit, so that no character is cut in two."""
    for cut in range(limit_bytes, limit_bytes - 4, -1):
        if data[cut] & 0xC0 != 0x80:
            return cut
    return limit_bytes
