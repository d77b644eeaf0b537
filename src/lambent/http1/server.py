"""The HTTP/1.1 server protocol.

One request at a time on each connection; what a client pipelines waits in the parser's turn. The application is called
synchronously, so an answer that is at hand costs no task. Network bytes are hostile: targets, headers and bodies are
bounded, and a malformed request is answered with 400 and the connection closed. What clients who are slow may cost is in
`lobby.py`: a client that does not read its answers is not read either.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from lambent.http1.application import Application
from lambent.http1.connection import Connection
from lambent.http1.lobby import Lobby


class Server:
    """Listeners of one application. `data` travels with each request: see `Request.application_data`.

    Connections beyond `connections_max` are broken at once. Several servers may share a `lobby`, and its bounds with it.
    """

    def __init__(
        self, application: Application, data: Any = None, connections_max: int | None = None, lobby: Lobby | None = None
    ) -> None:
        self.application = application
        self.connections_max = connections_max
        self.data = data
        self.lobby = lobby if lobby is not None else Lobby()
        self.connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def serve(self, listener: socket.socket) -> None:
        """Serves a listening socket, which it owns from now on."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: Connection(self), sock=listener, backlog=4096))

    def close(self) -> None:
        """Stops listening and drops every connection."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in list(self.connections):
            connection.abort()
