"""Requests about labels: each is saved before it is answered."""

import re
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from read.app.asked import MAX_QUERY, asked_of, text_of
from read.app.site import MAX_TRANSCRIPT
from read.studio.folder import Footage
from read.studio.formats import FORMATS
from read.studio.labels import Brought, Conflict, Label, Labels
from read.studio.requests import file_of, length_of, lengths_of, video_named, video_of, windows_of

MAX_IMPORT = 20 * 1024**2  # bytes


class LabelRoutes:
    """Labels, their history, texts of videos, import and export."""

    def __init__(self, name: str, labels: Labels, footage: Footage) -> None:
        self.name, self.labels, self.footage = name, labels, footage

    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/api/labels", self.all_labels, methods=["GET"]),
            Route("/api/labels", self.add, methods=["POST"]),
            Route("/api/labels/{qid}", self.change, methods=["PUT"]),
            Route("/api/labels/{qid}", self.remove, methods=["DELETE"]),
            Route("/api/history", self.history),
            Route("/api/restore", self.restore, methods=["POST"]),
            Route("/api/videos/{vid}/texts", self.texts, methods=["GET"]),
            Route("/api/videos/{vid}/texts", self.write_texts, methods=["PUT"]),
            Route("/api/import", self.bring, methods=["POST"]),
            Route("/api/export", self.export),
        ]

    async def all_labels(self, _: Request) -> Response:
        """All labels."""
        version, labels = await run_in_threadpool(lambda: (self.labels.version, self.labels.all()))
        return JSONResponse({"version": version, "labels": [shown(label) for label in labels]})

    async def add(self, request: Request) -> Response:
        """Save a new label."""
        asked = await asked_of(request)
        video, query = video_named(self.footage, asked.get("vid")), text_of(asked, "query", MAX_QUERY)
        windows = windows_of(asked)
        label = await run_in_threadpool(
            lambda: self.labels.add(video.vid, query, windows, length_of(video), asked=asked.get("asked") is True)
        )
        return self._saved(label, 201)

    async def change(self, request: Request) -> Response:
        """Save a label that was there, if it is still the one that was changed."""
        asked, qid = await asked_of(request), self._qid(request)
        query = text_of(asked, "query", MAX_QUERY) if "query" in asked else None
        windows = windows_of(asked) if "windows" in asked else None
        vid = video_named(self.footage, asked["vid"]).vid if "vid" in asked else None
        rev = text_of(asked, "rev", 100)
        lengths = lengths_of(self.footage)
        label = await run_in_threadpool(
            lambda: self.labels.change(qid, rev, query=query, windows=windows, vid=vid, lengths=lengths)
        )
        return self._saved(label, 200)

    async def remove(self, request: Request) -> Response:
        """Delete a label."""
        await run_in_threadpool(self.labels.remove, self._qid(request), request.query_params.get("rev", ""))
        return JSONResponse({"version": self.labels.version})

    async def history(self, _: Request) -> Response:
        """The last versions, the newest first."""
        found = await run_in_threadpool(self.labels.history, 200)
        return JSONResponse({"versions": [asdict(version) for version in found]})

    async def restore(self, request: Request) -> Response:
        """Go back to a version, which makes a new one."""
        version = (await asked_of(request)).get("version")
        if not isinstance(version, int) or isinstance(version, bool):
            raise HTTPException(422, "version: must be a number.")
        await run_in_threadpool(self.labels.restore, version)
        return JSONResponse({"version": self.labels.version})

    async def texts(self, request: Request) -> Response:
        """What is said in a video, and its summary."""
        return JSONResponse(asdict(await run_in_threadpool(self.labels.texts, video_of(self.footage, request).vid)))

    async def write_texts(self, request: Request) -> Response:
        """Save them."""
        video, asked = video_of(self.footage, request), await asked_of(request)
        rev = text_of(asked, "rev", 100)
        said, summary = (text_of(asked, key, MAX_TRANSCRIPT) for key in ("transcript", "summary"))
        return JSONResponse(asdict(await run_in_threadpool(self.labels.set_texts, video.vid, rev, said, summary)))

    async def bring(self, request: Request) -> Response:
        """Import labels from a file, which is the body; with `dry`, say only what would come of it."""
        form, vid = self._form(request), ""
        if form.per_video:
            vid = video_named(self.footage, request.query_params.get("vid")).vid
        content, dry = await file_of(request, MAX_IMPORT), request.query_params.get("dry") == "1"

        def bring() -> Brought:
            lengths = lengths_of(self.footage)
            found, mistakes = form.read(content, vid, lengths)
            return self.labels.bring(found, lengths, mistakes, dry=dry)

        return JSONResponse({**asdict(await run_in_threadpool(bring)), "version": self.labels.version})

    async def export(self, request: Request) -> Response:
        """All labels, or those of a video, as a file."""
        form, vid = self._form(request), request.query_params.get("vid", "")
        if form.per_video or vid:
            vid = video_named(self.footage, vid).vid
        labels = [label for label in self.labels.all() if not vid or label.vid == vid]
        text = await run_in_threadpool(form.write, labels, lengths_of(self.footage))
        name = re.sub(r"[^A-Za-z0-9._-]", "_", vid or self.name) + form.suffix
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text.encode(), media_type="text/plain; charset=utf-8", headers=headers)

    def _qid(self, request: Request) -> int | str:
        given = request.path_params["qid"]
        for label in self.labels.all():
            if str(label.qid) == given:
                return label.qid
        raise Conflict("This label is no longer there.", None)

    def _form(self, request: Request) -> Any:
        form = FORMATS.get(request.query_params.get("kind", ""))
        if form is None:
            raise HTTPException(422, f"kind: has to be one of {', '.join(FORMATS)}.")
        return form

    def _saved(self, label: Label, status: int) -> Response:
        return JSONResponse({"version": self.labels.version, "label": shown(label)}, status)


def shown(label: Label) -> dict[str, Any]:
    """A label as the page has it."""
    windows = [asdict(window) for window in label.windows]
    told = {"qid": label.qid, "vid": label.vid, "query": label.query, "windows": windows}
    return {**told, "asked": label.asked, "side": label.side, "rev": label.rev}
