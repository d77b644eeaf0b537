"""What a function prints and logs: the root logger's handler, text and JSON formats, and framed log records.

A frame is: type (4 bytes), length (4), microseconds since the epoch (8), message; big-endian. It keeps a message of many
lines one log event. The type's lowest bit says text (1) or JSON (0), the bits from the third on the level.
"""

import _thread
import io
import json
import logging
import os
import select
import sys
import time
import traceback

FRAME_TEXT = 0xA55A0003
FRAME_JSON = 0xA55A0002
ATOMIC_WRITE_BYTES = 4096  # PIPE_BUF: writes of up to this many are never torn by another thread's
TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"

_LEVEL_BITS = {0: 0x00, 10: 0x08, 20: 0x0C, 30: 0x10, 40: 0x14, 50: 0x18}

# What every record has; any other attribute was given by `extra` and is shown.
_OWN_ATTRIBUTES = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created msecs "
    "relativeCreated thread threadName processName process aws_request_id tenant_id".split()
)


class _Current:
    """The invocation in hand, for the records that are logged meanwhile."""

    __slots__ = ("request_id", "tenant_id")

    def __init__(self):
        self.request_id = ""
        self.tenant_id = None


Current = _Current()


class StandardLogSink:
    """Without a descriptor for frames: plain lines, in which a carriage return stands for a line's end inside an event."""

    def log(self, msg, frame_type=None):
        sys.stdout.write(msg)

    def log_error(self, lines, frame_type):
        sys.stdout.write("\r".join(lines) + "\n")


class FramedLogSink:
    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._lock = _thread.allocate_lock()

    def log(self, msg, frame_type=None):
        message = msg.encode("utf-8", "replace")
        frame = b"".join(
            (
                (frame_type or FRAME_TEXT).to_bytes(4, "big"),
                len(message).to_bytes(4, "big"),
                (time.time_ns() // 1000).to_bytes(8, "big"),
                message,
            )
        )
        if len(frame) <= ATOMIC_WRITE_BYTES:
            self._write(frame)
        else:
            with self._lock:
                self._write(frame)

    def log_error(self, lines, frame_type):
        self.log("\n".join(lines), frame_type)

    def _write(self, frame):
        view = memoryview(frame)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])


class LambdaLoggerHandler(logging.Handler):
    log_sink = None  # set before it is given its first record
    frames_have_levels = False

    def emit(self, record):
        kind = FRAME_JSON if isinstance(self.formatter, JsonFormatter) else FRAME_TEXT
        self.log_sink.log(self.format(record), kind | _LEVEL_BITS[_level(record)] if self.frames_have_levels else None)


class LambdaLoggerFilter(logging.Filter):
    def filter(self, record):
        record.aws_request_id = Current.request_id
        record.tenant_id = Current.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object for each record: AWS's members first, then what `extra` gave; nulls are left out."""

    def __init__(self):
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%SZ")
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

    def format(self, record):
        plain_dict = isinstance(record.msg, dict) and not record.args
        shown = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": logging.getLevelName(_level(record)),
            "message": record.msg if plain_dict else record.getMessage(),
            "logger": record.name,
            "stackTrace": None,
            "errorType": None,
            "errorMessage": None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": None,
        }
        if record.exc_info:
            error_type, error, trace = record.exc_info
            shown["stackTrace"] = traceback.format_tb(trace)
            shown["errorType"] = getattr(error_type, "__name__", None)
            shown["errorMessage"] = str(error)
            shown["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        if getattr(record, "tenant_id", None) is not None:
            shown["tenantId"] = record.tenant_id
        for name, value in record.__dict__.items():
            if name not in _OWN_ATTRIBUTES and name not in shown:
                shown[name] = value
        return self._encode({name: value for name, value in shown.items() if value is not None}) + "\n"


class Output:
    """Everything that this process tells its log."""

    def __init__(self, environ):
        self.as_json = environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        level = environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
        self._level = "DEBUG" if level == "TRACE" else level
        descriptor = environ.pop("_LAMBDA_TELEMETRY_LOG_FD", "")
        self.sink = FramedLogSink(int(descriptor)) if descriptor.isdigit() else StandardLogSink()
        if descriptor.isdigit():
            os.set_inheritable(int(descriptor), False)

    def rehearse(self):
        """Touches what `install` will, and leaves everything as it is."""
        if _made_ahead is not None:
            root, handler = logging.getLogger(), _made_ahead[1]
            root.addHandler(handler)
            root.removeHandler(handler)

    def install(self):
        """The standard streams by lines, and the root logger's handler."""
        streams, handler = _made_ahead or _make()
        sys.stdout, sys.stderr = streams
        sys.__stdout__, sys.__stderr__ = streams
        self._streams = streams
        logging.Formatter.converter = time.gmtime
        handler.log_sink = self.sink
        handler.frames_have_levels = self.as_json or bool(self._level)
        if self.as_json:
            handler.setFormatter(JsonFormatter())
        root = logging.getLogger()
        if self._level in logging._nameToLevel:
            root.setLevel(self._level)
        root.addHandler(handler)

    def log_error(self, result, lines, encode):
        """The record of an error that ends an invocation or the init phase."""
        if self.as_json:
            timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            lines = [encode({"timestamp": timestamp, "level": "ERROR", **result})]
        kind = FRAME_JSON if self.as_json else FRAME_TEXT
        try:
            self.sink.log_error(lines, kind | _LEVEL_BITS[logging.ERROR])
        except (OSError, ValueError):
            pass  # the function closed our descriptor: it loses its log, the caller still gets the error

    def complain(self, text):
        """A line of this client's own, in the form of AWS's."""
        try:
            os.write(2, f"[ERROR] [{int(time.time() * 1000)}] LAMBDA_RUNTIME {text}\n".encode())
        except OSError:
            pass

    def flush(self):
        """Shows what was printed without a line's end."""
        for stream in self._streams:
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # closed by the function


_made_ahead = None  # what `install` needs, for forks of this process


def make_ahead():
    """In the process that forks: what is made once is shared by all forks.

    A stream asks its descriptor whether it can seek. Those of a function's process are pipes, so for this moment these are.
    """
    global _made_ahead
    read_end, write_end = os.pipe()
    kept = [os.dup(1), os.dup(2)]
    try:
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        _made_ahead = _make()
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (read_end, write_end, *kept):
            os.close(descriptor)


def _make():
    """((standard output, standard error), the root logger's handler)."""
    handler = LambdaLoggerHandler()
    handler.setFormatter(logging.Formatter(TEXT_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(LambdaLoggerFilter())
    return (_by_lines(1, "strict"), _by_lines(2, "backslashreplace")), handler


def _by_lines(descriptor, errors):
    """A stream of its own: after a fork, the interpreter's one still knows what the descriptor was at its start."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors=errors, line_buffering=True)
    stream.mode = "w"
    raw.name = "<stdout>" if descriptor == 1 else "<stderr>"
    return stream


def _level(record):
    return min(50, max(0, record.levelno)) // 10 * 10
