"""The page on an address of this machine, until it is stopped."""

import signal
import socket
import sys
import threading
import webbrowser
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from read.app import MAX_DISK
from read.app.connections import Connection
from read.app.guard import is_loopback
from read.app.site import Site
from read.errors import InputError

IDLE_SECONDS = 60 * 60.0


def run(
    predictor: Any,
    host: str,
    port: int,
    max_bytes: int,
    max_seconds: float,
    open_browser: bool,
    max_disk: int = MAX_DISK,
    idle_seconds: float = IDLE_SECONDS,
) -> None:
    """Serve `predictor` until a signal comes; arguments as of `read.app.serve`."""  # fmt: skip
    with listening(host, port) as held:
        address = f"http://{f'[{host}]' if ':' in host else host}:{held.getsockname()[1]}"
        site = Site(predictor, max_bytes, max_seconds, idle_seconds, max_disk)
        if not is_loopback(host):
            print(f"Whoever reaches {host} can use it: there is no password.", file=sys.stderr)
        try:
            serve_until_stopped(site.app(host), held, address, open_browser)
        finally:
            site.close()  # a second time, or the first, if the server never came up


def serve_until_stopped(app: ASGIApp, held: socket.socket, address: str, open_browser: bool) -> None:
    """Serve `app` on a socket that listens, tell its address, and return when a signal has come."""
    server = server_of(app)
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        # A terminal that is closed ends the page as Ctrl-C does: with its files removed.
        signal.signal(signal.SIGHUP, server.handle_exit)
    print(f"The page: {address}   (Ctrl-C ends it)", flush=True)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server.run(sockets=[held])


def server_of(app: ASGIApp) -> uvicorn.Server:
    """A server of a page."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        http=Connection, ws="none", loop="asyncio", timeout_graceful_shutdown=3,
    )  # fmt: skip
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InputError where the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=100)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{host}:{port}: cannot be listened on ({reason}); another port is taken by --port") from None
