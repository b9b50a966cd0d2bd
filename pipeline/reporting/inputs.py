"""What the report is made from: scores and curves of the runs, references, labels, and where it all came from."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.reporting.records import Dataset, Provenance, Reference, Run, SourceScores
from pipeline.reporting.task import ReportedTask
from read.data.lengths import Length
from read.errors import InputError
from read.files import read_json

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Inputs:
    """The arguments of `build_report`.

    `runs` holds for every task `<task>/references.json` and `<task>/<strategy>/k<shots>-s<seed>/`, and source.json
    beside them, if anything is known of the backbone on the source; `raw` holds labels, manifest.json, videos/ and, if
    anything is to be said of the dataset, dataset.json. `metrics` is the metric that is charted, by task: the page has
    a section for each. `examples` is how many samples of a task are shown with their video, `clip_len` seconds per
    clip. `features` is the features.json that says which videos gave none, `domain` the kind that was adapted to, where
    it was one of several, `heard` a list of transcripts by ear, `panels` the charts, in this order.
    """

    dataset: str
    runs: Path
    raw: Path
    metrics: Mapping[str, str]
    examples: int
    clip_len: float
    provenance: Provenance
    features: Path | None = None
    domain: str | None = None
    heard: Path | None = None
    panels: Sequence[str] = ("tradeoff", "shots", "kinds", "paired", "curves")


@dataclass(frozen=True)
class CurvePoint:
    """Training loss and, where it was measured, validation score (percent) at a step."""

    step: int
    loss: float | None
    val_score: float | None


@dataclass(frozen=True)
class Results:
    """All that was read of one task. `folders` and `curves` go by (strategy, shots, seed), `videos` is vid -> file."""

    task: ReportedTask
    metric: str
    inputs: Inputs
    runs: tuple[Run, ...]
    references: dict[str, Reference]
    folders: dict[tuple[str, int, int], Path]
    curves: dict[tuple[str, int, int], list[CurvePoint]]
    labels: Sequence[Any]
    videos: dict[str, Path]
    source: SourceScores = field(default_factory=SourceScores)

    @property
    def protocols(self) -> list[str]:
        """Names of the protocols that the runs went by."""
        return sorted({run.protocol for run in self.runs if run.protocol})

    @property
    def optimistic(self) -> bool:
        """Whether any run was chosen by looking at the test side."""
        return any(run.optimistic for run in self.runs)


@dataclass(frozen=True)
class Report:
    """All tasks, and what they share. `missing` is vid -> reason, of the `total` videos that are labelled."""

    inputs: Inputs
    dataset: Dataset
    tasks: list[Results]
    videos: dict[str, Path]
    missing: dict[str, str]
    total: int


def load_report(inputs: Inputs, tasks: Mapping[str, ReportedTask]) -> Report:
    """Read and check all that the report shows, but predictions and attention maps, which only the examples need.

    Raises:
        InputError: a file is absent or not as expected, a metric is unknown, or runs that are to be compared rest on
            different samples.
    """
    manifest = _json(inputs.raw / "manifest.json")
    videos = {vid: inputs.raw / "videos" / entry["file"] for vid, entry in manifest["videos"].items()}
    notes = inputs.raw / "dataset.json"
    failed = _json(inputs.features)["failed"] if inputs.features else {}
    return Report(
        inputs=inputs,
        dataset=_checked(Dataset, notes, _json(notes)) if notes.is_file() else Dataset(),
        tasks=[load_results(inputs, tasks[name], videos) for name in inputs.metrics],
        videos=videos,
        missing=manifest["missing"] | failed,
        total=len(manifest.get("features", videos)) + len(manifest["missing"]),
    )


def load_results(inputs: Inputs, task: ReportedTask, videos: dict[str, Path]) -> Results:
    """The same for one task."""
    folder, metric = inputs.runs / task.name, inputs.metrics[task.name]
    paths = sorted(folder.glob("*/k*-s*/scores.json"))
    if not paths:
        raise InputError(f"{folder}: holds no run (looked for <strategy>/k<shots>-s<seed>/scores.json)")
    runs = [_checked(Run, path, _json(path)) for path in paths]
    folders = {key_of(run): path.parent for run, path in zip(runs, paths, strict=True)}
    file, about = folder / "references.json", folder / "source.json"
    references = {name: _checked(Reference, file, row) for name, row in _json(file).items()}
    _check_metric(task, metric, [*runs, *references.values()])
    _check_same_samples(task, runs)
    return Results(
        task=task,
        metric=metric,
        inputs=inputs,
        runs=tuple(runs),
        references=references,
        folders=folders,
        curves={key_of(run): read_curve(folders[key_of(run)] / "curve.csv") for run in runs if run.trainable},
        source=_checked(SourceScores, about, _json(about)) if about.is_file() else SourceScores(),
        labels=task.load(inputs.raw, inputs.clip_len, _lengths(inputs), inputs.heard),
        videos=videos,
    )


def _lengths(inputs: Inputs) -> dict[str, Length]:
    """How long videos are, as the features tell; nothing of a report without them."""
    about = _json(inputs.features) if inputs.features else {}
    decoded = "package" not in about.get("spec", {})
    return {vid: Length(seconds, inputs.clip_len, decoded) for vid, seconds in about.get("seconds", {}).items()}


def key_of(run: Run) -> tuple[str, int, int]:
    """What a run goes by."""
    return run.strategy, run.shots, run.seed


def read_curve(path: Path) -> list[CurvePoint]:
    """The rows of a curve.csv (step, loss, val_score); an empty cell was not measured at that step."""
    if not path.is_file():
        raise InputError(f"{path}: no such learning curve")
    with path.open(newline="", encoding="utf-8") as file:
        try:
            return [
                CurvePoint(int(row["step"]), _number(row["loss"]), _number(row["val_score"]))
                for row in csv.DictReader(file)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a table of step, loss, val_score ({error!r})") from None


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def _checked(model: type[Model], path: Path, values: Any) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _check_metric(task: ReportedTask, metric: str, rows: Sequence[Reference]) -> None:
    for row in rows:
        if metric not in row.scores:
            there = ", ".join(sorted(row.scores))
            raise InputError(f"report.metrics.{task.name}: no {metric} among the scores; there are {there}")


def _check_same_samples(task: ReportedTask, runs: Sequence[Run]) -> None:
    """Differences within a seed mean something only on the same test side."""
    first: dict[int, Run] = {}
    for run in runs:
        other = first.setdefault(run.seed, run)
        if (run.n_samples, run.n_videos) != (other.n_samples, other.n_videos):
            raise InputError(
                f"{task.name}: {run.strategy} and {other.strategy} of seed {run.seed} rest on different test sides: "
                f"{run.n_samples} and {other.n_samples} {task.samples}; evaluate both on the same one"
            )
