"""Pieces of videos, as files to keep."""

import asyncio
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from read.app.sessions import unguessable
from read.encoders.cut import cut
from read.errors import InputError


class Pieces:
    """Cuts what a request asks for out of videos, one piece at a time."""

    def __init__(self) -> None:
        self._cutting = asyncio.Lock()

    async def answer(self, request: Request, path: Path, name: str, seconds: float, folder: Path) -> Response:
        """The piece from `start` to `end` of the address, in seconds.

        Args:
            request: whose address it is.
            path: the video.
            name: what the person calls it.
            seconds: how long it is.
            folder: where the piece lies until it has been sent.

        Raises:
            HTTPException: the video has no such piece.
            InputError: as `cut`, with the name in the place of the path.
        """
        try:
            start, end = (float(request.query_params[key]) for key in ("start", "end"))
        except (KeyError, ValueError):
            raise HTTPException(422, "A piece has a start and an end, in seconds.") from None
        if not (0 <= start < end < float("inf") and start < seconds):
            raise HTTPException(422, "There is no such piece in this video.")
        out = folder / f"{unguessable()}.mp4"
        async with self._cutting:
            try:
                await run_in_threadpool(cut, path, start, end, out)
            except InputError as error:
                raise InputError(str(error).replace(str(path), name)) from None
        told = f"{Path(name).stem} {start:.1f}-{end:.1f} s.mp4"
        return FileResponse(out, filename=told, background=BackgroundTask(out.unlink, missing_ok=True))
