"""What the bar for moments is worth where few videos choose it: of a finished run, on videos that it did not train on.

    python -m benchmarks.bar --run CHECKOUT --dataset montage --runs read/k32-s0 lora/k32-s1

Some of the videos that a run has not seen are drawn to choose a bar, and it is counted on all others how many right
answers are denied ("not in this video") and how many queries for what another video shows are answered with a moment.
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tiny import ROOT
from read.adapters import load_adapter
from read.backbones import load_backbone
from read.data import FeatureStore, Sample, load_annotations, make_samples
from read.files import read_json
from read.grounding.inference import predict
from read.grounding.threshold import absent_samples, best_threshold, confidence

Row = dict[str, Any]
Answers = dict[tuple[str, str], Row]  # video and query -> a row of `predict`


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT, help="the checkout of a finished run")
    parser.add_argument("--dataset", default="montage")
    parser.add_argument("--runs", nargs="+", default=["read/k32-s0"], metavar="STRATEGY/DRAW")
    parser.add_argument("--videos", type=int, default=60, help="unseen ones at most")
    parser.add_argument("--choose", type=int, nargs="+", default=[3, 5, 8, 16, 32], help="videos that choose a bar")
    parser.add_argument("--draws", type=int, default=40)
    options = parser.parse_args(argv)
    folder = options.run / "models/adapters" / options.dataset / "grounding"
    if missing := [run for run in options.runs if not (folder / run).is_dir()]:
        print(f"{folder / missing[0]} is not there, so nothing is measured")
        return
    worth: dict[int, list[Row]] = {count: [] for count in options.choose}
    for run in options.runs:
        samples = unseen(options.run, options.dataset, run, options.videos)
        model = load_adapter(load_backbone(options.run / "models/backbone/grounding"), folder / run)
        answers = answers_of(model, samples)
        for count in options.choose:
            worth[count] += draws(samples, answers, count, options.draws)
    print("videos  right answers denied   absent ones answered   no bar")
    for count, found in worth.items():
        denied = [row["denied"] / row["found"] for row in found if row["found"]]
        answered = [row["answered_absent"] / row["absent"] for row in found if row["absent"]]
        none = sum(row["bar"] is None for row in found)
        print(f"{count:6} {_spread(denied):>21} {_spread(answered):>22} {none:>4} of {len(found)}")


def unseen(checkout: Path, dataset: str, run: str, most: int) -> list[Sample]:
    """The samples of videos that a run has not trained on, of some of these where there are many."""
    store = FeatureStore(checkout / "data/features" / dataset)
    split = read_json(checkout / "data/splits" / dataset / "grounding" / f"{run.split('/')[1]}.json")
    clip_len = store.spec["clip_len"]
    labels = load_annotations(checkout / "data/raw" / dataset / "annotations.jsonl", clip_len, store.lengths)
    vids = sorted({label.vid for label in labels} - set(split["train"]))
    kept = set(np.random.default_rng(0).permutation(vids)[:most])
    return make_samples([label for label in labels if label.vid in kept], store, clip_len)


def answers_of(model: Any, samples: Sequence[Sample]) -> Answers:
    """What a model says of every query on every video."""
    said = {sample.question.query: sample for sample in samples}
    seen = {sample.vid: sample for sample in samples}
    asked = [
        Sample(
            video.clips, query.words, replace(video.question, query=text), video.clip_len, embedding=query.embedding
        )
        for video in seen.values()
        for text, query in said.items()
    ]  # fmt: skip
    return {(row["vid"], row["query"]): row for row in predict(model, asked)}


def draws(samples: Sequence[Sample], answers: Answers, count: int, number: int) -> list[Row]:
    """What a bar chosen on some of the videos is worth on the others, of each of a number of draws."""
    dice, vids, rows = np.random.default_rng(count), sorted({sample.vid for sample in samples}), []
    if count >= len(vids):
        return []
    for _ in range(number):
        drawn = set(dice.permutation(vids)[:count])
        sides = [sample for sample in samples if sample.vid in drawn], [s for s in samples if s.vid not in drawn]
        chosen, held = (_told(side, answers) for side in sides)
        bar = best_threshold(*chosen)
        rows.append(confidence(*held, bar) | {"bar": bar})
    return rows


def _told(side: Sequence[Sample], answers: Answers) -> tuple[list[Row], list[Any], list[Row]]:
    """Answers for what is there, the labels, and answers for what is not."""
    there = [answers[sample.vid, sample.question.query] | {"qid": sample.question.qid} for sample in side]
    return there, [sample.annotation for sample in side], [
        answers[asked.vid, asked.question.query] for asked in absent_samples(side)
    ]  # fmt: skip


def _spread(shares: Iterable[float]) -> str:
    values = [100 * share for share in shares]
    return f"{statistics.mean(values):.0f} ± {statistics.stdev(values):.0f} %" if len(values) > 1 else "-"


if __name__ == "__main__":
    main()
