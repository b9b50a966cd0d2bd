"""How time and memory of the stages' own work grow with the number of videos, from 100 to 10,000.

    python -m benchmarks.scale
    python -m benchmarks.scale --sizes 1000 10000 100000 --parts split leaks epoch scores
    python -m benchmarks.scale --sizes 1000 10000 --parts epoch --clips 75 --dim 704      features of a usual width

Videos are random features, of a few numbers a clip where only their count matters, each with one query, in a temporary
folder. Every part runs in a process of its own:

    plan     `snakemake -n` of a project whose labels it has not seen, and `again`, as each job of a cluster reads it
    open     the digests of all shards, and the labels
    split    the sides of a run
    leaks    copies among the videos, and the check of the sides
    epoch    every query once in a batch of 32
    scores   QVHighlights' scores of all queries and of each video, and one draw of chance

Told are CPU seconds; how often as long a size takes as the one before, over what n log n allows (1 or less is to be);
the peak of the memory; and how many kB each further video took of it. Labels are held whole, features are not.
"""

import argparse
import math
import multiprocessing
import os
import re
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.planning import make_project, snakemake
from read.files import write_json, write_jsonl

SHARD = 1000  # videos of a shard of features
PLANNED = 100  # videos of a shard of the plan, as far as there may be so many shards
SPEC = {"encoders": {"clip": {}}, "clip_len": 2.0}
LONG_AGO = 1e9  # when labels were written: what has just changed is read again


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all parts at all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000], help="numbers of videos")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--clips", type=int, default=20, help="of a video")
    parser.add_argument("--dim", type=int, default=24, help="numbers of a clip")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write what was measured")
    options = parser.parse_args(argv)
    found: list[dict[str, Any]] = []
    for size in sorted(options.sizes):
        with tempfile.TemporaryDirectory() as folder:
            make_data(Path(folder), size, options.clips, options.dim)
            for part in options.parts:
                found += [{"videos": size, **row} for row in _alone(part, folder)]
    print(f"{'':8}{'videos':>9}{'seconds':>10}{'over n log n':>14}{'MB':>7}{'kB a video':>12}")
    for name in dict.fromkeys(row["part"] for row in found):
        before: dict[str, Any] = {}
        for row in [row for row in found if row["part"] == name]:
            if before:
                allowed = math.prod(of(row["videos"]) / of(before["videos"]) for of in (float, math.log))
                row["over_n_log_n"] = row["seconds"] / before["seconds"] / allowed
                row["kb_a_video"] = 1024 * (row["mb"] - before["mb"]) / (row["videos"] - before["videos"])
            grown = f"{row['over_n_log_n']:14.2f}" if before else f"{'':14}"
            more = f"{row['kb_a_video']:12.1f}" if before else ""
            print(f"{name:8}{row['videos']:9}{row['seconds']:10.2f}{grown}{row['mb']:7.0f}{more}")
            before = row
    if options.json:
        write_json(options.json, found)


def make_data(folder: Path, videos: int, clips: int, dim: int) -> None:
    """Labels and features of so many videos, each of six scenes of its own."""
    from read.data import write_shard
    from read.data.features import text_arrays

    generator, rows = np.random.default_rng(0), []
    for video in range(videos):
        first, last = np.sort(generator.choice(clips + 1, 2, replace=False)).tolist()
        words = f"number {video} of {generator.integers(videos)}"
        rows.append(
            {"qid": video, "query": words, "vid": f"v{video}", "duration": 2.0 * clips,
             "relevant_windows": [[2.0 * first, 2.0 * last]]}
        )  # fmt: skip
    write_jsonl(folder / "annotations.jsonl", rows)
    for number in range(math.ceil(videos / SHARD)):
        arrays = {}
        for video in range(number * SHARD, min(videos, (number + 1) * SHARD)):
            scenes = generator.normal(size=(6, dim))[generator.integers(6, size=clips)]
            arrays[f"clip/v{video}"] = 3 + scenes + 0.3 * generator.normal(size=(clips, dim))
        write_shard(folder, f"{number:03}", arrays, SPEC)
    write_shard(folder, "text", text_arrays(range(videos), generator.normal(size=(videos, 4, dim))), SPEC)


def _alone(part: str, folder: str) -> list[dict[str, Any]]:
    """What a part says of itself, run in a process of its own."""
    context = multiprocessing.get_context("spawn")
    there, here = context.Pipe()
    process = context.Process(target=_measure, args=(part, folder, here))
    process.start()
    here.close()
    try:
        return there.recv()
    except EOFError:
        raise SystemExit(f"{part} failed") from None
    finally:
        process.join()


def _measure(part: str, folder: str, pipe: Any) -> None:
    pipe.send(PARTS[part](Path(folder)))


def _job(folder: Path) -> tuple[Any, list[Any]]:
    """What a job opens first: the features and the labels."""
    from read.data import FeatureStore, load_annotations

    store = FeatureStore(folder)
    return store, load_annotations(folder / "annotations.jsonl", 2.0, store.lengths)


def _open(folder: Path) -> Any:
    import read.data  # noqa: F401 - a start takes as long, however many videos there are

    return lambda: _job(folder)


def _split(folder: Path) -> Any:
    from read.data import SplitSettings, make_split

    _, labels = _job(folder)
    return lambda: make_split(labels, 16, 0, SplitSettings(0.25, 0.4))


def _leaks(folder: Path) -> Any:
    from read.data import SplitSettings, check_leaks, find_twins, make_split

    store, labels = _job(folder)
    sides = make_split(labels, 16, 0, SplitSettings(0.25, 0.4)).sides
    return lambda: check_leaks(sides, find_twins(store, store.videos))


def _epoch(folder: Path) -> Any:
    from read.data import collate, make_samples

    store, labels = _job(folder)

    def work() -> None:
        samples = make_samples(labels, store, 2.0)
        for part in np.array_split(np.random.default_rng(0).permutation(len(samples)), math.ceil(len(samples) / 32)):
            collate([samples[index] for index in part])

    return work


def _scores(folder: Path) -> Any:
    from read.metrics.grounding import random_prediction
    from read.metrics.protocol import get_protocol

    _, labels = _job(folder)
    protocol, generator = get_protocol("qvhighlights"), np.random.default_rng(0)
    rows = [random_prediction(label, 2.0, generator) for label in labels]

    def work() -> None:
        protocol.scores(rows, labels, 2.0)
        for row, label in zip(rows, labels, strict=True):
            protocol.scores([row], [label], 2.0)
        protocol.random(labels, 2.0, 1, 0)

    return work


def _timed(prepare: Any, part: str) -> Any:
    """A part that tells of itself."""

    def tell(folder: Path) -> list[dict[str, Any]]:
        work = prepare(folder)
        began = time.process_time()
        work()
        seconds = time.process_time() - began
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return [{"part": part, "seconds": seconds, "mb": int(peak) / 1024}]

    return tell


def _plan(folder: Path) -> list[dict[str, Any]]:
    """Both plans; their memory is the higher one's."""
    videos = sum(1 for _ in (folder / "annotations.jsonl").open())
    found = []
    with tempfile.TemporaryDirectory() as project:
        make_project(Path(project), videos, min(1000, max(4, videos // PLANNED)), 1)
        for file in (Path(project) / "data/catalog/large").iterdir():
            os.utime(file, (LONG_AGO, LONG_AGO))
        for part in ("plan", "again"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            snakemake(Path(project), "-n")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            found.append({"part": part, "seconds": seconds, "mb": after.ru_maxrss / 1024})
    return found


PARTS = {
    "plan": _plan,
    "open": _timed(_open, "open"),
    "split": _timed(_split, "split"),
    "leaks": _timed(_leaks, "leaks"),
    "epoch": _timed(_epoch, "epoch"),
    "scores": _timed(_scores, "scores"),
}


if __name__ == "__main__":
    main()
