"""Who may hold a connection: slow ones end, and where there are too many, one that asks for nothing makes room.

uvicorn waits for ever for the rest of a request, and counts whoever does not send it among those that it serves.
"""

import asyncio
import ipaddress

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST, MOST_OF_ONE = 256, 64  # connections in all, and of one address
HEADER_SECONDS = 15.0  # for all of a request but its body
BODY_SECONDS = 60.0  # without a byte of a body


def network_of(address: str | None) -> str:
    """What counts as one place: an address, the network of an address of IPv6; "" for this machine's own.

    Behind the loopback stand all those who come through a tunnel.
    """
    try:
        found = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return ""
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_loopback:
        return ""
    return str(found if found.version == 4 else ipaddress.ip_network((found, 64), strict=False))


class Connection(H11Protocol):
    """One connection of HTTP/1.1."""

    since = 0.0
    _timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Come in, in the place of somebody who asks for nothing where there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.network = network_of(self.client[0] if self.client else None)
        others = [other for other in self.connections if other is not self and not other.transport.is_closing()]
        same = [other for other in others if other.network == self.network] if self.network else []
        full = same if len(same) >= MOST_OF_ONE else others if len(others) >= MOST else None
        if full is not None:
            waiting = [other for other in full if not other.busy]
            (min(waiting, key=lambda other: other.since) if waiting else self).transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for more no longer than is due."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Set the timer: from a request's first sign for its head, from the last byte for its body."""
        if self.transport.is_closing() or (self.busy and not self.cycle.more_body):
            self._unwatch()
        elif self.busy:
            self._unwatch()
            self._timer = self.loop.call_later(BODY_SECONDS, self._give_up)
        else:
            left = self.since + HEADER_SECONDS - self.loop.time()
            self._unwatch()
            self._timer = self.loop.call_later(max(left, 0.0), self._give_up)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.busy and self.flow.read_paused:  # it is we who do not read
            self._watch()
        else:
            self.transport.abort()
