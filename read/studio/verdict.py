"""What a training was worth, in a sentence, and what is packed of it: the bundle, the report and this verdict.

The strategy of the verdict is the one whose runs have the highest mean score on the labelled videos that choose, by
cross-validation, among those that train a small part of the model; the test side decides nothing. It is told by the run
of the first seed with the most labelled videos, which is the default of the bundle; rows are means over seeds.

What more videos would give is told where the learning curve supports it, and only then: three numbers of labelled
videos at least, two seeds at least, and from each number to the next a gain in found queries that exceeds the standard
deviation over seeds at both. It is then the last gain per doubling once more, up to twice the videos that trained.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from read.errors import InputError
from read.files import atomic_path, digest_of, read_json, read_jsonl, write_json
from read.studio.results import (
    CHANGED,
    ENOUGH,
    ENOUGH_VIDEOS,
    counted,
    primary,
    ranked,
    report_cautions,
    scores_of,
    trained_on,
)
from read.studio.summary_verdict import SUMMARIZATION, tell_summaries
from read.studio.working import ParamsFile, card_file

BUNDLE, REPORT, VERDICT = "bundle", "report.html", "verdict.json"
GROUNDING = "grounding"
MORE = 8  # labelled videos, at most, that the learning curve is asked about
FOUND = "MR-full-R1@0.5"  # the share of found queries, where a row has scores and no predictions
ROWS = (
    ("random", "random", "moments drawn by chance"),
    ("cosine", "cosine", "the encoders' own sense of pictures and sentences, no training"),
    ("map", "linear map", "fitted to the labels in closed form"),
    ("zero_shot", "zero-shot", "the model before it saw your labels"),
)
Z = 1.96  # of a normal distribution, 95 % two-sided


@dataclass(frozen=True)
class Findings:
    """How many of the test queries a run finds: those whose first window has an IoU of .5 or more with a true one."""

    count: int
    queries: int
    videos: int

    @property
    def interval(self) -> tuple[int, int]:
        """Between which percentages of all such queries it finds, 95 % (Wilson 1927), if these are independent."""
        share, spread = self.count / self.queries, Z * Z / self.queries
        middle = (share + spread / 2) / (1 + spread)
        reach = Z / (1 + spread) * sqrt(share * (1 - share) / self.queries + spread / self.queries / 4)
        return round(100 * max(0.0, middle - reach)), round(100 * min(1.0, middle + reach))


def pack(working: Path, name: str, cache: Path) -> None:
    """Pack what a finished run of a dataset made, each whole or not at all: report, bundle, and last the verdict.

    The bundle holds the runs of the first seed with the most labelled videos of all strategies and tasks; the first is
    that of the verdict.

    Raises:
        InputError: something is not there, or does not fit, or is of another dataset.
    """
    from read.bundle.pack import export

    params = ParamsFile(working)
    if (other := params.get("dataset")) != name:
        raise InputError(f"what lies in {working / 'results/report'} is of {other} by now; train {name} again")
    before = read_json(cache / VERDICT) if (cache / VERDICT).is_file() else {}
    best, runs = ranked(working, name, GROUNDING)
    verdict = tell(working, name, best, before.get("test"))
    others = []
    if SUMMARIZATION in params.get("task"):
        best, others = ranked(working, name, SUMMARIZATION)
        verdict["summaries"] = tell_summaries(working, name, best, (before.get("summaries") or {}).get("test"))
    with atomic_path(cache / REPORT) as draft:
        shutil.copyfile(working / "results/report/index.html", draft)
    with atomic_path(cache / BUNDLE) as draft:
        export([run.folder for run in [*runs, *others]], draft)
    write_json(cache / VERDICT, verdict)


def tell(working: Path, name: str, best: str, before: str | None = None) -> dict[str, Any]:
    """The verdict on a strategy, as JSON: sentence, rows, cautions, and what later ones compare with.

    Args:
        working: the checkout.
        name: of the dataset.
        best: the strategy.
        before: the `test` of the last verdict, a digest of the test side.

    Raises:
        InputError: a file of the run is not there.
    """
    folder = working / "results/runs" / name / GROUNDING
    truth = {str(row["qid"]): row for row in read_jsonl(working / "data/raw" / name / "annotations.jsonl")}
    own = scores_of(folder, best)
    most = max(own)
    metric = primary(working, GROUNDING, best, most)
    curve = [
        (shots, [found_by(folder / best / f"k{shots}-s{seed}", truth) for seed in sorted(own[shots])])
        for shots in sorted(own)
    ]
    first = curve[-1][1][0]
    file = card_file(working, name, "annotations")
    asked = {row["vid"] for row in (read_jsonl(file) if file else []) if row.get("asked")}
    test = _digest(folder / best / f"k{most}-s{min(own[most])}", truth)
    changed = [CHANGED] if before not in (None, test) else []
    return {
        "sentence": " ".join([sentence(first), *_beside(folder, first.queries), outlook(curve)]),
        "metric": metric,
        "rows": _rows(folder, metric, best, own[most], first.queries),
        "cautions": [*changed, *_own_cautions(first), *report_cautions(working, GROUNDING)],
        "left_test": len(asked),
        "strategy": best,
        "test": test,
    }


def sentence(found: Findings) -> str:
    """How many test queries are found, with an interval."""
    low, high = found.interval
    return (
        f"{found.count} of {found.queries} test queries found (a window with an IoU of .5 or more first), on "
        f"{counted(found.videos, 'video')} that nothing was learned from; of all such queries it finds {low} to "
        f"{high} % (95 % interval)."
    )


def _beside(folder: Path, queries: int) -> list[str]:
    """The same of chance and of the model before training, where their scores tell it."""
    sources = _untrained(folder)
    told = [
        f"{words} {finds:.1f}".removesuffix(".0")
        for name, words in (("random", "chance finds"), ("zero_shot", "the model before training"))
        if (finds := _finds(sources.get(name, []), queries)) is not None
    ]
    return [f"{', '.join(told).capitalize()}."] if told else []


def outlook(curve: Sequence[tuple[int, Sequence[Findings]]]) -> str:
    """What more labelled videos would give, or why the learning curve does not tell.

    Args:
        curve: numbers of labelled videos, ascending, each with what the run of every seed found.
    """
    if len(curve) < 3:
        return (
            f"What more labelled videos would give is not known: the learning curve has {counted(len(curve), 'point')}."
        )
    if any(len(found) < 2 for _, found in curve):
        return "What more labelled videos would give is not known: the learning curve is that of one seed."
    means = [fmean(one.count for one in found) for _, found in curve]
    spreads = [stdev(one.count for one in found) for _, found in curve]
    steps = range(1, len(curve))
    if any(means[i] - means[i - 1] <= max(spreads[i], spreads[i - 1]) for i in steps):
        told = ", ".join(f"{mean:.1f} with {shots}" for mean, (shots, _) in zip(means, curve, strict=True))
        return f"The learning curve does not tell what more labelled videos would give (found on average: {told})."
    (before, _), (most, found) = curve[-2:]
    more = min(MORE, most)
    gain = (means[-1] - means[-2]) / log2(most / before) * log2((most + more) / most)
    expected = min(found[0].queries, round(means[-1] + gain))
    return (
        f"With {more} more labelled videos to train on, expect about {expected} (by the learning curve, which goes "
        f"from {means[0]:.1f} with {curve[0][0]} to {means[-1]:.1f} with {most})."
    )


def found_by(run: Path, truth: Mapping[str, Mapping[str, Any]]) -> Findings:
    """What the predictions of a run find of the test queries."""
    from read.metrics.grounding import evaluate

    rows = _predictions(run)
    labels = [truth[str(row["qid"])] for row in rows if str(row["qid"]) in truth]
    if not rows or len(labels) < len(rows):
        raise InputError(f"{run / 'predictions.jsonl'}: is not of these labels; run the pipeline to its end")
    windows = [{key: row[key] for key in ("qid", "pred_relevant_windows")} for row in rows]
    share = evaluate(windows, labels)["exact"]["full"]["MR-R1"]["0.5"] / 100
    return Findings(round(share * len(rows)), len(rows), len({label["vid"] for label in labels}))


def _digest(run: Path, truth: Mapping[str, Any]) -> str:
    """Of what a run was tested on: two trainings with the same one can be compared."""
    return digest_of(json.dumps(sorted(json.dumps(truth[str(row["qid"])]) for row in _predictions(run))))


def _predictions(run: Path) -> list[dict[str, Any]]:
    return read_jsonl(run / "predictions.jsonl")


def _rows(
    folder: Path, metric: str, best: str, own: Mapping[int, dict[str, Any]], queries: int
) -> list[dict[str, Any]]:
    """The strategy beside what needs no training, each with the report's metric and about how many queries it finds."""
    sources = _untrained(folder)
    rows = [(label, sources[name], note) for name, label, note in ROWS if name in sources]
    rows.append((best, [row["scores"] for row in own.values()], trained_on(own)))
    found = []
    for label, scores, note in rows:
        finds = _finds(scores, queries)
        told = "" if finds is None else f"; finds {finds:.1f}".removesuffix(".0") + f" of {queries}"
        found.append({"name": label, "value": fmean(row[metric] for row in scores), "note": f"{note}{told}"})
    return found


def _untrained(folder: Path) -> dict[str, list[dict[str, float]]]:
    """The scores of what needs no training, of one run or of several seeds."""
    references = read_json(folder / "references.json")
    sources = {name: [references[name]["scores"]] for name in ("random", "cosine") if name in references}
    for name in ("map", "zero_shot"):
        if (folder / name).is_dir():
            scores = scores_of(folder, name)
            sources[name] = [row["scores"] for row in scores[max(scores)].values()]
    return sources


def _finds(scores: Sequence[Mapping[str, float]], queries: int) -> float | None:
    """How many queries rows of scores stand for on average; None where the dataset's metrics do not tell."""
    if not scores or any(FOUND not in row for row in scores):
        return None
    return fmean(row[FOUND] for row in scores) * queries / 100


def _own_cautions(found: Findings) -> list[str]:
    if found.queries >= ENOUGH and found.videos >= ENOUGH_VIDEOS:
        return []
    return [
        f"The test side is small: {counted(found.queries, 'sentence')} of {counted(found.videos, 'video')}. "
        "Differences of a few are chance, and sentences of one video are more alike than the interval assumes."
    ]
