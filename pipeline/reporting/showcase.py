"""Test queries shown with their video: which ones, and what the player needs to show them."""

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from safetensors import safe_open

from pipeline.reporting.inputs import Results, Run, key_of
from pipeline.reporting.tables import label, make_rows, shots_of
from read.data.annotations import MAX_SALIENCY, Annotation
from read.encoders.frames import transcode_for_web
from read.errors import InputError
from read.files import read_json, read_jsonl

LONGEST = 180  # seconds of video that a page can carry
WINDOWS = 5  # predicted windows shown per strategy, the best first

Predictions = dict[int | str, dict]  # qid -> submission row


@dataclass(frozen=True)
class Pick:
    """A query to show, and why this one."""

    annotation: Annotation
    reason: str


def showcase(results: Results) -> dict:
    """Examples and videos as JSON-able data: `examples`, `videos` (vid -> base64 mp4), `strategies`, `shots`, `seed`.

    Raises:
        InputError: predictions or plans that do not fit the annotations.
    """
    runs = shown_runs(results)
    predictions = {run.strategy: load_predictions(results.folders[key_of(run)] / "predictions.jsonl") for run in runs}
    plans = {run.strategy: _Plans(results.folders[key_of(run)]) for run in runs}
    candidates = shown_queries(results, predictions, plans)
    picks = pick_examples(candidates, predictions, results.inputs.examples)
    last = runs[-1]
    return {
        "examples": [_example(pick, predictions, plans, results.inputs.clip_len) for pick in picks],
        "videos": {vid: _video(results, vid) for vid in dict.fromkeys(pick.annotation.vid for pick in picks)},
        "strategies": {run.strategy: label(run.strategy) for run in runs},
        "candidates": len(candidates),
        "shots": last.shots,
        "seed": last.seed,
    }


def shown_runs(results: Results) -> list[Run]:
    """Of every strategy the run with the lowest seed, at the largest number of shots; zero-shot first."""
    rows = make_rows(results)
    largest = (shots_of(rows) or [0])[-1]
    return [row.first for row in rows if not row.trained or row.shots == largest]


def load_predictions(path: Path) -> Predictions:
    """Rows of a submission by qid."""
    if not path.is_file():
        raise InputError(f"{path}: no such predictions")
    rows = {row["qid"]: row for row in read_jsonl(path)}
    if not rows:
        raise InputError(f"{path}: holds no prediction")
    return rows


def shown_queries(
    results: Results, predictions: Mapping[str, Predictions], plans: Mapping[str, "_Plans"]
) -> list[Annotation]:
    """Queries with a video and a prediction by every strategy; only those with a plan where any run kept plans."""
    everywhere = set.intersection(*(set(rows) for rows in predictions.values()))
    candidates = [a for a in results.annotations if a.qid in everywhere and a.vid in results.videos]
    kept = {qid for kept_by_run in plans.values() for qid in kept_by_run.notes}
    return [a for a in candidates if str(a.qid) in kept] if kept else candidates


def pick_examples(candidates: Sequence[Annotation], predictions: Mapping[str, Predictions], count: int) -> list[Pick]:
    """One typical query per kind, then those where the strategies differ most; a video comes twice only if it must.

    A strategy's quality on a query is the IoU of its first window with the best true one. Typical: the mean quality
    over strategies is nearest to the kind's median. Ties go by order in the annotations: the choice is deterministic.
    """
    quality = {a.qid: [first_iou(rows[a.qid], a) for rows in predictions.values()] for a in candidates}
    picks: list[Pick] = []
    for kind in dict.fromkeys(a.kind for a in candidates):
        of_kind = [a for a in candidates if a.kind == kind]
        middle = median(fmean(quality[a.qid]) for a in of_kind)
        seen = {pick.annotation.vid for pick in picks}
        typical = min(of_kind, key=lambda a: (a.vid in seen, abs(fmean(quality[a.qid]) - middle)))
        picks.append(Pick(typical, f"typical of {kind} queries" if kind else "typical"))
    while len(picks) < min(count, len(candidates)):
        seen, taken = {p.annotation.vid for p in picks}, {p.annotation.qid for p in picks}
        rest = [a for a in candidates if a.qid not in taken]
        widest = min(rest, key=lambda a: (a.vid in seen, min(quality[a.qid]) - max(quality[a.qid])))
        picks.append(Pick(widest, "strategies differ most"))
    return picks[:count]


def first_iou(prediction: Mapping, annotation: Annotation) -> float:
    """IoU of the first predicted window with the best true one; 0 without a prediction."""
    if not prediction["pred_relevant_windows"]:
        return 0.0
    start, end, *_ = prediction["pred_relevant_windows"][0]

    def iou(window: tuple[float, float]) -> float:
        shared = max(0.0, min(end, window[1]) - max(start, window[0]))
        return shared / max(end - start + window[1] - window[0] - shared, 1e-9)

    return max(map(iou, annotation.windows))


class _Plans:
    """The transport plans of a run, where it has any; read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "plans.safetensors"
        self.notes = read_json(folder / "plans.json") if self.file.is_file() else {}

    def get(self, qid: int | str) -> dict | None:
        """Words, mass and the (N, M) plan of a query; None where there is none."""
        if (note := self.notes.get(str(qid))) is None:
            return None
        with safe_open(self.file, framework="numpy") as plans:
            plan = plans.get_tensor(str(qid))
        if plan.ndim != 2 or plan.shape[1] != len(note["words"]):
            raise InputError(f"{self.file}: plan {qid} is {plan.shape}, but has {len(note['words'])} words")
        values = [[round(float(value), 6) for value in row] for row in plan]
        return {"words": note["words"], "mass": round(float(plan.sum()), 4), "values": values}


def _example(pick: Pick, predictions: Mapping[str, Predictions], plans: Mapping[str, _Plans], clip_len: float) -> dict:
    annotation = pick.annotation
    return {
        "qid": annotation.qid,
        "query": annotation.query,
        "kind": annotation.kind,
        "reason": pick.reason,
        "vid": annotation.vid,
        "duration": annotation.duration,
        "clip_len": clip_len,
        "windows": annotation.windows,
        "saliency": _true_saliency(annotation),
        "runs": {
            name: {
                "windows": [[round(v, 3) for v in w] for w in rows[annotation.qid]["pred_relevant_windows"][:WINDOWS]],
                "saliency": [round(value, 4) for value in rows[annotation.qid]["pred_saliency_scores"]],
                "iou": round(first_iou(rows[annotation.qid], annotation), 3),
                "plan": plans[name].get(annotation.qid),
            }
            for name, rows in predictions.items()
        },
    }


def _true_saliency(annotation: Annotation) -> dict[int, float]:
    """The annotators' mean by clip, 0..1; other clips are 0."""
    return {i: round(fmean(s) / MAX_SALIENCY, 3) for i, s in zip(annotation.clip_ids, annotation.saliency, strict=True)}


def _video(results: Results, vid: str) -> str | None:
    """A small copy of the video in base64; None where it is too long to embed."""
    if max(a.duration for a in results.annotations if a.vid == vid) > LONGEST:
        return None
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.mp4"
        transcode_for_web(results.videos[vid], small)
        return base64.b64encode(small.read_bytes()).decode("ascii")


def as_json(value: object) -> str:
    """JSON that can stand inside a script element. NaN is refused with a ValueError."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
