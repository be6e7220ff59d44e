"""At most so many connections: a crowd at the door must not use up the files that the node's cameras need."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection

MOST_CONNECTIONS = 64


def limited(most: int = MOST_CONNECTIONS) -> type[ServerConnection]:
    """What makes connections for `serve`: those that come while `most` are open are closed at once, unread."""
    opened: set[ServerConnection] = set()

    class Limited(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            if len(opened) >= most:
                self.transport.abort()
            else:
                opened.add(self)

        def connection_lost(self, exc: Exception | None) -> None:
            opened.discard(self)
            super().connection_lost(exc)

    return Limited
