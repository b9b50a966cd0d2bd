"""Ports that nobody else is given until they are bound: below those that systems hand out by themselves."""

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port of the loopback that is free now; another worker's tests hardly ever choose the same."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")
