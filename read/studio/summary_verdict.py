"""What a training was worth for summaries: the report's own score, beside what needs no training.

The strategy is chosen as that of the moments is, by the labelled videos that choose. Numbers are those of the report,
and so is the interval, which speaks of other seeds and other test videos; of a single seed there is none.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from read.errors import InputError
from read.files import digest_of, read_json, read_jsonl
from read.studio.results import CHANGED, ENOUGH, counted, primary, report_cautions, scores_of, trained_on

SUMMARIZATION = "summarization"
FLOORS = (
    ("shuffled", "shuffled", "the summary of another test video"),
    ("lead", "lead", "the transcript's first sentence"),
    ("zero_shot", "zero-shot", "the model before training"),
)
# Of a metric, in plain words.
MEANING = {"ROUGE-L-whitespace": "100 would be your own words in your own order, 0 none of them"}
Interval = tuple[float, float] | None


def tell_summaries(working: Path, name: str, best: str, before: str | None = None) -> dict[str, Any]:
    """The verdict on a strategy's summaries, as JSON: sentence, metric, rows, cautions, strategy, test.

    Args:
        working: the checkout.
        name: of the dataset.
        best: the strategy.
        before: the `test` of the last such verdict, a digest of the summaries it was tested on.

    Raises:
        InputError: a file of the run is not there, or is of other labels.
    """
    folder = working / "results/runs" / name / SUMMARIZATION
    own = scores_of(folder, best)
    most = max(own)
    metric = primary(working, SUMMARIZATION, best, most)
    intervals = _intervals(working, metric)
    floors = _floors(folder, metric)
    others = sorted({path.parents[1].name for path in folder.glob(f"*/k{most}-s*/scores.json")} - {best})
    trained = {one: scores_of(folder, one)[most] for one in [*others, best]}
    rows = [{"name": label, "value": value, "note": note} for label, value, note in floors]
    rows += [
        {"name": one, "value": _mean(runs, metric), "note": trained_on(runs) + _told(intervals.get((one, str(most))))}
        for one, runs in trained.items()
    ]
    texts = _texts(working, name, folder / best / f"k{most}-s{min(own[most])}")
    test = digest_of(json.dumps(sorted(texts.items())))
    score, interval = _mean(own[most], metric), intervals.get((best, str(most)))
    return {
        "sentence": sentence(metric, score, interval, len(own[most]), len(texts), floors),
        "metric": metric,
        "rows": rows,
        "cautions": [
            *([CHANGED] if before not in (None, test) else []),
            *_small(len(texts)),
            *report_cautions(working, SUMMARIZATION),
        ],
        "strategy": best,
        "test": test,
    }


def sentence(
    metric: str, score: float, interval: Interval, seeds: int, videos: int, floors: Sequence[tuple[str, float, str]]
) -> str:
    """The score, with an interval where there are several seeds, and whether it is told apart from every floor.

    Args:
        metric: its name.
        score: mean over seeds.
        interval: of that mean, 95 %.
        seeds: how many.
        videos: of the test side.
        floors: name, score and note of what needs no training.
    """
    meaning = f" ({MEANING[metric]})" if metric in MEANING else ""
    over = f"; {interval[0]:.1f} to {interval[1]:.1f} (95 % interval, {seeds} seeds)" if interval else ", by one seed"
    tested = f"on {counted(videos, 'test video')} that nothing was learned from"
    told = [f"{metric} {score:.1f}{meaning} {tested}{over}."]
    if not floors:
        return told[0]
    told.append(f"Without training: {', '.join(f'{note} {value:.1f}' for _, value, note in floors)}.")
    _, highest, name = max(floors, key=lambda floor: floor[1])
    if score <= highest:
        told.append(f"It is no better than {name}.")
    elif interval is None:
        told.append("Whether another seed would lead as well is not known.")
    elif interval[0] <= highest:
        told.append(f"Its lead over {name} may be chance: the interval reaches down to that.")
    else:
        told.append("The whole interval lies above these.")
    return " ".join(told)


def _floors(folder: Path, metric: str) -> list[tuple[str, float, str]]:
    """Name, score and note of what needs no training."""
    references = read_json(folder / "references.json")
    found = {name: references[name]["scores"] for name, *_ in FLOORS if name in references}
    if (folder / "zero_shot").is_dir():
        runs = scores_of(folder, "zero_shot")
        found["zero_shot"] = next(iter(runs[max(runs)].values()))["scores"]
    return [(label, found[name][metric], note) for name, label, note in FLOORS if name in found]


def _mean(runs: Mapping[int, dict[str, Any]], metric: str) -> float:
    return fmean(row["scores"][metric] for row in runs.values())


def _intervals(working: Path, metric: str) -> dict[tuple[str, str], Interval]:
    """(strategy, shots) -> the report's interval, of several seeds."""
    with (working / "results/report/scores.csv").open(newline="", encoding="utf-8") as file:
        return {
            (row["strategy"], row["shots"]): (float(row["low"]), float(row["high"]))
            for row in csv.DictReader(file)
            if (row["task"], row["kind"], row["metric"]) == (SUMMARIZATION, "all", metric) and row["low"]
        }


def _told(interval: Interval) -> str:
    return f"; {interval[0]:.1f} to {interval[1]:.1f} (95 %)" if interval else ""


def _texts(working: Path, name: str, run: Path) -> dict[str, str]:
    """The labelled summaries that a run was tested on, by video."""
    labels = {row["vid"]: row["summary"] for row in read_jsonl(working / "data/raw" / name / "summaries.jsonl")}
    rows = read_jsonl(run / "predictions.jsonl")
    if not rows or any(row["vid"] not in labels for row in rows):
        raise InputError(f"{run / 'predictions.jsonl'}: is not of these summaries; run the pipeline to its end")
    return {row["vid"]: labels[row["vid"]] for row in rows}


def _small(videos: int) -> list[str]:
    if videos >= ENOUGH:
        return []
    return [f"Few summaries were tested: {counted(videos, 'video')}. Differences of a few points are chance."]
