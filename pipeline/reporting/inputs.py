"""What the report is made from: scores and curves of the runs, references, annotations, and where it all came from."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError

from read.data.annotations import Annotation, load_annotations
from read.errors import InputError
from read.files import read_json

Metrics = dict[str, FiniteFloat]  # flat metric name -> percent
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class Reference(BaseModel):
    """Scores of a row without a model: random and oracle."""

    scores: Metrics
    by_kind: dict[str, Metrics] = {}


class GridPoint(BaseModel):
    """One learning rate that was tried, with the validation score that it reached."""

    learning_rate: float
    score: FiniteFloat


class Run(Reference):
    """One strategy at one number of labelled videos (`shots`) and one seed; `share` is trainable / total."""

    strategy: str
    shots: NonNegativeInt
    seed: int
    backbone: str
    trainable: NonNegativeInt
    total: NonNegativeInt
    share: Share
    adapter_bytes: NonNegativeInt
    learning_rate: float | None = None
    grid: list[GridPoint] = []
    steps: NonNegativeInt
    best_step: NonNegativeInt
    seconds: FiniteFloat
    n_queries: NonNegativeInt
    n_videos: NonNegativeInt


class Provenance(BaseModel):
    """Where the numbers come from; what is absent is shown as not recorded."""

    model_config = ConfigDict(extra="forbid")

    params: dict = {}
    data: dict[str, str] = {}  # path -> digest
    commit: str | None = None
    dirty: bool = False
    packages: dict[str, str] = {}
    date: str | None = None
    device: str | None = None
    durations: dict[str, FiniteFloat] = {}  # stage -> seconds


@dataclass(frozen=True)
class Inputs:
    """The arguments of `build_report`.

    `runs` holds references.json and `<strategy>/k<shots>-s<seed>/`; `raw` holds annotations.jsonl, manifest.json and
    videos/. `metric` is the one that is charted, `examples` how many queries are shown with their video, `clip_len`
    seconds per clip.
    """

    dataset: str
    runs: Path
    raw: Path
    metric: str
    examples: int
    clip_len: float
    provenance: Provenance


@dataclass(frozen=True)
class CurvePoint:
    """Training loss and, where it was measured, validation score (percent) at a step."""

    step: int
    loss: float | None
    val_score: float | None


@dataclass(frozen=True)
class Results:
    """Everything that was read. `folders` and `curves` go by (strategy, shots, seed), `missing` is vid -> reason."""

    inputs: Inputs
    runs: tuple[Run, ...]
    references: dict[str, Reference]
    folders: dict[tuple[str, int, int], Path]
    curves: dict[tuple[str, int, int], list[CurvePoint]]
    annotations: list[Annotation]
    videos: dict[str, Path]
    missing: dict[str, str]


def load_results(inputs: Inputs) -> Results:
    """Read and check all that the report shows, but predictions and plans, which only the examples need.

    Raises:
        InputError: a file is absent or not as expected, the metric is unknown, or runs that are to be compared rest on
            different queries.
    """
    paths = sorted(inputs.runs.glob("*/k*-s*/scores.json"))
    if not paths:
        raise InputError(f"{inputs.runs}: holds no run (looked for <strategy>/k<shots>-s<seed>/scores.json)")
    runs = [_checked(Run, path) for path in paths]
    folders = {key_of(run): path.parent for run, path in zip(runs, paths, strict=True)}
    references_path = inputs.runs / "references.json"
    references = {name: Reference.model_validate(row) for name, row in _json(references_path).items()}
    _check_metric(inputs.metric, [*runs, *references.values()])
    _check_same_queries(runs)
    manifest = _json(inputs.raw / "manifest.json")
    return Results(
        inputs=inputs,
        runs=tuple(runs),
        references=references,
        folders=folders,
        curves={key_of(run): read_curve(folders[key_of(run)] / "curve.csv") for run in runs if run.trainable},
        annotations=load_annotations(inputs.raw / "annotations.jsonl", inputs.clip_len),
        videos={vid: inputs.raw / "videos" / entry["file"] for vid, entry in manifest["videos"].items()},
        missing=manifest["missing"],
    )


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


def _json(path: Path) -> dict:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None


def _checked(model: type[Run], path: Path) -> Run:
    try:
        return model.model_validate(_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _check_metric(metric: str, rows: Sequence[Reference]) -> None:
    for row in rows:
        if metric not in row.scores:
            raise InputError(f"report.metric: no {metric} among the scores; there are {', '.join(sorted(row.scores))}")


def _check_same_queries(runs: Sequence[Run]) -> None:
    """Differences within a seed mean something only on the same test side."""
    first: dict[int, Run] = {}
    for run in runs:
        other = first.setdefault(run.seed, run)
        if (run.n_queries, run.n_videos) != (other.n_queries, other.n_videos):
            raise InputError(
                f"{run.strategy} and {other.strategy} of seed {run.seed} rest on different test sides: "
                f"{run.n_queries} and {other.n_queries} queries; evaluate both on the same one"
            )
