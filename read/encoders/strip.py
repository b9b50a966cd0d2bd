"""Pictures of a video side by side, spread over its length: what is in it at a glance."""

from pathlib import Path

from read.encoders.program import filtered, running, source, url
from read.errors import InputError
from read.files import atomic_path


def write_strip(path: str | Path, out: str | Path, seconds: float, *, count: int = 8, size: tuple[int, int]) -> None:
    """Write `count` pictures of a video into one JPEG, from left to right, each whole in a frame of its own.

    Args:
        path: the video.
        out: the JPEG, written whole or not at all.
        seconds: how long the video is.
        count: of pictures, each from the middle of its share of the video.
        size: width and height of a picture's frame, in pixels.

    Raises:
        InputError: the file is missing or damaged, or has no picture that can be decoded.
    """
    # Sought one by one, since an hour is not decoded for eight pictures; from end to end where a seek finds none.
    sought = [source(path, ss=f"{(number + 0.5) * seconds / count:.3f}")["V"] for number in range(count)]
    side_by_side = filtered([_framed(stream, size).filter("setpts", "0") for stream in sought], "hstack", inputs=count)
    in_one_go = _framed(source(path)["V"].filter("fps", count / seconds), size).filter("tile", f"{count}x1")
    with atomic_path(out) as draft:
        for strip in (side_by_side, in_one_go):
            draft.unlink(missing_ok=True)  # ffmpeg leaves an empty file, and writes over none
            with running(strip.output(url(draft), format="mjpeg", vframes=1, **{"q:v": 5}), path, seconds):
                pass
            if draft.is_file() and draft.stat().st_size:
                return
        raise InputError(f"{path}: holds no picture that can be decoded")


def _framed(stream, size: tuple[int, int]):
    width, height = size
    fitted = stream.filter("scale", width, height, force_original_aspect_ratio="decrease", force_divisible_by=2)
    padded = fitted.filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2").filter("setsar", 1)
    return padded.filter("format", "yuvj420p")
