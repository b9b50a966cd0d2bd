"""Seconds of `read-adapters predict`: its start, a video's encoding beside decoding alone and encoding alone, a query.

    python -m benchmarks.predict
    python -m benchmarks.predict --bundle my-bundle --video party.mp4
    python -m benchmarks.predict --hours 2      also the memory that a long video takes

Without `--bundle`, one is made of models of the pipeline's default sizes, untrained, which run as fast as trained ones.
"""

import argparse
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from read.encoders.program import ffmpeg_binary
from read.files import write_json

QUERIES = ["the dog jumps over the fence", "a cat sits on the mat", "rain falls on the street", "a ball rolls away"]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="made when absent")
    parser.add_argument("--video", type=Path, help="a test picture of --seconds when absent")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--hours", type=float, default=0, help="length of a long video, by which memory is measured")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as room:
        bundle = options.bundle or make_bundle(Path(room))
        video = options.video or make_video(Path(room) / "video.mp4", options.seconds, "640x360", 25)
        short = make_video(Path(room) / "short.mp4", 4, "320x240", 8)
        starts(bundle, short, options.repeats)
        encoding(bundle, short, video, options.repeats)
        if options.hours:
            memory(bundle, short, make_video(Path(room) / "long.mp4", round(3600 * options.hours), "192x144", 10))


def starts(bundle: Path, video: Path, repeats: int) -> None:
    """The time from the command to its end, the least of some."""
    command = [sys.executable, "-m", "read"]
    seconds = least(lambda: subprocess.run([*command, "--help"], check=True, stdout=subprocess.DEVNULL), repeats)
    print(f"--help                          {seconds:7.2f} s")
    predict = [*command, "predict", str(video), "--bundle", str(bundle), "--query", QUERIES[0]]
    seconds = least(lambda: subprocess.run(predict, check=True, stdout=subprocess.DEVNULL), repeats)
    print(f"predict on a video of 4 s, cold {seconds:7.2f} s")


def encoding(bundle: Path, short: Path, path: Path, repeats: int) -> None:
    """A video through decoder and encoders, through each alone, and queries on it."""
    from benchmarks import extraction
    from benchmarks.extraction import decode, encode, look
    from read.predictor import Predictor

    predictor = Predictor.from_bundle(bundle)
    extractor = predictor.extractor
    predictor.encode(short)  # whatever happens once
    began = time.perf_counter()
    video = predictor.encode(path)
    both = time.perf_counter() - began
    counts, kept = look(extractor, [path])
    decoding, _ = extraction.timed(lambda: decode(extractor, [path]))
    alone, _ = extraction.timed(lambda: encode(extractor, counts, kept))
    print(
        f"encoding {video.duration:5.0f} s of video        {both:7.2f} s, {video.duration / both:.0f} times its speed"
    )
    print(f"  decoding alone                {decoding:7.2f} s, {decoding / both:.2f} of that")
    print(f"  encoders alone                {alone:7.2f} s, {alone / both:.2f} of that")
    video.moments(QUERIES[0])  # loads the model
    times = [timed(lambda query=f"{QUERIES[1]} {number}": video.answer([query])) for number in range(10 * repeats)]
    print(
        f"a further query, the median     {1000 * statistics.median(times):7.1f} ms, at most {1000 * max(times):.1f} ms"
    )
    seconds = least(lambda: video.answer(QUERIES * 8), repeats)
    print(f"32 queries in one batch         {1000 * seconds:7.1f} ms")


def memory(bundle: Path, short: Path, long: Path) -> None:
    """The most memory that a process takes which asks a short, and one which asks a long video."""
    context = multiprocessing.get_context("spawn")
    for name, path in (("short", short), ("long", long)):
        with context.Pool(1) as pool:
            peak, duration, seconds = pool.apply(peak_of, (bundle, path))
        print(f"{name} video, {duration / 3600:.2f} h          {peak / 2**20:7.0f} MiB at most, {seconds:.0f} s")


def peak_of(bundle: Path, path: Path) -> tuple[int, float, float]:
    """Bytes at most, the video's seconds, and the seconds it took."""
    from read.predictor import Predictor

    began = time.perf_counter()
    video = Predictor.from_bundle(bundle).encode(path)
    video.answer(QUERIES)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, video.duration, time.perf_counter() - began


def make_video(path: Path, seconds: int, size: str, fps: int) -> Path:
    """A moving test picture."""
    source = f"testsrc2=size={size}:rate={fps}:duration={seconds}"
    quality = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    subprocess.run([ffmpeg_binary(), "-v", "error", "-f", "lavfi", "-i", source, *quality, str(path)], check=True)
    return path


def make_bundle(root: Path) -> Path:
    """A bundle of models of the default sizes, for grounding."""
    import torch

    from read.adapters import apply_strategy, save_adapter
    from read.backbones import build_backbone
    from read.bundle import export
    from read.encoders.extractor import Extractor, ExtractorSettings
    from read.encoders.kinds.clip import new_tiny_clip
    from read.encoders.kinds.slowfast import TINY, SlowFast

    torch.manual_seed(0)
    new_tiny_clip().save(root / "models/encoders/clip")
    SlowFast.create(TINY).save(root / "models/encoders/slowfast")
    spec = Extractor(ExtractorSettings(), root / "models/encoders").spec
    dims = {"video_dim": sum(each["dim"] for each in spec["encoders"].values()), "text_dim": 64}
    model = build_backbone("univtg", **dims, hidden=96, layers=4, heads=4, feed_forward=192)
    model.save(root / "models/backbone/grounding")
    run = root / "models/adapters/none/grounding/read/k0-s0"
    save_adapter(apply_strategy("read", model), run)
    write_json(run / "run.json", {"features": spec})
    return export([run], root / "bundle").folder


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def least(work: Callable[[], Any], repeats: int) -> float:
    """The least seconds of some runs."""
    return min(timed(work) for _ in range(repeats))


if __name__ == "__main__":
    main()
