"""What a finished run of the pipeline left, as a verdict reads it: runs, scores, and what the report says of them."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from read.bundle.workspace import TrainedRun, find_run
from read.errors import InputError
from read.files import read_json

SMALL = 0.5  # share of the model's parameters that a small strategy trains at most
ENOUGH = 30  # test queries, or summaries, and
ENOUGH_VIDEOS = 10  # their videos, below which a caution is told
CHANGED = "The test side is another one than at the last training: its scores and these cannot be compared."


def ranked(working: Path, name: str, task: str) -> tuple[str, list[TrainedRun]]:
    """The best strategy of a task by what chose, and one run of each, its own first.

    The best has the highest mean score on the labelled videos that choose, with the most of them to train on, among
    those that train a small part of the model; its run is that of the first seed.

    Raises:
        InputError: nothing was trained.
    """
    runs = _runs(working, name, task)
    if not runs:
        raise InputError(f"{working / 'models/adapters' / name / task}: holds no trained run")
    most = max(run.record["shots"] for run in runs)
    by_strategy: dict[str, list[TrainedRun]] = {}
    for run in runs:
        if run.record["shots"] == most:
            by_strategy.setdefault(run.label, []).append(run)
    chosen = {label: fmean(run.record["val_score"] for run in own) for label, own in by_strategy.items()}
    small = [label for label, own in by_strategy.items() if own[0].record["share"] <= SMALL] or list(by_strategy)
    best = max(small, key=chosen.__getitem__)
    order = [best, *(label for label in by_strategy if label != best)]
    return best, [min(by_strategy[label], key=lambda run: run.record["seed"]) for label in order]


def scores_of(folder: Path, strategy: str) -> dict[int, dict[int, dict[str, Any]]]:
    """Shots -> seed -> scores of a strategy's runs, of a folder of results. Raises InputError where there are none."""
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for path in sorted((folder / strategy).glob("k*-s*/scores.json")):
        row = read_json(path)
        found.setdefault(row["shots"], {})[row["seed"]] = row
    if not found:
        raise InputError(f"{folder / strategy}: holds no scores; run the pipeline to its end")
    return found


def primary(working: Path, task: str, strategy: str, shots: int) -> str:
    """The metric of the report's first column for a task."""
    return next(iter(read_json(working / "results/report/metrics" / task / f"{strategy}-k{shots}.json")))


def trained_on(own: Mapping[int, dict[str, Any]]) -> str:
    """What runs, seed -> scores, were trained on, in words."""
    first = next(iter(own.values()))
    count = first.get("train_videos") or first["shots"]
    seeds = f", mean over {len(own)} seeds" if len(own) > 1 else ""
    return f"trained on {counted(count, 'labelled video')}{seeds}"


def report_cautions(working: Path, task: str) -> list[str]:
    """What the report warns of, as sentences."""
    told = read_json(working / "results/report/takeaways.json").get(task, [])
    return [f"{each['title']}. {each['text']}" for each in told if each["caution"]]


def counted(count: int, what: str) -> str:
    """A number of things: `1 video`, `2 videos`."""
    return f"{count} {what}{'s' * (count != 1)}"


def _runs(working: Path, name: str, task: str) -> list[TrainedRun]:
    folder = working / "models/adapters" / name / task
    return [find_run(folder / run) for run in read_json(folder / "runs.json")] if folder.is_dir() else []
