"""Moments in longer videos: the montage's test videos joined, asked for what is seen in one of them only.

python -m benchmarks.long            in the folder of a finished run: the backbone as it was pretrained
python -m benchmarks.long --strategy read
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence

from pipeline import paths
from pipeline.code import settings
from pipeline.params import load_params, parse_settings
from pipeline.tasks import work_on
from read.adapters import load_adapter
from read.data import Sample
from read.data.joined import join
from read.files import read_json, read_jsonl

PARTS = (4, 10)  # videos of 33 s that are joined


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", help="of which the run of the most shots and the first seed is taken")
    strategy = parser.parse_args(argv).strategy
    if not paths.backbone("grounding").is_dir():
        print("there is no finished run here")
        return
    params = load_params()
    given, runs = parse_settings(settings("evaluate", params, task="grounding")), params.runs
    work, shots, seed = work_on("grounding", given), max(runs.shots), runs.seeds[0]
    split = read_json(paths.split_file(params.dataset, "grounding", shots, seed))
    samples, _ = work.samples(params.dataset, split["test"])
    model = work.backbone()
    if strategy:
        model = load_adapter(model, paths.adapter(params.dataset, "grounding", strategy, shots, seed))
    subjects = defaultdict(set)
    for row in read_jsonl(paths.raw(params.dataset) / "segments.jsonl"):
        subjects[row["vid"]].add(row["subject"])
    for count in PARTS:
        alone, joined = joined_samples(samples, subjects, count)
        seconds = sum(sample.question.duration for sample in joined) / len(joined)
        scores = [work.scores(work.predict(model, part), part)["scores"]["MR-full-R1@0.5"] for part in (alone, joined)]
        print(
            f"{len(joined)} queries in videos of {seconds:.0f} s: R1@0.5 {scores[1]:.1f}, alone {scores[0]:.1f}, "
            f"a ratio of {scores[1] / max(scores[0], 1e-9):.2f}"
        )


def joined_samples(
    samples: Sequence[Sample], subjects: dict[str, set[str]], count: int
) -> tuple[list[Sample], list[Sample]]:
    """Samples, and the same in `count` videos joined, without those whose subject is seen in another of the videos."""
    videos: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        videos[sample.vid].append(sample)
    vids, alone, joined = list(videos), [], []
    for start in range(0, len(vids) - count + 1, count):
        group = vids[start : start + count]
        for index, vid in enumerate(group):
            elsewhere = set().union(*(subjects[other] for other in group if other != vid))
            for sample in videos[vid]:
                if not any(subject in sample.question.query for subject in subjects[vid] & elsewhere):
                    alone.append(sample)
                    joined.append(join([sample if other == vid else videos[other][0] for other in group], index))
    return alone, joined


if __name__ == "__main__":
    main()
