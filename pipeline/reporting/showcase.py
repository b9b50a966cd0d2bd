"""Test samples shown with their video: which ones, and what players of all tasks share."""

import base64
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from safetensors import safe_open

from pipeline.reporting.inputs import Report, Results, Run, key_of
from pipeline.reporting.tables import label, make_rows, shots_of
from read.encoders.frames import transcode_for_web
from read.errors import InputError
from read.files import read_json, read_jsonl
from read.rows import id_key

LONGEST = 180  # seconds of video that a page can carry

Predictions = dict[int | str, dict]  # key of a sample -> its row of predictions.jsonl


@dataclass(frozen=True)
class Candidate:
    """A sample that could be shown, by its label, with the quality (0 to 1) of each strategy's prediction."""

    label: Any
    qualities: Sequence[float]

    @property
    def kind(self) -> str:
        """The kind of sample, where labels tell kinds apart."""
        return getattr(self.label, "kind", "")


@dataclass(frozen=True)
class Pick:
    """A candidate to show, and why this one."""

    candidate: Candidate
    reason: str


class AttentionMaps:
    """What the model of a run looked at, where that was kept; read one sample at a time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "attention.safetensors"
        self.notes: dict[str, dict] = read_json(folder / "attention.json") if self.file.is_file() else {}

    def get(self, key: int | str, words: int) -> tuple[dict, np.ndarray] | None:
        """The note and the 2-D array of a sample; None where there is none. `words` is the axis that words are on.

        Raises:
            InputError: the array does not fit the words.
        """
        if (note := self.notes.get(id_key(key))) is None:
            return None
        with safe_open(self.file, framework="numpy") as arrays:
            array = arrays.get_tensor(id_key(key))
        if array.ndim != 2 or array.shape[words] != len(note["words"]):
            raise InputError(f"{self.file}: {key} is {array.shape}, but has {len(note['words'])} words")
        return note, array


def make_showcase(
    results: Results,
    key: str,
    quality: Callable[[Mapping[str, Any], Any], float],
    example: Callable[[Any, Mapping[str, dict], Mapping[str, AttentionMaps]], dict],
) -> dict[str, Any]:
    """The examples of a task as JSON-able data: `examples`, `strategies`, `candidates`, `shots`, `seed`.

    Args:
        results: of the task.
        key: the field by which labels, predictions and attention belong together.
        quality: 0 to 1, of a prediction for a label.
        example: what the player shows of a label, given its predictions and all attention maps by strategy. `vid`,
            `kind`, `reason` and `clip_len` are added; `title` and `duration`, in seconds, are due.

    Raises:
        InputError: predictions are absent, or attention maps do not fit them.
    """
    runs = shown_runs(results)
    places = {run.strategy: results.folders[key_of(run)] for run in runs}
    predictions = {name: load_predictions(place / "predictions.jsonl", key) for name, place in places.items()}
    attention = {name: AttentionMaps(place) for name, place in places.items()}
    everywhere = set.intersection(*(set(rows) for rows in predictions.values()))
    if kept := {name for of_run in attention.values() for name in of_run.notes}:
        everywhere = {name for name in everywhere if str(name) in kept}
    candidates = [
        Candidate(label, [quality(rows[getattr(label, key)], label) for rows in predictions.values()])
        for label in results.labels
        if getattr(label, key) in everywhere and label.vid in results.videos
    ]
    examples = []
    for pick in pick_examples(candidates, results.inputs.examples, results.task.samples):
        label_ = pick.candidate.label
        own = {name: rows[getattr(label_, key)] for name, rows in predictions.items()}
        shared = {"vid": label_.vid, "kind": pick.candidate.kind, "reason": pick.reason}
        examples.append(shared | {"clip_len": results.inputs.clip_len} | example(label_, own, attention))
    return {
        "examples": examples,
        "strategies": {run.strategy: label(run.strategy) for run in runs},
        "candidates": len(candidates),
        "shots": runs[-1].shots,
        "seed": runs[-1].seed,
    }


def shown_runs(results: Results) -> list[Run]:
    """Of every strategy the run with the lowest seed, at the largest number of shots; zero-shot first."""
    rows = make_rows(results)
    largest = (shots_of(rows) or [0])[-1]
    return [row.first for row in rows if row.shots in (0, largest)]


def load_predictions(path: Path, key: str) -> Predictions:
    """Rows of predictions by their key."""
    if not path.is_file():
        raise InputError(f"{path}: no such predictions")
    rows = {row[key]: row for row in read_jsonl(path)}
    if not rows:
        raise InputError(f"{path}: holds no prediction")
    return rows


def pick_examples(candidates: Sequence[Candidate], count: int, samples: str) -> list[Pick]:
    """A typical one of each kind, half of all at most, and then those on which the strategies differ most.

    Typical: the mean quality over strategies is nearest to the kind's median. A video comes twice only if it must.
    Ties go by the order of the labels: the choice is deterministic. `samples` is what they are called.
    """
    picks: list[Pick] = []

    def seen(candidate: Candidate) -> bool:
        return any(pick.candidate.label.vid == candidate.label.vid for pick in picks)

    for kind in list(dict.fromkeys(c.kind for c in candidates))[: (count + 1) // 2]:
        of_kind = [c for c in candidates if c.kind == kind]
        middle = median(fmean(c.qualities) for c in of_kind)
        typical = min(of_kind, key=lambda c, middle=middle: (seen(c), abs(fmean(c.qualities) - middle)))
        picks.append(Pick(typical, f"typical of {kind} {samples}" if kind else "typical"))
    while len(picks) < min(count, len(candidates)):
        rest = [c for c in candidates if all(c is not pick.candidate for pick in picks)]
        widest = min(rest, key=lambda c: (seen(c), min(c.qualities) - max(c.qualities)))
        picks.append(Pick(widest, "strategies differ most"))
    return picks


def embedded_videos(report: Report, showcases: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """By vid, a small copy of each video that examples show, in base64; None where it is too long, or was not kept."""
    durations = {example["vid"]: example["duration"] for shown in showcases for example in shown["examples"]}
    return {vid: _small_copy(report.videos[vid]) if d <= LONGEST else None for vid, d in durations.items()}


def _small_copy(video: Path) -> str | None:
    if not video.is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.mp4"
        transcode_for_web(video, small)
        return base64.b64encode(small.read_bytes()).decode("ascii")


def as_json(value: object) -> str:
    """JSON that can stand inside a script element. NaN is refused with a ValueError."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
