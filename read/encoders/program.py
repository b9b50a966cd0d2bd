"""Every call of ffmpeg: which program it is, what it may open, how long it may take, and how it ended.

A video file is hostile until shown otherwise. ffmpeg goes by content, not by name: it would follow play lists (HLS,
DASH, concat) to other files and addresses. So it opens one file, of a container that holds its own content, with
pictures of a bounded size; it is not waited for without end, and it never outlives the call.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import IO

from read.errors import InputError, optional_imports

with optional_imports():
    import ffmpeg

CHOICE = "READ_FFMPEG"  # in the environment: "system", "wheel" or the path of a program
CONTAINERS = "mov,matroska,avi,mpeg,mpegvideo,m4v,mpegts,ogg,flv,asf,mxf,rm,yuv4mpegpipe,gif"
LARGEST = 8192 * 4320  # pixels of a picture: 8K
INPUT = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS, "max_pixels": LARGEST}
PATIENCE = 60.0  # seconds that ffmpeg may be silent for, and as much again for each second of video

# Told of each ffmpeg that begins: whoever may have to end it early, as it can work long on a single picture.
on_start: ContextVar[Callable[[subprocess.Popen[bytes]], None]] = ContextVar("on_start", default=lambda process: None)

# What demuxers say when a file ends before its content does; ffmpeg itself goes on and exits with 0.
_CUT_SHORT = re.compile(r"partial file|ended prematurely", re.IGNORECASE)
_LOG_PREFIX = re.compile(r"^(\[[^]]*\] )+")
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_SOUND = re.compile(r"^\s*Stream #\S+ Audio: (\w+)", re.MULTILINE)


def ffmpeg_binary() -> str:
    """The ffmpeg to run: what READ_FFMPEG says ("system", "wheel" or a path), else the system's, else the wheel's.

    The wheel is the imageio-ffmpeg package.

    Raises:
        InputError: there is no such program.
    """
    choice = os.environ.get(CHOICE, "")
    if choice not in ("", "system", "wheel"):
        if found := shutil.which(choice):
            return found
        raise InputError(f"{CHOICE}: {choice} is no program; say system, wheel, or the path of an ffmpeg")
    if choice != "wheel" and (system := shutil.which("ffmpeg")):
        return system
    if choice != "system":
        with suppress(ImportError, RuntimeError):
            import imageio_ffmpeg

            return imageio_ffmpeg.get_ffmpeg_exe()
    asked = f"{CHOICE} is {choice}, but " if choice else ""
    how = "install it (apt install ffmpeg, brew install ffmpeg) or pip install imageio-ffmpeg"
    raise InputError(f"{asked}ffmpeg was not found: {how}")


def ffmpeg_version() -> str:
    """Name and version of the ffmpeg that is run, as "ffmpeg 5.1.9-0+deb12u1"."""
    return _version(ffmpeg_binary())


@cache
def _version(binary: str) -> str:
    said = subprocess.run([binary, "-version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE).stdout
    found = re.match(r"ffmpeg version (\S+)", said.decode(errors="replace"))
    return f"ffmpeg {found[1] if found else 'of an unknown version'}"


def source(path: str | Path, **options: object) -> ffmpeg.Stream:
    """A video file as input, under the limits that all calls share, with options of ffmpeg's inputs.

    Raises:
        InputError: there is no such file.
    """
    # Filters outlive a change of the picture's size: made anew, they would begin their time line once more.
    return ffmpeg.input(url(existing(path)), nostdin=None, v="error", threads=1, reinit_filter=0, **INPUT, **options)


def on_time_line(file: ffmpeg.Stream, written: ffmpeg.Stream) -> ffmpeg.Stream:
    """An output whose times count from where the file begins, be it with sound, as those of players do.

    Of a transport stream, ffmpeg counts from the first of those parts that are used; so all of them are, for nothing.
    """
    return ffmpeg.merge_outputs(written, ffmpeg.output(file["V:0"], file["a?"], "-", codec="copy", t=0, format="null"))


def filtered(streams: list[ffmpeg.Stream], name: str, **options: object) -> ffmpeg.Stream:
    """Several streams through one filter."""
    return ffmpeg.filter(streams, name, **options)


def raw_source(width: int, height: int, fps: float) -> ffmpeg.Stream:
    """RGB pictures from stdin as input."""
    shape = {"format": "rawvideo", "pix_fmt": "rgb24", "s": f"{width}x{height}", "framerate": fps}
    return ffmpeg.input("pipe:", v="error", protocol_whitelist="pipe", **shape)


def joined_source(names: str | Path) -> ffmpeg.Stream:
    """A list of our own files that lie beside it, one after the other, as input; never somebody's list."""
    limits = INPUT | {"format_whitelist": "concat,mov"}
    return ffmpeg.input(url(names), format="concat", nostdin=None, v="error", **limits)


def existing(path: str | Path) -> Path:
    """The path, if a file is there. Raises InputError where there is none, with what is there in its place."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name the videos in it")
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: is a link to {path.readlink()}, which does not exist")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


def url(path: str | Path) -> str:
    """The path as `_words` hands it on, a character for each byte: a name may hold bytes that are no text."""
    return os.fsencode(f"file:{path}").decode("latin-1")


def _words(command: list[str]) -> list[str | bytes]:
    return [word.encode("latin-1") if word.startswith("file:") else word for word in command]


def input_options(**other: object) -> list[str]:
    """The limits of all calls, as words of a command line."""
    return [word for key, value in (INPUT | other).items() for word in (f"-{key}", str(value))]


def look(path: str | Path, *output: str, max_pixels: int = LARGEST) -> tuple[int, str, str]:
    """Status, stdout and log of ffmpeg on a file, told in full; `output` is what follows the input.

    Raises:
        InputError: it does not end within PATIENCE.
    """
    options = ["-hide_banner", "-nostdin", *input_options(max_pixels=max_pixels)]
    command = _words([ffmpeg_binary(), *options, "-i", url(path), *output])
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        with _ended(process):
            status = Running(process, path, log).wait(0.0)
        return status, _text(out), _text(log)


def stated_seconds(path: str | Path) -> float | None:
    """How long a file says it is; None where it does not. It is not always true."""
    return stated_in(look(path)[2])


def stated_in(log: str) -> float | None:
    """How long a file says it is, by the log of `look`; None where it does not."""
    found = _DURATION.search(log)
    return sum(float(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else None


def sound_codec(path: str | Path) -> str | None:
    """What a file's first sound track is coded in; None: it has none. Raises InputError where it cannot be opened."""
    _, _, log = look(existing(path))
    if "Input #0" not in log:
        raise InputError(f"{path}: {_reason(1, log.splitlines()[-2:])}")
    found = _SOUND.search(log)
    return found[1] if found else None


def cut_short(lines: Iterable[str]) -> str | None:
    """What a log says of a file that ends before its content does, where it does."""
    return next((line for line in lines if _CUT_SHORT.search(line)), None)


class Running:
    """An ffmpeg at work.

    Args:
        process: its stdout, where that is a pipe, without a buffer.
        path: what messages call the file.
        log: what it says.
    """

    def __init__(self, process: subprocess.Popen[bytes], path: str | Path, log: IO[bytes]) -> None:
        self.process, self._path, self._log = process, path, log

    def read(self, count: int, seconds: float) -> bytearray:
        """The next `count` bytes, fewer at the end. They stand for `seconds` of video, by which patience is measured.

        Raises:
            InputError: they do not come.
        """
        data, filled = bytearray(count), 0
        pipe, until = self.process.stdout, time.monotonic() + _patience(seconds)
        with selectors.DefaultSelector() as ready, memoryview(data) as room:
            ready.register(pipe, selectors.EVENT_READ)
            while filled < count:
                if not ready.select(max(0.0, until - time.monotonic())):
                    raise self._given_up(seconds)
                if not (part := pipe.readinto(room[filled:])):
                    break
                filled += part
        return data if filled == count else data[:filled]

    def wait(self, seconds: float) -> int:
        """Its exit status. Raises InputError where it does not end, measured as by `read`."""
        try:
            return self.process.wait(_patience(seconds))
        except subprocess.TimeoutExpired:
            raise self._given_up(seconds) from None

    def _given_up(self, seconds: float) -> InputError:
        of_video = f" with {seconds:g} s of video" if seconds else ""
        return InputError(f"{self._path}: ffmpeg did not get done{of_video} in {_patience(seconds):g} s and was ended")

    def said(self, codec: str = "") -> list[str]:
        """Its log so far, line by line, without the names of its parts; with a codec, what decoders of it say."""
        by = re.compile(rf"\[([^]]*[:/])?{codec}\w* @ " if codec else "")
        lines = [line for line in _text(self._log).splitlines() if by.search(line)]
        return [_LOG_PREFIX.sub("", line).strip() for line in lines if line.strip()]


@contextmanager
def running(
    stream: ffmpeg.Stream,
    path: str | Path,
    seconds: float,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> Iterator[Running]:
    """Run ffmpeg during the block, and check how it ended.

    Args:
        stream: what to do.
        path: what messages call the file.
        seconds: of video between the end of the block and its own end, by which patience is measured.
        stdin: as `subprocess` takes it.
        stdout: likewise.

    Raises:
        InputError: it failed, was killed, did not end, or found the file cut short.
    """
    with tempfile.TemporaryFile() as log:  # a pipe could fill up and stop ffmpeg
        command = _words(stream.compile(ffmpeg_binary()))
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=log, bufsize=0)
        work = Running(process, path, log)
        with _ended(process):
            yield work
            status = work.wait(seconds)
        lines = work.said()
    if status:
        raise InputError(f"{path}: {_reason(status, lines)}")
    if cut := cut_short(lines):
        raise InputError(f"{path}: the file is cut short or damaged (ffmpeg: {cut})")


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """It does not outlive the block."""
    try:
        on_start.get()(process)
        yield
    finally:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(BrokenPipeError):  # bytes that a dead ffmpeg never took
                pipe.close()


def _patience(seconds: float) -> float:
    return PATIENCE * (1 + seconds)


def _text(file: IO[bytes]) -> str:
    descriptor = file.fileno()  # a seek would move the place where the program writes, too
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _reason(status: int, lines: list[str]) -> str:
    """Why it failed, in one line: the log's first two messages say what is wrong, the others repeat it."""
    if status < 0:
        memory = "; was the memory full?" if -status == signal.SIGKILL else ""
        return f"ffmpeg was ended by signal {-status} ({signal.strsignal(-status)}){memory}"
    if any("matches no streams" in line for line in lines):
        return "the file has no video stream"
    if any("Format not on whitelist" in line for line in lines):
        return "its content is of a kind that is not taken, such as a list of other files, whatever its name says"
    return f"ffmpeg: {'; '.join(lines[:2]) or 'failed without a message'}"
