"""Seconds of extraction beside decoding alone and encoding alone, each on all cores: what their overlap loses.

    python -m benchmarks.extraction --videos FOLDER --json FILE
    python -m benchmarks.extraction --videos FOLDER --longer 20     videos that are joined of those in FOLDER
    python -m benchmarks.extraction --encoders public               at the sizes of public weights, with random ones

No extraction can be faster than its decoding, than its encoding, or than the work of both on all cores; `ratio` is its
time over the largest of the three. All take turns, and the least of some rounds counts.
"""

import argparse
import random
import resource
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.predict import make_video
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.flow import Flow, cores
from read.encoders.frames import read_views
from read.encoders.kinds.clip import Clip, new_tiny_clip
from read.encoders.kinds.slowfast import KINETICS, TINY, SlowFast
from read.encoders.program import ffmpeg_binary
from read.files import write_json

KEPT = 32  # clips that encoding alone takes again and again; what they show changes no speed


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="a folder; test pictures when absent")
    parser.add_argument("--seconds", type=int, nargs="+", default=[8, 20, 50], help="of the test pictures")
    parser.add_argument("--times", type=int, default=2, help="how often each video is taken")
    parser.add_argument("--longer", type=int, default=0, help="take so many videos that are joined of five each")
    parser.add_argument("--encoders", choices=["tiny", "public"], default="tiny")
    parser.add_argument("--fps", type=float, default=8.0, help="32 frames a clip, as public SlowFast takes: 16")
    parser.add_argument("--names", nargs="+", default=["slowfast", "clip"], help="of the encoders")
    parser.add_argument("--decoders", type=int, help="as machine.decoders")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as room:
        make_weights(Path(room), options.encoders)
        settings = ExtractorSettings(options.fps, 2.0, decoders=options.decoders)
        extractor = Extractor(settings, room, options.device, options.names)
        if options.videos is None:
            for seconds in options.seconds:
                make_video(Path(room) / f"{seconds}.mp4", seconds, "640x360", 25)
        paths = sorted(path for path in (options.videos or Path(room)).iterdir() if path.is_file()) * options.times
        if options.longer:
            paths = join(paths, options.longer, Path(room) / "longer")
        found = measure(extractor, paths, options.rounds)
    for name, value in found.items():
        print(f"{name:12} {value:9.2f}")
    if options.json:
        write_json(options.json, found)


def measure(extractor: Extractor, paths: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Seconds of wall time by what is done, CPU seconds of decoding and encoding, and their ratio."""
    counts, kept = look(extractor, paths)
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, work in (
            ("decode", lambda: decode(extractor, paths)),
            ("encode", lambda: encode(extractor, counts, kept)),
            ("extraction", lambda: deque(extractor.videos(paths), maxlen=0)),
        ):
            now = timed(work)
            best[name] = tuple(map(min, now, best.get(name, now)))
    seconds = {name: wall for name, (wall, _) in best.items()}
    cpu = best["decode"][1] + best["encode"][1]
    least = max(seconds["decode"], seconds["encode"], cpu / cores())
    about = {"cpu": cpu, "cores": cores(), "least": least, "ratio": seconds["extraction"] / least}
    about |= {"cpu_extraction": best["extraction"][1], "videos": len(paths), "clips": sum(counts)}
    return seconds | about | {"held_mib": extractor.held / 2**20, "peak_mib": peak()}


def look(extractor: Extractor, paths: Sequence[Path]) -> tuple[list[int], list[list[Any]]]:
    """The clips of each video, and some of them."""
    counts, kept = {}, []
    for path in dict.fromkeys(paths):
        counts[path] = 0
        for clip in clips_of(extractor, path):
            counts[path] += 1
            if len(kept) < KEPT:
                kept.append(clip)
    return [counts[path] for path in paths], kept


def clips_of(extractor: Extractor, path: Path) -> Iterator[list[Any]]:
    """A video's clips in each view."""
    settings, views = extractor.settings, [*dict.fromkeys(extractor.views.values())]
    with closing(read_views(path, settings.fps, settings.clip_len, views)) as stream:
        for clip, _ in stream:
            yield clip


def decode(extractor: Extractor, paths: Sequence[Path]) -> None:
    """Nothing but decoding, by as many as decode in an extraction."""
    todo = deque(paths)

    def work() -> None:
        while todo:
            deque(clips_of(extractor, todo.popleft()), maxlen=0)

    run(work, extractor.decoders)


def encode(extractor: Extractor, counts: Iterable[int], kept: list[list[Any]]) -> None:
    """Nothing but encoding, of clips that are there already."""
    views = [*dict.fromkeys(extractor.views.values())]

    def give(count: int, put: Callable[..., None]) -> int:
        for clip in islice(cycle(kept), count):
            for view, seen in zip(views, clip, strict=True):
                put(view, seen)
        return count

    deque(Flow([*counts], give, extractor._lanes, 1, extractor._workers).run(), maxlen=0)


def run(work: Callable[[], None], count: int) -> None:
    """Some threads of the same work."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall time and of CPU, with those of programs."""
    began, used = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - began, cpu_seconds() - used


def cpu_seconds() -> float:
    """Of this process and the programs that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak() -> float:
    """MiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_weights(folder: Path, kind: str) -> None:
    """Encoders with random weights, of the pipeline's default sizes or of those of public ones."""
    if kind == "tiny":
        new_tiny_clip().save(folder / "clip")
        SlowFast.create(TINY).save(folder / "slowfast")
    else:
        import open_clip

        torch.save(open_clip.create_model("ViT-B-32").state_dict(), folder / "random.pt")
        Clip.pretrained("ViT-B-32", folder / "random.pt").save(folder / "clip")
        SlowFast.create(KINETICS).save(folder / "slowfast")
        (folder / "random.pt").unlink()


def join(paths: Sequence[Path], count: int, folder: Path) -> list[Path]:
    """So many videos, each of five of some others, in an order of its own."""
    folder.mkdir()
    same = ["-vf", "scale=640:360,setsar=1", "-r", "25", "-an", "-c:v", "libx264", "-preset", "veryfast"]
    parts = []
    for number, path in enumerate(dict.fromkeys(paths)):
        parts.append(folder / f"part{number}.ts")
        words = ["-nostdin", "-v", "error", "-i", str(path), *same, "-pix_fmt", "yuv420p", str(parts[-1])]
        subprocess.run([ffmpeg_binary(), *words], check=True)
    draw, made = random.Random(0), []
    for number in range(count):
        chosen = "|".join(map(str, draw.sample(parts, min(5, len(parts)))))
        made.append(folder / f"longer{number}.ts")
        words = ["-nostdin", "-v", "error", "-i", f"concat:{chosen}", "-c", "copy", str(made[-1])]
        subprocess.run([ffmpeg_binary(), *words], check=True)
    return made


if __name__ == "__main__":
    main()
