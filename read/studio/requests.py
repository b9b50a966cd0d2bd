"""What a request asks of the studio, checked; read.app.asked has what both pages share."""

import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from read.app.asked import body_of
from read.studio.folder import Footage, VideoFile
from read.studio.labels import Window

MAX_WINDOWS = 200  # of a label


def video_of(footage: Footage, request: Request) -> VideoFile:
    """The video that an address names."""
    return video_named(footage, request.path_params["vid"])


def video_named(footage: Footage, vid: Any) -> VideoFile:
    """The video of a name. Raises HTTPException where the folder has none of it."""
    video = footage.videos.get(vid) if isinstance(vid, str) else None
    if video is None:
        raise HTTPException(404, "There is no such video in the folder.")
    return video


def length_of(video: VideoFile) -> float:
    """Seconds of a video. Raises HTTPException where that is not known (yet)."""
    if video.seconds is None:
        raise HTTPException(409, video.error or f"{video.vid}: how long it is, is not known yet; wait a moment.")
    return video.seconds


def lengths_of(footage: Footage) -> dict[str, float | None]:
    """Seconds of all videos; None where that is not known."""
    return {vid: video.seconds for vid, video in footage.videos.items()}


def whole_of(request: Request, key: str, usual: int) -> int:
    """A whole number of an address. Raises HTTPException for anything else."""
    given = request.query_params.get(key, str(usual))
    if len(given) > 12 or not given.removeprefix("-").isdecimal():
        raise HTTPException(422, f"{key}: has to be a whole number.")
    return int(given)


def windows_of(asked: dict[str, Any]) -> tuple[Window, ...]:
    """The windows of a label: [{start, end, score}]. What they have to be to each other, the store says."""
    given = asked.get("windows")
    if not isinstance(given, list) or len(given) > MAX_WINDOWS or not all(isinstance(one, dict) for one in given):
        raise HTTPException(422, f"windows: has to be a list of at most {MAX_WINDOWS} with start and end.")
    return tuple(Window(_seconds(one, "start"), _seconds(one, "end"), _score(one)) for one in given)


async def file_of(request: Request, most: int) -> str:
    """The text of a file that is a request's body. Raises HTTPException where it is too long or no text in UTF-8."""
    content = await body_of(request, most, "The file is larger")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HTTPException(422, "The file is no text in UTF-8; save it as such and try again.") from None


def _seconds(window: dict[str, Any], key: str) -> float:
    value = window.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise HTTPException(422, f"windows: {key} has to be a number of seconds.")
    return float(value)


def _score(window: dict[str, Any]) -> int | None:
    value = window.get("score")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 4):
        raise HTTPException(422, "windows: score has to be a whole number from 0 to 4, or null.")
    return value
