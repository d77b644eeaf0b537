"""A connection's other end without a network: what is written to it is kept."""

from __future__ import annotations

import asyncio


class MemoryTransport:
    """As much of `asyncio.Transport` as the HTTP server uses."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.closed = False
        self.reading = True
        self.unread_bytes = 0  # as if so many were still to be sent
        self.protocol: asyncio.BaseProtocol | None = None

    def set_write_buffer_limits(self, high: int) -> None: ...

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def receive(self, data: bytes) -> None:
        """Hands bytes to the protocol as the loop does."""
        while data and isinstance(self.protocol, asyncio.BufferedProtocol):
            taken = min(len(data), len(memory := memoryview(self.protocol.get_buffer(-1))))
            memory[:taken] = data[:taken]
            self.protocol.buffer_updated(taken)
            data = data[taken:]
        if data:
            assert isinstance(self.protocol, asyncio.Protocol)
            self.protocol.data_received(data)

    def pause_reading(self) -> None:
        assert self.reading, "asyncio ignores it, but whoever counts reasons should not"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.output += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.output += b"".join(pieces)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.close()
