"""Videos from YouTube, or from any page that yt-dlp knows."""

import errno
import logging
import os
import re
from pathlib import Path
from typing import Any

from pipeline.sources.base import UnavailableError, told
from read.addresses import without_secrets
from read.encoders.frames import read_clips
from read.encoders.program import CONTAINERS, ffmpeg_binary, input_options
from read.errors import InputError

WATCH = "https://www.youtube.com/watch?v={vid}"
FORMAT = "bv*[height<=480]+ba/b[height<=480]/bv*+ba/b"  # the encoders see 224 pixels; more is a waste of the net
RANGE = re.compile(r"(?P<page>.+)_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)")  # QVHighlights' ids
SLACK = 2.0  # seconds by which a cut may be shorter than asked for: the last frames of a stream
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _Log(logging.LoggerAdapter):
    """yt-dlp's log, without secrets of addresses."""

    def process(self, message: Any, kwargs: Any) -> tuple[str, Any]:
        return without_secrets(str(message)), kwargs


class Youtube:
    """Videos at addresses made from a template with `{vid}`, downloaded by yt-dlp, which resumes and retries.

    With `ranges` a video's id is `<id of the page>_<start>_<end>`, in seconds, and only this part of it is fetched.
    """

    def __init__(self, template: str | None, retries: int, timeout: float, ranges: bool = False) -> None:
        self.template = template or WATCH
        self.retries = retries
        self.timeout = timeout
        self.ranges = ranges

    def recipe(self, vid: str) -> str:
        """The page's address, the format asked for, and which part."""
        part = [f"{self._range(vid)['start']}-{self._range(vid)['end']}"] if self.ranges else []
        return " ".join([told(self._address(vid)), FORMAT, *part])

    def _address(self, vid: str) -> str:
        page = self._range(vid)["page"] if self.ranges else vid
        return self.template.replace("{vid}", page)

    def _range(self, vid: str) -> re.Match[str]:
        found = RANGE.fullmatch(vid)
        if not found or not float(found["start"]) < float(found["end"]):
            raise InputError(f"video {vid}: its id is no <id>_<start>_<end> in seconds, which videos.ranges asks for")
        return found

    def fetch(self, vid: str, room: Path) -> Path:
        """Download a video."""
        import yt_dlp  # its extractors take a while to import

        options = self._options(room)
        if self.ranges:
            span = tuple(float(self._range(vid)[key]) for key in ("start", "end"))
            options |= {
                "download_ranges": yt_dlp.utils.download_range_func(None, [span]),
                "force_keyframes_at_cuts": True,  # or the cut would begin up to some seconds before
                "external_downloader_args": {"ffmpeg": ["-nostdin", "-v", "error"], "ffmpeg_i": self._net()},
            }
            # Where the system has no ffmpeg, yt-dlp believes this only, and not its option, before it cuts.
            yt_dlp.postprocessor.FFmpegPostProcessor._ffmpeg_location.set(options["ffmpeg_location"])
        try:
            with yt_dlp.YoutubeDL(options) as tool:
                page = tool.extract_info(self._address(vid), download=False)
                seconds = page.get("duration")  # of the whole video
                tool.process_ie_result(page, download=True)
        except yt_dlp.utils.DownloadError as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(room)) from None
            part = f"its part from {span[0]:g} to {span[1]:g} s: " if self.ranges else ""
            raise UnavailableError(part + _reason(str(error))) from None
        done = [path for path in room.iterdir() if path.stem == "video" and path.suffix != ".part"]
        if len(done) != 1:
            raise UnavailableError(f"yt-dlp left {', '.join(path.name for path in done) or 'no file'}")
        if self.ranges:
            _check_length(done[0], min(span[1], seconds or span[1]) - span[0])
        return done[0]

    def _net(self) -> list[str]:
        """Options of ffmpeg, for what yt-dlp leaves to it: no files of this machine, giving up on silence, resuming."""
        patience = f"-rw_timeout {self.timeout * 1e6:.0f} -reconnect 1 -reconnect_delay_max {self.timeout:.0f}"
        return ["-protocol_whitelist", "http,https,tcp,tls,crypto,httpproxy", *patience.split()]

    def _options(self, room: Path) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "paths": {"home": str(room)},
            "outtmpl": {"default": "video.%(ext)s"},
            "noplaylist": True,
            "retries": self.retries,
            "fragment_retries": self.retries,
            "extractor_retries": self.retries,
            "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), lambda n: min(2**n, 300)),
            "socket_timeout": self.timeout,
            "ffmpeg_location": ffmpeg_binary(),
            "postprocessor_args": _joining(),
            "noprogress": True,
            "logger": _Log(logging.getLogger(__name__), {}),
        }


def _joining() -> dict[str, list[str]]:
    """Options of ffmpeg for what was downloaded, in all steps after that: it could be a list of other files."""
    import yt_dlp.postprocessor.ffmpeg as steps

    options = input_options(format_whitelist=f"{CONTAINERS},aac,mp3")
    kinds = [kind for kind in vars(steps).values() if isinstance(kind, type)]
    names = {kind.pp_key().lower() for kind in kinds if issubclass(kind, steps.FFmpegPostProcessor)}
    return {f"{name}+ffmpeg_i": options for name in names}


def _check_length(path: Path, seconds: float) -> None:
    """Raise UnavailableError where a cut is damaged or shorter than it should be, as after a lost connection."""
    try:
        found = sum(1 for _ in read_clips(path, 1.0, 1.0, 16))
    except InputError as error:
        path.unlink()
        raise UnavailableError(f"its cut is damaged ({str(error).removeprefix(f'{path}: ')})") from None
    if found < seconds - SLACK:
        path.unlink()
        raise UnavailableError(f"its cut has {found} s, not {seconds:g} s: the connection or the video ended before")


def _reason(message: str) -> str:
    """yt-dlp's message in one line, without its colours and its advice on reporting bugs."""
    line = _ANSI.sub("", message).removeprefix("ERROR: ").splitlines()[0]
    return line.partition("; please report this issue")[0].strip()
