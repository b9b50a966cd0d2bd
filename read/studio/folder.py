"""The videos of a folder, which is only read: how long each is, what it looks like, and what of it browsers play."""

import hashlib
import os
import threading
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from read.app.jobs import Job, Line
from read.app.media import Media, inspect
from read.encoders.frames import transcode_for_web
from read.encoders.strip import write_strip
from read.errors import InputError
from read.files import read_json, write_json
from read.rows import WEEK, vid_of
from read.video_files import videos_in

PICTURES, PICTURE_SIZE = 8, (160, 90)  # of a strip of thumbnails; width and height of one, in pixels
MAX_SIZE = (8192, 4320)  # of a video's pictures, as the pipeline takes them
SHOWN_WIDTH = 640  # pixels of the copy that browsers play


@dataclass(frozen=True)
class VideoFile:
    """A video of the folder.

    Attributes:
        vid: its id, by which labels name it: the file's name without its suffix.
        path: of the file.
        seconds: how long it is; None as long as it is unread, or where it cannot be read.
        state: "unread", "ready" or "failed".
        error: why it failed, as a sentence.
        playable: whether there is something that browsers play, the file or a copy.
        played_as: the type of that, as "video/mp4"; None where only a copy can be.
        key: what changes when the file does.
    """

    vid: str
    path: Path
    seconds: float | None = None
    state: str = "unread"
    error: str = ""
    playable: bool = False
    played_as: str | None = None
    key: str = ""

    @property
    def name(self) -> str:
        """The file's name, as a page can show it."""
        return _shown_name(self.path)


class Shown(NamedTuple):
    """What a browser plays."""

    path: Path
    media_type: str


class Footage:
    """The videos of a folder, by their ids, as the pipeline finds them: no subfolders, links followed.

    What is made of them lies in the cache, by name, size and time of the file, and may be deleted at any time. It is
    made in the background, one thing at a time; what somebody waits for comes first.

    Args:
        folder: of the videos; never written to.
        cache: for thumbnails, copies that browsers play, and what was found out about the files.
        extensions: suffixes that count as videos; by default all the usual ones.

    Raises:
        InputError: there is no such folder, or it may not be read.
    """

    def __init__(self, folder: Path, cache: Path, extensions: Sequence[str] | None = None) -> None:
        self.folder, self.cache, self.extensions = Path(folder), Path(cache), extensions
        self.line = Line()
        self.changes = 0  # grows whenever something about a video changes
        self._lock = threading.Lock()
        self._videos: dict[str, VideoFile] = {}
        self._jobs: dict[tuple[str, str], Job] = {}  # by what is made, and the key of the file
        self.rescan()

    @property
    def videos(self) -> dict[str, VideoFile]:
        """All videos, by id, in the order of their names."""
        with self._lock:
            return dict(self._videos)

    def rescan(self) -> bool:
        """Look which files there are; new and changed ones are read in the background. Whether anything has changed.

        Raises:
            InputError: there is no such folder any more.
        """
        found: dict[str, VideoFile] = {}
        for vid, paths in self._listed().items():
            video = self._seen(vid, paths)
            found[video.vid] = video
        with self._lock:
            known = self._videos
            self._videos = {
                vid: known[vid] if vid in known and known[vid].key == video.key else video
                for vid, video in found.items()
            }
            changed = self._videos != known
            self.changes += changed
            unread = [vid for vid, video in self._videos.items() if video.state == "unread"]
            keys = {video.key for video in self._videos.values()}
            gone = [self._jobs.pop((kind, key)) for kind, key in [*self._jobs] if key not in keys]
        for job in gone:
            self.line.cancel(job)
        for vid in unread:
            self._want("probe", vid, self._probe)
        return changed

    def find(self, name: str) -> VideoFile | None:
        """The video that a label names: by its id, or by the whole name of its file, as the pipeline takes it."""
        videos = self.videos
        if name in videos:
            return videos[name]
        same = [video for video in videos.values() if unicodedata.normalize("NFC", video.path.name) == name]
        return same[0] if len(same) == 1 else None

    def thumbnail(self, vid: str) -> Path | None:
        """A JPEG of `PICTURES` pictures side by side; None: it is being made now, or cannot be."""
        video = self.videos.get(vid)
        if video is None or video.state == "failed":
            return None
        path = self._cached(video, "thumbnails", ".jpg")
        if not path.is_file():
            self._want("thumbnail", vid, self._thumbnail, first=True)
            return None
        return path

    def strips(self) -> dict[str, Path]:
        """The thumbnails that there are, by video; the others are made when nobody waits for anything else."""
        found = {}
        for vid, video in self.videos.items():
            if video.state == "ready":
                path = self._cached(video, "thumbnails", ".jpg")
                if path.is_file():
                    found[vid] = path
                else:
                    self._want("thumbnail", vid, self._thumbnail)
        return found

    def shown(self, vid: str) -> Shown | None:
        """What browsers play of a video: its file, or a copy; None: there is none yet."""
        video = self.videos.get(vid)
        if video is None or not video.playable:
            return None
        if video.played_as:
            return Shown(video.path, video.played_as)
        return Shown(self._cached(video, "copies", ".mp4"), "video/mp4")

    def want(self, vid: str) -> None:
        """Have a video read, and a copy made where browsers do not play it, before all others."""
        video = self.videos.get(vid)
        if video is not None and video.state != "failed" and not video.playable:
            self._want("copy", vid, self._copy, first=True)

    def error_of(self, kind: str, vid: str) -> str:
        """Why a "thumbnail" or a "copy" could not be made; empty where it was not tried, or could."""
        job = self._jobs.get((kind, video.key)) if (video := self.videos.get(vid)) else None
        return job.error if job is not None and job.state == "failed" else ""

    def close(self) -> None:
        """Stop what is being made."""
        self.line.close()

    def _listed(self) -> dict[str, list[Path]]:
        """Files by id."""
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: there is no such folder of videos (any more)")
        files: dict[str, list[Path]] = {}
        try:
            for path in videos_in(self.folder, self.extensions):
                if path.name.startswith("."):
                    continue  # hidden, as what some systems keep beside a file; labels cannot name it
                files.setdefault(unicodedata.normalize("NFC", path.stem), []).append(path)
        except PermissionError:
            raise InputError(f"{self.folder}: the folder may not be read") from None
        return files

    def _seen(self, vid: str, paths: list[Path]) -> VideoFile:
        """A video as far as its file's name tells, or what was found out before."""
        path, name = paths[0], _shown_name(paths[0])
        try:
            state = path.stat()
        except OSError as error:
            why = f"is a link to {path.readlink()}, where there is no file" if path.is_symlink() else error.strerror
            return VideoFile(_shown_name(Path(vid)), path, state="failed", error=f"{name}: {why}")
        told = f"{vid}\0{path.name}\0{state.st_size}\0{state.st_mtime_ns}".encode(errors="surrogateescape")
        video = VideoFile(vid, path, key=hashlib.sha256(told).hexdigest()[:24])
        if len(paths) > 1:
            names = " and ".join(_shown_name(path) for path in paths)
            why = f"{names} have one name but for their endings, and labels go by it; rename all but one"
            return replace(video, state="failed", error=why, key=video.key + str(len(paths)))
        try:
            vid_of(vid, "name")
        except InputError as error:
            why = f"labels cannot name this file: {error}; rename it"
            return replace(video, vid=_shown_name(Path(vid)), state="failed", error=why)
        if not os.access(path, os.R_OK):
            return replace(video, state="failed", error=f"{name}: the file may not be read")
        with suppress(OSError, InputError, TypeError):
            found = read_json(self._cached(video, "probed", ".json"))
            return self._with(video, Media(found["seconds"], found["played_as"]))
        return video

    def _with(self, video: VideoFile, media: Media) -> VideoFile:
        """A video of which it is known what it is."""
        playable = media.played_as is not None or self._cached(video, "copies", ".mp4").is_file()
        return replace(
            video, state="ready", seconds=media.seconds, played_as=media.played_as, playable=playable, error=""
        )

    def _cached(self, video: VideoFile, kind: str, suffix: str) -> Path:
        return self.cache / kind / f"{video.key}{suffix}"

    def _want(self, kind: str, vid: str, work: Callable[[VideoFile], None], *, first: bool = False) -> None:
        """Have something made of a video, once: what waits already, or has failed for this file, is not made anew."""
        with self._lock:
            video = self._videos.get(vid)
            if video is None:
                return
            if (job := self._jobs.get((kind, video.key))) and job.state != "done":
                if first:
                    self.line.first(job)
                return
            job = self._jobs[kind, video.key] = Job(lambda _: self._named(work, video))
        self.line.add(job, first=first)

    def _named(self, work: Callable[[VideoFile], None], video: VideoFile) -> None:
        """Do it; complaints name the file as the person does."""
        try:
            work(video)
        except InputError as error:
            raise InputError(str(error).replace(str(video.path), video.name)) from None

    def _probe(self, video: VideoFile) -> None:
        try:
            media = inspect(video.path, WEEK, video.name, MAX_SIZE)
        except InputError as error:
            self._put(replace(video, state="failed", error=str(error)))
            return
        with suppress(OSError):  # a full disk: then it is found out again
            write_json(self._cached(video, "probed", ".json"), asdict(media))
        self._put(self._with(video, media))

    def _thumbnail(self, video: VideoFile) -> None:
        if video.seconds is None:  # asked for before the file was read
            self._probe(video)
            video = self.videos.get(video.vid, video)
        if video.seconds is not None:
            path = self._cached(video, "thumbnails", ".jpg")
            write_strip(video.path, path, video.seconds, count=PICTURES, size=PICTURE_SIZE)
            self._put(video)

    def _copy(self, video: VideoFile) -> None:
        if video.state == "unread":
            self._probe(video)
            video = self.videos.get(video.vid, video)
        if video.state != "ready" or video.playable:
            return
        transcode_for_web(video.path, self._cached(video, "copies", ".mp4"), width=SHOWN_WIDTH)
        self._put(replace(self.videos.get(video.vid, video), playable=True))

    def _put(self, video: VideoFile) -> None:
        """Note what was found out, unless the file is another by now."""
        with self._lock:
            if video.vid in self._videos and self._videos[video.vid].key == video.key:
                self._videos[video.vid] = video
                self.changes += 1


def _shown_name(path: Path) -> str:
    """A file's name as a page can show it, whatever bytes it has."""
    name = unicodedata.normalize("NFC", path.name).encode(errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
