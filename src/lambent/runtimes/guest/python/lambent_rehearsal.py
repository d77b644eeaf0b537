"""A whole life of a function's process, from its variables to its second answer, in the process that forks.

The interpreter notes in its own memory what it learns about code that runs. What it has learnt before a fork, the fork need not
write, and so shares. Nothing else of a rehearsal is left: what follows finds everything as it was.
"""

import _socket
import os
import sys
import time

from lambent_faults import HERE
from lambent_output import Current

_DIRECTORY = os.path.join(HERE, "rehearsal")
# As many, and about as long, as a function has: they take memory, too.
VARIABLES = {
    "LANG": "C.UTF-8",
    "TZ": ":UTC",
    "LAMBDA_TASK_ROOT": _DIRECTORY,
    "LAMBDA_RUNTIME_DIR": HERE,
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "PYTHONPATH": HERE,
    "_HANDLER": "hello.handler",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_FUNCTION_NAME": "hello",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
    "AWS_ACCESS_KEY_ID": "ASIA" + 16 * "A",
    "AWS_SECRET_ACCESS_KEY": 40 * "a",
    "AWS_SESSION_TOKEN": 190 * "a",
    "AWS_EXECUTION_ENV": f"AWS_Lambda_python3.{sys.version_info[1]}",
    "AWS_LAMBDA_LOG_FORMAT": "Text",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:50000",
    "_LAMBENT_LAYERS_ROOT": "/opt",
}
_BODY = b'{"key": [1, 2.5, null, "text", true]}'
EVENT = (
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\nLambda-Runtime-Deadline-Ms: 1767225600000\r\n"
    b"Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:hello\r\n"
    b"Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1\r\n"
    b"content-length: %d\r\n\r\n" % len(_BODY)
) + _BODY
_END = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"


def rehearse(live, client_class, accepted):
    """`live(client)` is a function's process until the Runtime API ends it; `accepted` is what that says to an answer."""
    left = _State()
    client = client_class(VARIABLES["AWS_LAMBDA_RUNTIME_API"])
    # A connection to somebody who has said everything already, piece by piece.
    client._socket, server = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    for said in (EVENT, accepted, EVENT, accepted, _END):
        server.send(said)
    try:
        os.environ.update(VARIABLES)
        live(client)
    finally:
        left.restore()
        server.close()


class _State:
    """What a function's process changes."""

    def __init__(self):
        import logging

        self._logging = logging
        self._variables = dict(os.environ)
        self._directory = os.getcwd()
        self._lists = [(place, list(place)) for place in (sys.path, sys.argv, logging.getLogger().handlers)]
        self._dicts = [(place, dict(place)) for place in (sys.modules, sys.path_importer_cache)]
        self._streams = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
        self._converter = logging.Formatter.converter
        self._current = Current.request_id, Current.tenant_id
        self._prefix, self._no_bytecode = sys.pycache_prefix, sys.dont_write_bytecode
        # A function's modules were compiled by nobody.
        sys.pycache_prefix, sys.dont_write_bytecode = os.path.join(_DIRECTORY, "none"), True

    def restore(self):
        sys.pycache_prefix, sys.dont_write_bytecode = self._prefix, self._no_bytecode
        self._logging.Formatter.converter = self._converter
        Current.request_id, Current.tenant_id = self._current
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = self._streams
        for place, content in self._lists:
            place[:] = content
        for place, content in [*self._dicts, (os.environ, self._variables)]:
            for name in [name for name in place if name not in content]:
                del place[name]
            for name, value in content.items():
                if place.get(name) is not value:
                    place[name] = value
        os.chdir(self._directory)
        time.tzset()
