"""What the studio's order of labelling gains over a random one: trained on the first k videos, the same test side.

    python -m benchmarks.order --data real --seeds 0 1 2 3 4 --orders 10 --json order.json
    python -m benchmarks.order --data montage --run CHECKOUT --learner read --orders 5

`real` are the clips in `../shared/real`, stitched by eights (`--topics`: by eights of like captions, so that videos
differ in what they are about); nothing is pretrained, and the linear map of the joint space is fitted to the labels. A
seed draws the test side and who stands beside whom. `montage` are the features and the backbone of a finished run;
`map` is the linear map, `read` the strategy, and a seed is that of the training. Three orders: by chance, by novelty,
and by novelty and doubt, where the model that was fitted to the last k videos says what it is unsure of.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool1d, normalize

from benchmarks.clips import CLIP_LEN, PER, Clips, load_clips, minilm_folder, principal, sides_of
from benchmarks.real import DEFAULT
from benchmarks.tiny import ROOT
from read.adapters import apply_strategy
from read.adapters.budget import match_budget
from read.backbones import Backbone, load_backbone
from read.backbones.grounding.joint import JointBackbone, JointConfig
from read.data import Annotation, FeatureStore, Sample, load_annotations, make_samples
from read.files import write_json
from read.grounding.inference import predict
from read.grounding.ridge import STRESSES, MapSums, fit_map, solve
from read.grounding.task import Grounding
from read.metrics.protocol import get_protocol
from read.studio.order import PARTS, doubts_of, margin, order
from read.train import TrainSettings, train_until

SHOTS, METRIC, ORDERS = (8, 16, 32), "MR-full-mAP", ("random", "novelty", "novelty x doubt")
STEPS, RATE, BUDGET, PLACES = 100, 0.008, 28000, ("projection", "attention", "feed_forward", "joint")
SENTENCES = 24  # labelled ones of which doubt is asked
Learner = Callable[[Sequence[Sample], int], Backbone]


@dataclass(frozen=True)
class Pool:
    """Samples of each video that may be labelled, those of the test side, and what learns of them."""

    videos: Mapping[str, list[Sample]]
    test: list[Sample]
    learn: Learner

    def first(self, vids: Sequence[str]) -> list[Sample]:
        """The samples of some videos."""
        return [sample for vid in vids for sample in self.videos[vid]]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("real", "montage"), default="real")
    parser.add_argument("--topics", action="store_true", help="real: stitch clips with like captions")
    parser.add_argument("--learner", choices=("map", "read"), default="map", help="montage: what learns")
    parser.add_argument("--run", type=Path, default=ROOT, help="montage: the checkout of a finished run")
    parser.add_argument("--thin", type=int, default=2, metavar="N", help="montage: score every N-th test video")
    parser.add_argument("--features", type=Path, default=DEFAULT, help="real: folder of the clips")
    parser.add_argument("--minilm", type=Path, help="real: folder of all-MiniLM-L6-v2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--orders", type=int, default=5, help="random ones of each seed")
    parser.add_argument("--shots", type=int, nargs="+", default=list(SHOTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the rows")
    options = parser.parse_args(argv)
    needed = options.features if options.data == "real" else options.run / "data/features/montage"
    if not needed.is_dir():
        print(f"{needed} is not there, so nothing is measured")
        return
    pools = real_pools(options) if options.data == "real" else montage_pools(options)
    rows = [row for seed in options.seeds for row in rows_of(pools(seed), seed, options)]
    print_table(rows, options.shots)
    if options.json:
        write_json(options.json, {"data": options.data, "topics": options.topics, "rows": rows})


def rows_of(pool: Pool, seed: int, options: argparse.Namespace) -> list[dict]:
    """The score after each number of shots, by each order."""
    rows = []
    for name in ORDERS:
        for number in range(options.orders if name == "random" else 1):
            labelled: list[str] = []
            model = None
            for shots in options.shots:
                labelled += following(name, pool, labelled, model, [seed, number])[: shots - len(labelled)]
                model = pool.learn(pool.first(labelled), seed)
                score = scored(model, pool.test)
                rows.append({"seed": seed, "order": name, "draw": number, "shots": shots, "score": score})
            told = ", ".join(f"{row['score']:.1f}" for row in rows[-len(options.shots) :])
            print(f"seed {seed}, {name} {number}: {told}", file=sys.stderr, flush=True)
    return rows


def following(name: str, pool: Pool, labelled: Sequence[str], model: Backbone | None, seed: Sequence[int]) -> list[str]:
    """The videos without labels, in the order in which they are labelled."""
    if name == "random":
        drawn = np.random.default_rng(seed).permutation(sorted(pool.videos)).tolist()
        return [vid for vid in drawn if vid not in labelled]
    looks = {vid: adaptive_avg_pool1d(samples[0].video.T, PARTS).T.numpy() for vid, samples in pool.videos.items()}
    doubts = {}
    if name != "novelty" and model is not None:
        asked = pool.first(labelled)
        asked = asked[:: max(1, len(asked) // SENTENCES)][:SENTENCES]
        rest = [vid for vid in sorted(pool.videos) if vid not in labelled]
        doubts = doubts_of({vid: margins(model, pool.videos[vid][0], asked) for vid in rest})
    return [vid for vid, _ in order([*pool.videos], labelled, looks, doubts, {})]


def margins(model: Backbone, video: Sample, asked: Sequence[Sample]) -> list[float]:
    """How far the model's best window of each sentence is above the next in a video that nobody has labelled."""
    samples = [
        Sample(video.clips, each.words, video.question, video.clip_len, embedding=each.embedding) for each in asked
    ]
    return [margin(row["pred_relevant_windows"]) for row in predict(model, samples)]


def scored(model: Backbone, samples: Sequence[Sample]) -> float:
    """MR-full-mAP of QVHighlights' protocol."""
    labels = [sample.annotation for sample in samples]
    return get_protocol("qvhighlights").scores(predict(model, samples), labels, samples[0].clip_len)[METRIC]


def real_pools(options: argparse.Namespace) -> Callable[[int], Pool]:
    """The clips that are no test side's, as videos of a pool; the map learns from nothing but labels."""
    clips = load_clips(options.features, minilm_folder(options.minilm))

    def pool(seed: int) -> Pool:
        sides = sides_of(clips, seed, shift=False)
        videos = stitched(clips, [*sides["source"], *sides["train"]], seed, options.topics)
        test = stitched(clips, sides["test"], seed, options.topics)
        first = next(iter(test.values()))[0]
        e = clips.features[0]["conse"].shape[-1]
        start = first.clips.shape[-1] - e
        config = JointConfig(first.clips.shape[-1], first.words.shape[-1], joint_start=start, joint_dim=e)

        def learn(samples: Sequence[Sample], _: int) -> Backbone:
            return mapped(config, MapSums.nothing(config.video_dim, e), samples)

        return Pool(videos, [sample for samples in test.values() for sample in samples], learn)

    return pool


def mapped(config: JointConfig, source: MapSums, samples: Sequence[Sample]) -> JointBackbone:
    """The linear map of the source's and of labelled samples, these with the usual weight: one is not chosen here."""
    model = JointBackbone(config).eval()
    labelled = MapSums.of(samples, config.joint_start, config.joint_dim)
    with torch.no_grad():
        for name, value in zip(model.space.fitted, solve(source.plus(labelled, STRESSES[0])), strict=True):
            model.space.get_parameter(name).copy_(value)
    return model


def stitched(clips: Clips, members: Sequence[int], seed: int, topics: bool) -> dict[str, list[Sample]]:
    """Videos of eight clips each, and a sample for each caption."""
    drawn = np.random.default_rng([seed, len(members)]).permutation(members)
    if topics:
        place = principal(np.stack([tokens.mean(0) for tokens in clips.tokens]))
        drawn = drawn[np.argsort(place[drawn], kind="stable")]
    videos = {}
    for at in range(0, len(drawn) - PER + 1, PER):
        vid, parts = f"v{at // PER:04d}", [clips.video(str(clip)) for clip in drawn[at : at + PER]]
        ends = np.cumsum([0, *map(len, parts)]) * CLIP_LEN
        rows = torch.cat(parts)
        videos[vid] = [
            Sample.labelled(
                rows, normalize(torch.from_numpy(clips.tokens[clip]), dim=-1),
                Annotation(
                    int(clip), clips.captions[clip], vid, float(ends[-1]), ((float(start), float(end)),), (), ()
                ),
                CLIP_LEN, normalize(torch.from_numpy(clips.tokens[clip]).mean(0), dim=-1),
            )
            for clip, start, end in zip(drawn[at : at + PER], ends[:-1], ends[1:], strict=True)
        ]  # fmt: skip
    return videos


def montage_pools(options: argparse.Namespace) -> Callable[[int], Pool]:
    """The train side of the montage is the pool; a backbone that was trained on its source learns from labels."""
    store = FeatureStore(options.run / "data/features/montage")
    folder = options.run / "models/backbone/grounding"
    sums = MapSums.load(folder / "joint.safetensors")
    labels = load_annotations(options.run / "data/raw/montage/annotations.jsonl", CLIP_LEN, store.lengths)
    sides: dict[str, list[Sample]] = {"train": [], "test": []}
    for sample in make_samples([label for label in labels if label.vid in store.videos], store, CLIP_LEN):
        sides[sample.annotation.split].append(sample)
    videos: dict[str, list[Sample]] = {}
    for sample in sides["train"]:
        videos.setdefault(sample.vid, []).append(sample)
    config = load_backbone(folder).config
    places = {"joint_start": config.joint_start, "joint_dim": config.joint_dim}

    def fitted(samples: Sequence[Sample], _: int) -> Backbone:
        return mapped(JointConfig(config.video_dim, config.text_dim, **places), sums, samples)

    def trained(samples: Sequence[Sample], seed: int) -> Backbone:
        model = load_backbone(folder)
        if model.joint_space is not None:
            fit_map(model.joint_space, sums, samples)
        torch.manual_seed(seed)
        model = apply_strategy("read", model, **match_budget("read", load_backbone(folder), BUDGET, after=PLACES))
        train_until(model, Grounding(), samples, TrainSettings(STEPS, learning_rate=RATE, seed=seed), STEPS)
        return model.eval()

    learn = trained if options.learner == "read" else fitted
    tested = set(sorted({sample.vid for sample in sides["test"]})[:: options.thin])
    test = [sample for sample in sides["test"] if sample.vid in tested]
    return lambda seed: Pool(videos, test, learn)


def print_table(rows: Sequence[dict], shots: Sequence[int]) -> None:
    """The mean score of each order, and by how much it is above the random ones of the same seed, with the spread."""
    print(f"{'order':16}" + "".join(f"{f'k = {k}':>9}{'- random, over seeds':>24}" for k in shots))
    seeds = sorted({row["seed"] for row in rows})

    def found(name: str, k: int, seed: int) -> list[float]:
        return [row["score"] for row in rows if (row["order"], row["shots"], row["seed"]) == (name, k, seed)]

    for name in ORDERS:
        cells = ""
        for k in shots:
            means = [statistics.mean(found(name, k, seed)) for seed in seeds]
            if name == "random":
                spreads = [statistics.stdev(found(name, k, seed)) for seed in seeds if len(found(name, k, seed)) > 1]
                told = f"± {statistics.mean(spreads):.1f} between orders" if spreads else ""
            else:
                above = [
                    mean - statistics.mean(found("random", k, seed)) for mean, seed in zip(means, seeds, strict=True)
                ]
                spread = f" ± {statistics.stdev(above) / len(above) ** 0.5:.1f}" if len(above) > 1 else ""
                told = f"{statistics.mean(above):+.1f}{spread}"
            cells += f"{statistics.mean(means):9.1f}{told:>24}"
        print(f"{name:16}{cells}")


if __name__ == "__main__":
    main()
