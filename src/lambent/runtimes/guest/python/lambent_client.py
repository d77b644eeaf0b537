"""The Runtime API over one kept-alive connection, on a bare socket: the http module costs more than the whole exchange.

The answer to an event and the request for the next one travel together, which saves a turn for each invocation.
"""

import _socket
import errno
import re

SMALL_BODY_BYTES = 64 * 1024  # up to here a request is sent in one piece, and the next one with it
READ_BYTES = 64 * 1024
LARGE_BODY_BYTES = 1024 * 1024
KEPT_BYTES = 16 * 1024 * 1024
ATTEMPTS = 3  # a connection may be closed under us while we wait; the request is then made again

_PREFIX = b"/2018-06-01/runtime/"
# What Lambent answers to a response: known by sight, where it says so in just these bytes.
ACCEPTED = b'HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{"status":"OK"}\n'
# What an event of its begins with, unless it has more to say. Whatever else comes is parsed line by line.
_EVENT = re.compile(
    rb"HTTP/1\.1 200 OK\r\ndate: [ -~]*\r\nContent-Type: application/json\r\n"
    rb"Lambda-Runtime-Aws-Request-Id: ([!-~]+)\r\nLambda-Runtime-Deadline-Ms: ([0-9]+)\r\n"
    rb"Lambda-Runtime-Invoked-Function-Arn: ([!-~]+)\r\nLambda-Runtime-Trace-Id: ([!-~]+)\r\n"
    rb"content-length: ([0-9]+)\r\n\r\n"
)


class RuntimeApiError(Exception):
    """The Runtime API cannot be reached, or does not speak as it should. Nothing can be done from inside."""


class RuntimeClient:
    def __init__(self, address, connection_fd=None):
        """`connection_fd` is a connection to it, where somebody has made one."""
        host, _, port = address.rpartition(":")
        self._address = (host or address, int(port) if host else 80)
        self._tail = b" HTTP/1.1\r\nHost: %s\r\n" % address.encode("latin-1")
        self._next = b"GET " + _PREFIX + b"invocation/next" + self._tail + b"\r\n"
        self._socket = None
        if connection_fd is not None:
            self._socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, connection_fd)
        self._unread = b""
        self._next_sent = False
        self._keeps_memory = False

    def next_event(self):
        """(headers with lower-case names, body) of the next invocation; waits for as long as it takes."""
        for attempt in range(ATTEMPTS):
            try:
                if not self._next_sent:
                    self._send(self._next)
                self._next_sent = False
                status, headers, body = self._read_event()
                break
            except OSError as error:
                self._disconnect()
                if attempt == ATTEMPTS - 1:
                    raise RuntimeApiError(f"Failed to get next invocation: {error}") from None
        if status != 200:
            raise RuntimeApiError(f"Failed to get next invocation. HTTP response code: {status}")
        return headers, body

    def respond(self, request_id, body, content_type):
        """Posts the function's answer; gives (status, body), with status 0 when the connection broke meanwhile."""
        head = b"POST /2018-06-01/runtime/invocation/%b/response%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        return self._answer(head % (request_id, self._tail, content_type, len(body)), body)

    def fail(self, request_id, body, error_type, xray_cause):
        """Posts the function's error; as `respond`."""
        headers = b"Content-Type: application/json\r\n" + _error_type_header(error_type)
        if xray_cause:
            headers += b"Lambda-Runtime-Function-XRay-Error-Cause: %s\r\n" % xray_cause
        return self._answer(self._post(b"invocation/" + request_id + b"/error", body, headers), body)

    def fail_init(self, body, error_type):
        """Posts an error of the init phase; gives the status."""
        return self._fail_start(b"init/error", body, error_type)

    def fail_restore(self, body, error_type):
        """The same for an error after the process was restored from its image."""
        return self._fail_start(b"restore/error", body, error_type)

    def rehearse(self):
        """Does what the first request does, and takes it back."""
        self._connect()
        self.hang_up()

    def hang_up(self):
        """Closes the connection; the next request makes a new one."""
        self._disconnect()

    def _fail_start(self, path, body, error_type):
        headers = b"Content-Type: application/json\r\n" + _error_type_header(error_type)
        try:
            self._send(self._post(path, body, headers), body)
            return self._read()[0]
        except OSError as error:
            raise RuntimeApiError(f"Failed to post {path.decode().replace('/', ' ')}: {error}") from None

    def _answer(self, head, body):
        for _ in range(2):
            try:
                if len(body) <= SMALL_BODY_BYTES:
                    self._send(head + body + self._next)
                    self._next_sent = True
                else:
                    self._send(head, body)
            except OSError:
                self._next_sent = False  # what the other side said before it hung up may still be there to read
            try:
                status, answer = self._read_acceptance()
            except OSError:
                self._disconnect()  # the function may have closed it; an answer that did arrive is not taken twice
            else:
                return status, answer
        return 0, b""

    def _read_acceptance(self):
        if not self._unread and self._socket is not None:
            self._unread = self._receive()
        if self._unread.startswith(ACCEPTED):
            self._unread = self._unread[len(ACCEPTED) :]
            return 202, b""
        status, _, answer = self._read()
        return status, answer

    def _post(self, path, body, headers):
        return b"POST " + _PREFIX + path + self._tail + headers + b"Content-Length: %d\r\n\r\n" % len(body)

    def _send(self, *parts):
        if self._socket is None:
            self._connect()
        for part in parts:
            self._socket.sendall(part)

    def _connect(self):
        connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        self._unread = b""

    def _disconnect(self):
        if self._socket is not None:
            try:
                self._socket.getpeername()
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ENOTSOCK):
                    self._socket.detach()  # the function closed it, and the number may be another file's by now
            self._socket.close()
        self._socket = None
        self._unread = b""
        self._next_sent = False

    def _read_event(self):
        """As `_read`."""
        if not self._unread and self._socket is not None:
            self._unread = self._receive()
        known = _EVENT.match(self._unread)
        if known is None:
            return self._read()
        request_id, deadline_ms, arn, trace_id, length = map(bytes.decode, known.groups())
        self._unread = self._unread[known.end() :]
        headers = {
            "lambda-runtime-aws-request-id": request_id,
            "lambda-runtime-deadline-ms": deadline_ms,
            "lambda-runtime-invoked-function-arn": arn,
            "lambda-runtime-trace-id": trace_id,
        }
        return 200, headers, self._read_exactly(int(length))

    def _read(self):
        """One response: (status, headers, body). Raises OSError when the connection ends before it does."""
        if self._socket is None:
            raise ConnectionError("not connected")
        status, headers = self._read_head()
        while status < 200:
            status, headers = self._read_head()
        length = headers.get("content-length")
        if length is not None:
            body = self._read_exactly(int(length))
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks()
        else:
            body = b""
        if headers.get("connection", "").lower() == "close":
            self._disconnect()
        return status, headers, body

    def _read_head(self):
        data = self._unread
        end = data.find(b"\r\n\r\n")
        while end < 0:
            data += self._receive()
            end = data.find(b"\r\n\r\n")
        self._unread = data[end + 4 :]
        return self.parse_head(data[:end])

    @staticmethod
    def parse_head(data):
        first, *lines = str(data, "utf-8", "replace").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in [line.partition(":") for line in lines]}
        if not first.startswith("HTTP/1.") or not first[9:12].isdigit():
            raise ConnectionError("not an HTTP response")
        return int(first[9:12]), headers

    def _read_exactly(self, length):
        data = self._unread
        if len(data) >= length:
            self._unread = data[length:]
            return data[:length]
        if length > LARGE_BODY_BYTES and not self._keeps_memory:
            # The C library gives back to the kernel what is free beyond twice the largest block that it has seen freed. An event and
            # its answer of 6 MB are five such blocks, which would be taken page by page again for the next one.
            self._keeps_memory = bool(bytes(KEPT_BYTES))
        body = bytearray(length)
        body[: len(data)] = data
        self._unread = b""
        view = memoryview(body)
        filled = len(data)
        while filled < length:
            count = self._socket.recv_into(view[filled:], 0, _socket.MSG_WAITALL)
            if not count:
                raise ConnectionError("connection closed in a body")
            filled += count
        return body

    def _read_chunks(self):
        body = bytearray()
        while True:
            size = int(self._read_line().partition(b";")[0], 16)
            if not size:
                break
            body += self._read_exactly(size)
            self._read_line()
        while self._read_line():  # trailers
            pass
        return body

    def _read_line(self):
        data = self._unread
        while b"\r\n" not in data:
            data += self._receive()
        line, _, self._unread = data.partition(b"\r\n")
        return line

    def _receive(self):
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("connection closed")
        return data


def _error_type_header(error_type):
    """A class may have any name; a header's value may not."""
    safe = error_type.encode("ascii", "backslashreplace").replace(b"\r", b"").replace(b"\n", b"")
    return b"Lambda-Runtime-Function-Error-Type: %s\r\n" % safe[:1024]
