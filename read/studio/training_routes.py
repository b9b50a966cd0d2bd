"""Requests about the training and its report."""

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from read.app.asked import file_response
from read.studio.labels import Labels
from read.studio.requests import whole_of

if TYPE_CHECKING:
    from read.studio.training import Training

MAX_LOG = 2000  # lines
# The report is a page with scripts of its own: it comes without this page's cookies and sees nothing of it.
SANDBOX = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class TrainingRoutes:
    """The run that learns from the labels."""

    def __init__(self, labels: Labels, training: "Training") -> None:
        self.labels, self.training = labels, training

    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/api/train", self.train, methods=["GET"]),
            Route("/api/train", self.start, methods=["POST"]),
            Route("/api/train/stop", self.stop, methods=["POST"]),
            Route("/api/train/log", self.log),
            Route("/report/", self.report),
        ]

    async def train(self, _: Request) -> Response:
        """How far the training is, or what would be done."""
        return JSONResponse(await run_in_threadpool(lambda: self.training.status(self.labels.all())))

    async def start(self, request: Request) -> Response:
        """Begin to train, or go on."""
        await run_in_threadpool(lambda: self.training.start(self.labels.settle()))
        return await self.train(request)

    async def stop(self, request: Request) -> Response:
        """Stop; what is finished stays."""
        await run_in_threadpool(self.training.stop)
        return await self.train(request)

    async def log(self, request: Request) -> Response:
        """The end of what the run says."""
        tail = min(max(whole_of(request, "tail", 200), 1), MAX_LOG)
        return JSONResponse({"text": await run_in_threadpool(self.training.log, tail)})

    async def report(self, _: Request) -> Response:
        """The report of the last training."""
        if (path := self.training.report) is None:
            raise HTTPException(404, "There is no report yet.")
        return file_response(path, headers={"Content-Security-Policy": SANDBOX})
