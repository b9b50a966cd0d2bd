"""The page that asks about a video of one's own choice, on the model of the last training."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from read.app import MAX_BYTES, MAX_DISK, MAX_SECONDS
from read.app.asked import refusal
from read.app.server import IDLE_SECONDS
from read.app.site import Site


class Asking:
    """An ASGI application: `read.app.site.Site` on a predictor that may be exchanged."""

    def __init__(self) -> None:
        self._predictor: Any = None
        self._site: Site | None = None
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app = self._app or refusal(404, "There is no model to ask yet: train one first.")
        await app(scope, receive, send)

    def look(self, predictor: Any) -> None:
        """Ask `predictor` from now on, and forget visits that have been idle for long."""
        if predictor is not self._predictor:
            self.close()
            self._predictor = predictor
            if predictor is not None:
                self._site = Site(predictor, MAX_BYTES, MAX_SECONDS, IDLE_SECONDS, MAX_DISK)
                self._app = self._site.starlette()
        elif self._site is not None:
            self._site.sessions.sweep()

    def close(self) -> None:
        """End all visits and remove their files."""
        site, self._site, self._app = self._site, None, None
        if site is not None:
            site.close()
