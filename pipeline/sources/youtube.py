"""Videos from YouTube, or from any page that yt-dlp knows."""

import errno
import logging
import os
import re
from pathlib import Path

from pipeline.sources.base import UnavailableError
from read.encoders.frames import ffmpeg_binary

WATCH = "https://www.youtube.com/watch?v={vid}"
FORMAT = "bv*[height<=480]+ba/b[height<=480]/bv*+ba/b"  # the encoders see 224 pixels; more is a waste of the net
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Youtube:
    """Videos at addresses made from a template with `{vid}`, downloaded by yt-dlp, which resumes and retries."""

    def __init__(self, template: str | None, retries: int, timeout: float) -> None:
        self.template = template or WATCH
        self.retries = retries
        self.timeout = timeout

    def recipe(self, vid: str) -> str:
        """The page's address and the format asked for."""
        return f"{self.template.replace('{vid}', vid)} {FORMAT}"

    def fetch(self, vid: str, room: Path) -> Path:
        """Download a video."""
        import yt_dlp  # its extractors take a while to import

        options = {
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
            "noprogress": True,
            "logger": logging.getLogger(__name__),
        }
        try:
            with yt_dlp.YoutubeDL(options) as tool:
                tool.download([self.template.replace("{vid}", vid)])
        except yt_dlp.utils.DownloadError as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(room)) from None
            raise UnavailableError(_reason(str(error))) from None
        done = [path for path in room.iterdir() if path.stem == "video" and path.suffix != ".part"]
        if len(done) != 1:
            raise UnavailableError(f"yt-dlp left {', '.join(path.name for path in done) or 'no file'}")
        return done[0]


def _reason(message: str) -> str:
    """yt-dlp's message in one line, without its colours and its advice on reporting bugs."""
    line = _ANSI.sub("", message).removeprefix("ERROR: ").splitlines()[0]
    return line.partition("; please report this issue")[0].strip()
