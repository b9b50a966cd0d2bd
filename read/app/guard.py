"""What every request has to pass, and what every response says, before the page's own code comes in.

A page on the loopback is reachable for every web site that the same browser shows. Two things keep those out: the name
under which we were called, which a rebound DNS name cannot fake, and the place from which a request comes.
"""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; media-src 'self'; connect-src 'self'"
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
HEADERS = {
    "Content-Security-Policy": f"{_POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # what is removed here is not to live on in the browser's cache
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_ours(called: str, bound: str) -> bool:
    """Whether the Host header names us: the loopback by one of its names, whatever the port, which a tunnel may change.

    Bound to another address, any address in digits is fine, since what is rebound is a name, and this machine's names.
    """
    if not (found := _HOST.fullmatch(called)):
        return False
    name = found[1].strip("[]").lower().rstrip(".")
    if is_loopback(bound):
        return is_loopback(name)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {"localhost", bound.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    return True


class Guard:
    """Refuses requests under a foreign name or from a foreign page, and adds the headers to every response."""

    def __init__(self, app: ASGIApp, bound: str) -> None:
        self.app = app
        self.bound = bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({name: value for name, value in HEADERS.items() if name not in headers})
            await send(message)

        if reason := self._refusal(scope):
            await JSONResponse({"error": reason}, 403)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        called = headers.getlist("host")
        if len(called) != 1 or not is_ours(called[0], self.bound):
            return "This page is not served under that name; open the address that the terminal shows."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != called[0].lower():
            return "A page from elsewhere may not use this one."
        inside = scope["path"].startswith("/api/")
        if inside and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "A page from elsewhere may not use this one."
        return None
