"""Errors as AWS's Python runtime words them, in the answer and in the log."""

import json
import os
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
XRAY_CAUSE_MAX_BYTES = 32 * 1024  # it travels in a header; a longer one is left out

UNHANDLED_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. However, in rare "
    "cases, a Lambda runtime update can cause unexpected function behavior. For functions using managed runtimes, "
    "runtime updates can be triggered by a function change, or can be applied automatically. To determine if the "
    "runtime has been updated, check the runtime version in the INIT_START log entry. If this error correlates with a "
    "change in the runtime version, you may be able to mitigate this error by temporarily rolling back to the previous "
    "runtime version. For more information, see https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)
PREVIEW_WARNING = (
    "LAMBDA_WARNING: This is a preview runtime version and should not be used for production workloads. For further "
    "information and to provide feedback, see https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html\r"
)


class Fault(Exception):
    """A failure that has a `Runtime.` type of its own and usually no stack trace."""

    def __init__(self, error_type, message, trace=()):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = list(trace)


def fault_result(fault, request_id=""):
    return error_result(fault.message, fault.error_type, fault.trace, request_id)


def exception_result(error, request_id=""):
    """An exception of the function's code; the stack starts there and not in this client."""
    frames = user_frames(error.__traceback__)
    return error_result(str(error), type(error).__name__, traceback.format_list(frames), request_id)


def error_result(message, error_type, stack_trace, request_id):
    return {
        "errorMessage": message or "",
        "errorType": error_type or "",
        "requestId": request_id,
        "stackTrace": stack_trace or [],
    }


def user_frames(trace):
    """(file, line, function, text) of each frame, without the ones that lead from this client to the function."""
    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(trace)]
    for index, frame in enumerate(frames):
        if not _is_ours(frame[0]):
            return frames[index:]
    return [frame for frame in frames if frame[0].endswith("/bootstrap.py")]


def strip_our_frames(trace):
    """The traceback object from the function's first frame on; None when there is none."""
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def xray_cause(result, frames):
    """The cause in X-Ray's form, as header bytes; empty when it would be too long for a header."""
    cause = {
        "working_directory": os.getcwd(),
        "exceptions": [
            {
                "message": result["errorMessage"],
                "type": result["errorType"],
                "stack": [{"label": label, "path": path, "line": line} for path, line, label, _ in frames],
            }
        ],
        "paths": sorted({frame[0] for frame in frames}),
    }
    encoded = json.dumps(cause).encode()
    return encoded if len(encoded) <= XRAY_CAUSE_MAX_BYTES else b""


def log_lines(result):
    """The lines of `[ERROR] Type: message`, with the traceback's indentation in no-break spaces, as AWS prints it."""
    description = "[ERROR]"
    if result["errorType"]:
        description += " " + result["errorType"]
    if result["errorMessage"]:
        description += (": " if result["errorType"] else " ") + result["errorMessage"]
    lines = [description, "Traceback (most recent call last):"]
    for element in result["stackTrace"]:
        lines.extend(_no_break_indent(line) for line in element.splitlines() or [""])
    return lines


def print_uncaught(error):
    """What the interpreter prints for an exception that ends it."""
    trace = strip_our_frames(error.__traceback__)
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def _is_ours(filename):
    return filename.startswith(HERE + "/lambent_") or filename == HERE + "/bootstrap.py"


def _no_break_indent(line):
    text = line.lstrip(" ")
    return "\u00a0" * (len(line) - len(text)) + text
