"""The studio's page: what it shows of a folder of videos, and where it asks for the rest.

Every name in an address is looked up among the names that are known here, and becomes no path.
"""

import asyncio
import threading
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from read.app.asked import HANDLERS, MAX_QUERY, refusal
from read.app.guard import HEADERS, Guard
from read.app.jobs import UNEXPECTED
from read.app.site import SHARED
from read.app.site import STATIC as APP_STATIC
from read.errors import InputError
from read.studio.admitted import Admitted
from read.studio.asking import Asking
from read.studio.folder import Footage
from read.studio.formats import FORMATS
from read.studio.label_routes import MAX_IMPORT, LabelRoutes, shown
from read.studio.labels import Conflict, Labels
from read.studio.requests import whole_of
from read.studio.saved import UnsavedError
from read.studio.training_routes import TrainingRoutes
from read.studio.video_routes import VideoRoutes

if TYPE_CHECKING:
    from read.studio.reading import FootageReading
    from read.studio.training import Training

STATIC = Path(__file__).parent / "static"
PARTS = {name: APP_STATIC / name for name in SHARED}
PARTS |= {path.name: path for path in STATIC.iterdir() if path.suffix in (".js", ".css")}
POLICY = HEADERS["Content-Security-Policy"].replace("img-src data:", "img-src 'self' data:")
LOOK = 2.0  # seconds between looks at the folder and the training


class Studio:
    """The page of one folder of videos.

    Args:
        name: of the dataset, its folder in data/catalog.
        labels: of its videos.
        footage: the videos.
        reading: what a model says of them.
        training: the run that learns from the labels.
    """

    def __init__(
        self, name: str, labels: Labels, footage: Footage, reading: "FootageReading", training: "Training"
    ) -> None:
        self.name, self.labels, self.footage, self.reading, self.training = name, labels, footage, reading, training
        self.asking = Asking()
        self._told: dict[str, tuple[dict[str, Any], int]] = {}  # what was last told of a video, and at which look first
        self._looks = 0
        self.amiss = ""  # what the last look at the folder and the training complained of
        self._looking = threading.Lock()  # each tab asks in a thread of its own

    def app(self, bound: str, secret: str) -> Guard:
        """The ASGI application of a server that listens on the address `bound`, for who shows `secret`."""
        routes = [
            Route("/", self.page),
            Route("/{name:str}", self.static),
            Route("/api/state", self.state),
            Route("/api/changes", self.changes),
            *LabelRoutes(self.name, self.labels, self.footage).routes(),
            *VideoRoutes(self.labels, self.footage, self.reading).routes(),
            *TrainingRoutes(self.labels, self.training).routes(),
            Mount("/ask", app=self.asking),
        ]
        unsaved = {UnsavedError: lambda _, error: refusal(503, str(error))}  # which the page asks for again
        handlers = {**HANDLERS, **unsaved, Conflict: conflict}
        admitted = Admitted(Starlette(routes=routes, exception_handlers=handlers, lifespan=self.lifespan), secret)
        self.token = admitted.token
        return Guard(admitted, bound)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Look now and then whether the folder has changed and a training has ended."""

        async def look() -> None:
            while True:
                await run_in_threadpool(self.look)
                await asyncio.sleep(LOOK)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await run_in_threadpool(self.asking.close)

    def look(self) -> None:
        """Take over what has changed since the last look; what is amiss may be in order at the next."""
        try:
            self.footage.rescan()
            self.reading.reload(self.training.bundle)
            self.asking.look(self.reading.predictor)
            self.amiss = ""
        except InputError as error:
            self.amiss = str(error)
        except Exception:
            traceback.print_exc()
            self.amiss = UNEXPECTED

    async def page(self, _: Request) -> Response:
        """The page itself, which shows pictures of the videos."""
        return FileResponse(STATIC / "studio.html", headers={"Content-Security-Policy": POLICY})

    async def static(self, request: Request) -> Response:
        """Its scripts and styles: known names, and no others."""
        if (path := PARTS.get(request.path_params["name"])) is None:
            raise HTTPException(404, "There is nothing here.")
        return FileResponse(path)

    async def state(self, _: Request) -> Response:
        """What the page has to know when it opens."""
        return JSONResponse(await run_in_threadpool(self._state))

    def _state(self) -> dict[str, Any]:
        videos, looks = self._videos(-1)
        return {
            "token": self.token, "folder": str(self.footage.folder), "kept_in": str(self.labels.folder.resolve()),
            "version": self.labels.version, "seen": looks, "working": self.training.working_here,
            "clip_len": self.labels.clip_len, "videos": videos, "max_query": MAX_QUERY, "max_import_bytes": MAX_IMPORT,
            "kinds": [{"kind": kind, "per_video": form.per_video} for kind, form in FORMATS.items()],
            **self._model(),
        }  # fmt: skip

    def _model(self) -> dict[str, Any]:
        reading = self.reading
        told = {"by": reading.by, "adapters": reading.adapters, "trouble": reading.trouble, "amiss": self.amiss}
        return {**told, "has_bundle": reading.predictor is not None}

    async def changes(self, request: Request) -> Response:
        """Videos of which something else is told since the look `seen`; labels, where their version is not `since`."""
        since, seen = whole_of(request, "since", -1), whole_of(request, "seen", -1)
        return JSONResponse(await run_in_threadpool(self._changes, since, seen))

    def _changes(self, since: int, seen: int) -> dict[str, Any]:
        videos, looks = self._videos(seen)
        version, labels = self.labels.version, self.labels.all()
        told = None if version == since else [shown(label) for label in labels]
        return {"version": version, "seen": looks, "videos": videos, "labels": told, **self._model()}

    def _videos(self, seen: int) -> tuple[list[dict[str, Any]], int]:
        """Videos of which something else is told than at the look `seen`, and the number of this look."""
        with self._looking:
            self._looks += 1
            before, told = self._told, self._tell()
            told |= {vid: {"vid": vid, "gone": True} for vid in before if vid not in told}
            self._told = {
                vid: before[vid] if vid in before and before[vid][0] == now else (now, self._looks)
                for vid, now in told.items()
            }
            fresh = seen < 0  # who knows of no video yet, needs not be told of one that has gone
            changed = [now for now, look in self._told.values() if look > seen and not (fresh and "gone" in now)]
            return changed, self._looks

    def _tell(self) -> dict[str, dict[str, Any]]:
        """What there is to be told of each video, by its name."""
        labels, twins, texts = self.labels.all(), self.reading.twins(), self.labels.texts
        counts, sides = Counter(label.vid for label in labels), {label.vid: label.side for label in labels}
        told = {
            vid: {
                "vid": vid, "file": file.name, "key": file.key, "seconds": file.seconds, "state": file.state,
                "error": file.error, "playable": file.playable, "side": sides.get(vid, ""), "labels": counts[vid],
                "twins": twins.get(vid, []), "transcript": bool(texts(vid).transcript),
                "summary": bool(texts(vid).summary), "reading": self.reading.state(vid),
            }
            for vid, file in self.footage.videos.items()
        }  # fmt: skip
        return told | {vid: self._missing(vid, sides[vid], counts[vid]) for vid in counts if vid not in told}

    def _missing(self, vid: str, side: str, count: int) -> dict[str, Any]:
        """What is told of a video that labels name, and of which there is no file."""
        why = f"{vid}: there is no file of this name in the folder (any more); put it back, or remove its sentences"
        if file := self.footage.find(vid):
            why = f"{vid}: its sentences name the file with its ending; call it {file.vid} in {self.labels.annotations}"
        return {
            "vid": vid, "file": vid, "key": "", "seconds": None, "state": "failed", "error": why, "playable": False,
            "side": side, "labels": count, "twins": [], "transcript": False, "summary": False, "reading": "failed",
        }  # fmt: skip


def conflict(_: Request, error: Any) -> Response:
    """Somebody else has changed the label meanwhile: it, as it is now."""
    now = None if error.label is None else shown(error.label)
    return JSONResponse({"error": str(error), "label": now}, 409)
