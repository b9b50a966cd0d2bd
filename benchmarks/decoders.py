"""Decoders of the same videos, for speed and for equal pictures: ffmpeg as a program, PyAV, torchcodec.

    python -m benchmarks.decoders --videos FOLDER

Each gives the pictures of 8 times a second, the shorter side at 224 pixels and the centre cut out, by one thread. PyAV
has the filters that the program has, of another FFmpeg; torchcodec its own choice of times and its own resizing. What
is not installed is left out, with a word. CPU seconds are those of the whole, the program's included.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, zip_longest
from pathlib import Path

import numpy as np

from benchmarks.extraction import cpu_seconds
from benchmarks.predict import make_video
from read.encoders.frames import read_clips

FPS, SIDE = 8.0, 224
Pictures = Iterator[np.ndarray]  # uint8 (SIDE, SIDE, 3)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="a folder; a test picture when absent")
    parser.add_argument("--seconds", type=int, default=20, help="of the test picture")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as room:
        if options.videos is None:
            make_video(Path(room) / "video.mp4", options.seconds, "640x360", 25)
        paths = sorted(path for path in (options.videos or Path(room)).iterdir() if path.is_file())
        known = {"ffmpeg": by_ffmpeg, "PyAV": by_pyav, "torchcodec": by_torchcodec}
        print(f"{'':12}{'':12}{'seconds':>9}{'CPU':>8}{'pictures':>10}{'equal':>7}  largest mean difference")
        total: dict[str, list[float]] = {}
        for path in paths:
            for name, decode in known.items():
                row = compared(decode, path, options.rounds)
                if isinstance(row, str):
                    print(f"{path.name:12}{name:12}{row}")
                    continue
                wall, cpu, pictures, equal, apart = row
                total[name] = [a + b for a, b in zip(total.get(name, [0.0] * 4), row[:4], strict=True)]
                print(f"{path.name:12}{name:12}{wall:9.2f}{cpu:8.2f}{pictures:10d}{equal:7d}{apart:8.2f}")
        for name, (wall, cpu, pictures, equal) in total.items():
            print(f"{'all':12}{name:12}{wall:9.2f}{cpu:8.2f}{pictures:10.0f}{equal:7.0f}")


def compared(decode: Callable[[Path], Pictures], path: Path, rounds: int) -> tuple[float, float, int, int, float] | str:
    """The least seconds and CPU seconds, the pictures, how many equal ffmpeg's, the worst's mean difference."""
    try:
        times = [timed(decode, path) for _ in range(rounds)]
        pairs = zip_longest(by_ffmpeg(path), decode(path))
        apart = [np.inf if a is None or b is None else np.abs(a.astype(int) - b).mean() for a, b in pairs]
    except Exception as error:  # of libraries, each with its own
        return (str(error).splitlines() or [type(error).__name__])[0][:90]
    both = [value for value in apart if np.isfinite(value)]
    return min(wall for wall, _, _ in times), min(cpu for _, cpu, _ in times), times[0][2], apart.count(0), max(both)


def timed(decode: Callable[[Path], Pictures], path: Path) -> tuple[float, float, int]:
    """Seconds, CPU seconds, pictures."""
    began, used = time.perf_counter(), cpu_seconds()
    pictures = sum(1 for _ in decode(path))
    return time.perf_counter() - began, cpu_seconds() - used, pictures


def by_ffmpeg(path: Path) -> Pictures:
    """As extraction does it."""
    for clip, real in read_clips(path, FPS, 2.0, SIDE):
        yield from clip[:real]


def by_pyav(path: Path) -> Pictures:
    """The same filters, in this process."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "NONE", 1
        begin = round((container.start_time or 0) / av.time_base / stream.time_base)
        graph = av.filter.Graph()
        larger = f"max({SIDE},round({SIDE}*iw/ih)):max({SIDE},round({SIDE}*ih/iw))"
        filters = [("fps", f"{FPS}:start_time=0"), ("scale", larger), ("crop", f"{SIDE}:{SIDE}"), ("format", "rgb24")]
        graph.link_nodes(
            graph.add_buffer(template=stream), *(graph.add(*each) for each in filters), graph.add("buffersink")
        ).configure()
        for frame in container.decode(stream):
            if frame.pts is not None:
                frame.pts -= begin
            graph.push(frame)
            yield from _pulled(graph)
        graph.push(None)
        yield from _pulled(graph)


def _pulled(graph: "av.filter.Graph") -> Pictures:  # noqa: F821 - imported where it is used
    import av

    while True:
        try:
            yield graph.pull().to_ndarray()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def by_torchcodec(path: Path) -> Pictures:
    """Pictures at their times, resized by the decoder, cut here."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    about = VideoDecoder(path).metadata
    scale = SIDE / min(about.height, about.width)
    size = (max(SIDE, round(about.height * scale)), max(SIDE, round(about.width * scale)))
    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, transforms=[Resize(size)])
    about = decoder.metadata
    begin, end = about.begin_stream_seconds, about.end_stream_seconds
    top, left = ((side - SIDE) // 2 for side in size)
    for number in count(0, 16):
        times = [time for step in range(16) if (time := begin + (number + step) / FPS) < end]
        if not times:
            return
        frames = decoder.get_frames_played_at(times).data.numpy()
        yield from frames[:, top : top + SIDE, left : left + SIDE]


if __name__ == "__main__":
    main()
