"""Requests about videos: their pictures, pieces of them, and what a model says of them."""

import shutil
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from read.app.asked import asked_of, file_response, sentence_of, text_of
from read.app.pieces import Pieces
from read.studio.folder import Footage
from read.studio.labels import Labels
from read.studio.requests import length_of, video_of

if TYPE_CHECKING:
    from read.studio.reading import FootageReading


class VideoRoutes:
    """The videos of the folder."""

    def __init__(self, labels: Labels, footage: Footage, reading: "FootageReading") -> None:
        self.labels, self.footage, self.reading, self.pieces = labels, footage, reading, Pieces()
        self.room = footage.cache / "pieces"
        shutil.rmtree(self.room, ignore_errors=True)  # what was left by who was killed

    def routes(self) -> list[Route]:
        """The addresses."""
        video = "/api/videos/{vid}"
        return [
            Route(f"{video}/file", self.file),
            Route(f"{video}/thumbnail", self.thumbnail),
            Route(f"{video}/clip", self.clip),
            Route(f"{video}/show", self.show, methods=["POST"]),
            Route(f"{video}/moments", self.moments),
            Route(f"{video}/answer", self.answer, methods=["POST"]),
            Route("/api/order", self.order),
        ]

    async def file(self, request: Request) -> Response:
        """A video as browsers play it, in ranges."""
        shown = await run_in_threadpool(self.footage.shown, video_of(self.footage, request).vid)
        if shown is None:
            raise HTTPException(404, "There is no copy to play yet.")
        return file_response(shown.path, media_type=shown.media_type)

    async def clip(self, request: Request) -> Response:
        """A piece of the video as a file of its own; `start` and `end` in seconds."""
        video = video_of(self.footage, request)
        return await self.pieces.answer(request, video.path, video.name, length_of(video), self.room)

    async def thumbnail(self, request: Request) -> Response:
        """Pictures of a video side by side; 404 as long as they are being made."""
        path = await run_in_threadpool(self.footage.thumbnail, video_of(self.footage, request).vid)
        if path is None:
            raise HTTPException(404, "There are no pictures of it yet.")
        return file_response(path, media_type="image/jpeg")

    async def show(self, request: Request) -> Response:
        """Make what browsers play of a video, and read it, before all others."""
        video = video_of(self.footage, request)
        await run_in_threadpool(self.footage.want, video.vid)
        await run_in_threadpool(self.reading.want, video.vid)
        return JSONResponse({"playable": video.playable})

    async def moments(self, request: Request) -> Response:
        """Where a model sees a sentence."""
        video, query = video_of(self.footage, request), sentence_of(request.query_params)
        return JSONResponse(await run_in_threadpool(self.reading.moments, video.vid, query))

    async def answer(self, request: Request) -> Response:
        """The answer of the last training's model."""
        video, asked = video_of(self.footage, request), await asked_of(request)
        query, adapter = sentence_of(asked), text_of(asked, "adapter", 200) or None
        found = await run_in_threadpool(self.reading.answer, video.vid, query, adapter)
        return JSONResponse(found, 200 if found["state"] == "done" else 202)

    async def order(self, _: Request) -> Response:
        """The unlabelled videos in the order in which they would teach most."""
        return JSONResponse(await run_in_threadpool(self.reading.order, self.labels.all()))
