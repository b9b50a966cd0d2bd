"""Who may use the studio: whoever came by the address with the secret, from the page itself.

A port of the loopback can be reached by every user of a machine; the videos and labels are one user's.
"""

from hmac import compare_digest

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from read.app.asked import refusal
from read.app.sessions import unguessable

STRANGER = "Open the address that the terminal shows: it has a key that this browser has not shown yet."
ELSEWHERE = "This did not come from the page; load it again."
FREE = ("GET", "HEAD")  # what changes nothing needs no token
STATE = "/api/state"  # where a page is told the token, also one that has the token of a studio that was here before


class Admitted:
    """Lets in who shows the secret: in the address of the first visit, by a cookie from then on.

    What changes something has to show the token, too. It is of this studio alone: a page that shows another one was
    made by one that was here before, perhaps of another folder, and is told so whatever it asks.

    Args:
        app: what is kept.
        secret: of the address.
        page: the file that the address itself shows.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self.app, self.secret = app, secret
        self.token = unguessable()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer: ASGIApp = self.app
        if scope["type"] == "http":
            answer = self._refusal(Request(scope)) or self.app
        await answer(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        cookie = f"read-studio-{request.url.port or 80}"  # cookies know no ports, and two studios must not share one
        given = request.query_params.get("key")
        if request.url.path == "/" and given is not None and _same(given, self.secret):
            response = RedirectResponse("/", 303)  # the secret goes out of the address, and so out of the history
            response.set_cookie(cookie, self.secret, httponly=True, samesite="strict")
            return response
        if not _same(request.cookies.get(cookie, ""), self.secret):
            return refusal(403, STRANGER)
        asks = not request.url.path.startswith("/ask/")  # has tokens of its own
        shown = request.headers.get("x-token", "")
        needed = request.method not in FREE or (shown and request.url.path != STATE)
        if asks and needed and not _same(shown, self.token):
            return refusal(403, ELSEWHERE)
        return None


def _same(given: str, right: str) -> bool:
    return compare_digest(given.encode(errors="replace"), right.encode())
