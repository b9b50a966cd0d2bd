"""The page's own code on the server: uploads, the line of encodings, answers."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hmac import compare_digest
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from read.app import MAX_DISK
from read.app.answers import answer_told
from read.app.asked import HANDLERS, asked_of, file_response, sentence_of, size, text_of
from read.app.connections import network_of
from read.app.guard import Guard
from read.app.jobs import Job, Line
from read.app.media import SUFFIXES, inspect, spoken
from read.app.pieces import Pieces
from read.app.sessions import Session, Sessions, Upload, shown_name, suffix_of, unguessable
from read.data.transcripts import load_transcript
from read.encoders.frames import transcode_for_web
from read.errors import InputError

STATIC = Path(__file__).parent / "static"
SHARED = ("common.js", "moments.js", "ruler.js", "timeline.js", "page.css")  # with the studio's page
PARTS = ("page.js", *SHARED)
MAX_TRANSCRIPT = 1_000_000  # characters
SHOWN_WIDTH = 640  # pixels of the copy that browsers play
CHECKED = 16 * 1024**2  # bytes of an upload after which the room on the disk is looked at again
PATIENCE = (120.0, 10.0)  # seconds that reading a video may take: at least, and for each of its seconds
SWEEP = 60.0  # seconds, at most, between two looks for visits that nobody uses
SUBTITLES = {"srt": ".srt", "vtt": ".vtt"}


class Site:
    """The page and what it asks for.

    Args:
        predictor: a `read.predictor.Predictor`.
        max_bytes: of an uploaded file.
        max_seconds: of an uploaded video.
        idle_seconds: after which a session that nobody uses is removed with its files.
        max_disk: bytes of all files together.
    """

    def __init__(
        self, predictor: Any, max_bytes: int, max_seconds: float, idle_seconds: float, max_disk: float = MAX_DISK
    ) -> None:
        self.predictor = predictor
        self.max_bytes, self.max_seconds = max_bytes, max_seconds
        self.line = Line()
        self.sessions = Sessions(self.line, idle_seconds, max_disk)
        self.cookie = f"read-{unguessable()[:8]}"  # cookies know no ports: two servers must not share one
        self._pieces, self._asking, self._inspecting = Pieces(), asyncio.Lock(), asyncio.Semaphore(2)

    def app(self, bound: str) -> Guard:
        """The ASGI application of a server that listens on the address `bound`."""
        return Guard(self.starlette(), bound)

    def starlette(self) -> Starlette:
        """The page without its guard, for a server that has one."""
        video = "/api/videos/{key}"
        routes = [
            Route("/", self.page),
            Route("/{name:str}", self.static),
            Route("/api/session", self.session),
            Route("/api/videos", self.upload, methods=["POST"]),
            Route(video, self.status, methods=["GET"]),
            Route(video, self.remove, methods=["DELETE"]),
            Route(f"{video}/file", self.file),
            Route(f"{video}/clip", self.clip),
            Route(f"{video}/answer", self.answer, methods=["POST"]),
            Route(f"{video}/summary", self.summary, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers=HANDLERS, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Sweep now and then; at the end stop the line and remove all files."""

        async def sweep() -> None:
            while True:
                await asyncio.sleep(min(SWEEP, self.sessions.idle_seconds))
                await run_in_threadpool(self.sessions.sweep)

        sweeping = asyncio.create_task(sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            await run_in_threadpool(self.close)

    def close(self) -> None:
        """Stop the line of encodings and remove all files."""
        self.line.close()
        self.sessions.close()

    async def page(self, _: Request) -> Response:
        """The page itself."""
        return FileResponse(STATIC / "page.html")

    async def static(self, request: Request) -> Response:
        """Its script and its style: two names, and no others."""
        name = request.path_params["name"]
        if name not in PARTS:
            raise HTTPException(404, "There is nothing here.")
        return FileResponse(STATIC / name)

    async def session(self, request: Request) -> Response:
        """What the page has to know; begins a session for who has none."""
        session = self.sessions.get(request.cookies.get(self.cookie))
        if session is None:
            session = self.sessions.new(network_of(request.client.host if request.client else None))
        if session is None:
            raise HTTPException(503, "Too many people use this page at the moment; try again later.")
        response = JSONResponse(
            {
                "token": session.token,
                "bundle": self.predictor.bundle.folder.name,
                "adapters": {task: list(self.predictor.bundle.adapters(task)) for task in self.predictor.tasks},
                "suffixes": SUFFIXES,
                "max_bytes": self.max_bytes,
                "max_seconds": self.max_seconds,
                "limits": f"up to {size(self.max_bytes)} and {spoken(self.max_seconds)}",
                "idle": spoken(self.sessions.idle_seconds),
                "videos": [self._told(video) for video in session.videos.values()],
            }
        )
        response.set_cookie(self.cookie, session.id, httponly=True, samesite="strict")
        return response

    async def upload(self, request: Request) -> Response:
        """Take a video, which is the body as it is, to disk, look what it is, and put it in the line."""
        session = self._session(request, changes=True)
        given = request.query_params.get("name", "")
        suffix = suffix_of(given)
        declared = int(request.headers.get("content-length") or 0)
        self._refuse_large(declared)
        if self.sessions.waits_enough(session):
            raise HTTPException(429, "Several videos from your address are waiting already; try again later.")
        await self._find_room(declared, session)
        folder = session.new_folder()
        path = folder / f"upload{suffix}"
        try:
            written = checked = 0
            with path.open("xb") as file:
                async for part in request.stream():
                    written += len(part)
                    self._refuse_large(written)
                    if written - checked > CHECKED:
                        checked = written
                        await self._find_room(len(part), session)
                    file.write(part)
                    session.touch()  # who uploads is not idle
            async with self._inspecting:
                media = await run_in_threadpool(inspect, path, self.max_seconds, shown_name(given))
        except BaseException:  # whoever has gone away in the middle, too
            shutil.rmtree(folder, ignore_errors=True)
            raise
        least, each = PATIENCE
        late = f"{shown_name(given)}: reading it took too long and was given up"
        job = Job(lambda job: self._prepare(session, video), (least + each * media.seconds, late))
        video = Upload(shown_name(given), path, media, job)
        video.shown = path if media.played_as else None
        self.sessions.add(session, video)
        self.line.add(video.job)
        return JSONResponse(self._told(video), 201)

    async def status(self, request: Request) -> Response:
        """How far a video is."""
        return JSONResponse(self._told(self._video(request)))

    async def remove(self, request: Request) -> Response:
        """Forget a video and its files."""
        video = self._video(request, changes=True)
        await run_in_threadpool(self.sessions.remove, self._session(request), video.id)
        return Response(status_code=204)

    async def file(self, request: Request) -> Response:
        """The video as browsers play it, in ranges."""
        video = self._video(request)
        if video.shown is None:
            raise HTTPException(404, "There is no copy to play yet.")
        return file_response(video.shown, media_type=video.media.played_as or "video/mp4")

    async def clip(self, request: Request) -> Response:
        """A piece of the video as a file of its own; `start` and `end` in seconds."""
        video = self._video(request)
        return await self._pieces.answer(request, video.path, video.name, video.media.seconds, video.path.parent)

    async def answer(self, request: Request) -> Response:
        """Moments and saliency of a sentence, by one of the adapters."""
        video, asked = self._ready(request), await asked_of(request)
        query, adapter = sentence_of(asked), self._adapter(asked, "grounding")
        async with self._asking:
            told = await self._named(video, answer_told, self.predictor, video.job.result, video.name, query, adapter)
        return JSONResponse(told)

    async def summary(self, request: Request) -> Response:
        """A summary, with what is said in the video where that is given: as text or as subtitles."""
        video, asked = self._ready(request), await asked_of(request)
        adapter, transcript = self._adapter(asked, "summarization"), text_of(asked, "transcript", MAX_TRANSCRIPT)
        if suffix := SUBTITLES.get(text_of(asked, "kind", 10)):
            path = video.path.parent / f"{unguessable()}{suffix}"
            try:
                path.write_text(transcript, encoding="utf-8")
                transcript = load_transcript(path)
            except InputError as error:
                raise InputError(str(error).replace(str(path), "transcript")) from None
            finally:
                path.unlink(missing_ok=True)
        async with self._asking:
            text = await self._named(video, video.job.result.summary, transcript, adapter)
        return JSONResponse({"video": video.name, "adapter": adapter, "summary": text})

    def _prepare(self, session: Session, video: Upload) -> Any:
        """Make what browsers play, where they cannot play the file, and encode the video."""
        try:
            if video.shown is None:
                copy = video.path.with_name("shown.mp4")
                transcode_for_web(video.path, copy, width=SHOWN_WIDTH)
                video.shown = copy
            return self.predictor.encode(video.path, progress=video.job.progress)
        except InputError as error:
            raise _named(error, video) from None
        finally:
            if video.id not in session.videos:  # removed meanwhile, and perhaps written to after that
                video.discard()

    def _session(self, request: Request, *, changes: bool = False) -> Session:
        """The session of a request; what changes something has to show the token of its page."""
        session = self.sessions.get(request.cookies.get(self.cookie))
        if session is None:
            raise HTTPException(403, "This visit has ended and its files were removed; load the page again.")
        if changes and not compare_digest(request.headers.get("x-token", "").encode(), session.token.encode()):
            raise HTTPException(403, "This did not come from the page; load it again.")
        return session

    def _video(self, request: Request, *, changes: bool = False) -> Upload:
        """The video of a request, if it is one of the session's own."""
        video = self._session(request, changes=changes).videos.get(request.path_params["key"])
        if video is None:
            raise HTTPException(404, "This video is no longer here; add it again.")
        video.seen = time.monotonic()
        return video

    def _ready(self, request: Request) -> Upload:
        video = self._video(request, changes=True)
        if video.job.state != "done":
            raise HTTPException(409, video.job.error or "The video has not been read yet.")
        return video

    def _told(self, video: Upload) -> dict[str, Any]:
        job, encoded = video.job, video.job.result
        return {
            "id": video.id, "name": video.name, "state": job.state, "before": self.line.before(job),
            "done": job.done, "total": job.total or video.media.seconds, "error": job.error,
            "playable": video.shown is not None, "copied": video.media.played_as is None,
            "duration": encoded.duration if job.state == "done" else video.media.seconds,
        }  # fmt: skip

    async def _named(self, video: Upload, work: Any, *arguments: Any) -> Any:
        """Do work in a thread; its complaints name the video as the person does."""
        try:
            return await run_in_threadpool(work, *arguments)
        except InputError as error:
            raise _named(error, video) from None

    def _adapter(self, asked: dict[str, Any], task: str) -> str:
        """The adapter that is asked for, else the task's first."""
        known = list(self.predictor.bundle.adapters(task))
        if not known:
            raise HTTPException(422, f"This bundle has no model for {task}.")
        adapter = asked.get("adapter") or known[0]
        if adapter not in known:
            raise HTTPException(422, f"There is no such adapter; there are {', '.join(known)}.")
        return adapter

    async def _find_room(self, wanted: int, session: Session) -> None:
        if not await run_in_threadpool(self.sessions.room, wanted, session):
            raise HTTPException(507, "There is no room for this file on the disk here; try again later.")

    def _refuse_large(self, count: int) -> None:
        if count > self.max_bytes:
            raise HTTPException(413, f"The file is larger than the {size(self.max_bytes)} that this page takes.")


def _named(error: InputError, video: Upload) -> InputError:
    """An error that names the video as the person does."""
    return InputError(str(error).replace(str(video.path), video.name))
