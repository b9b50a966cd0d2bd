"""Grounding on the page: its words, its columns, and queries with the windows that were predicted for them."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.reporting.inputs import Results
from pipeline.reporting.showcase import AttentionMaps, make_showcase
from pipeline.reporting.task import ReportedTask
from read.data.annotations import MAX_SALIENCY, Annotation, load_annotations
from read.data.lengths import Length

WINDOWS = 5  # predicted windows shown per strategy, the best first


def load(raw: Path, clip_len: float, lengths: Mapping[str, Length], heard: Path | None) -> list[Annotation]:
    """The queries of a dataset."""
    return load_annotations(raw / "annotations.jsonl", clip_len, lengths)


def showcase(results: Results) -> dict[str, Any]:
    """Queries with windows, saliency and transport plan by strategy; see `make_showcase`."""
    return make_showcase(results, "qid", first_iou, example)


def first_iou(prediction: Mapping[str, Any], annotation: Annotation) -> float:
    """IoU of the first predicted window with the best true one; 0 without a prediction."""
    if not prediction["pred_relevant_windows"]:
        return 0.0
    start, end, *_ = prediction["pred_relevant_windows"][0]

    def iou(window: tuple[float, float]) -> float:
        shared = max(0.0, min(end, window[1]) - max(start, window[0]))
        return shared / max(end - start + window[1] - window[0] - shared, 1e-9)

    return max(map(iou, annotation.windows))


def example(annotation: Annotation, rows: Mapping[str, dict], attention: Mapping[str, AttentionMaps]) -> dict[str, Any]:
    """What the player shows of a query."""
    return {
        "qid": annotation.qid,
        "title": annotation.query,
        "duration": annotation.duration,
        "windows": annotation.windows,
        "saliency": _true_saliency(annotation),
        "runs": {
            name: {
                "windows": [[round(v, 3) for v in window] for window in row["pred_relevant_windows"][:WINDOWS]],
                "saliency": [round(value, 4) for value in row["pred_saliency_scores"]],
                "iou": round(first_iou(row, annotation), 3),
                "plan": _plan(attention[name], annotation.qid),
            }
            for name, row in rows.items()
        },
    }


def _true_saliency(annotation: Annotation) -> dict[int, float]:
    """The annotators' mean by clip, 0..1; other clips are 0."""
    return {i: round(fmean(s) / MAX_SALIENCY, 3) for i, s in zip(annotation.clip_ids, annotation.saliency, strict=True)}


def _plan(attention: AttentionMaps, qid: int | str) -> dict | None:
    """Words, mass and the (clips, words) transport plan of a query; None where the strategy does not align."""
    if (found := attention.get(qid, words=1)) is None:
        return None
    note, plan = found
    values = [[round(float(value), 6) for value in row] for row in plan]
    return {"words": note["words"], "mass": round(float(plan.sum()), 4), "values": values}


GROUNDING = ReportedTask(
    name="grounding",
    title="Temporal grounding",
    about="Given a sentence, the model finds the moments of a video that it describes, and how salient each clip is.",
    samples="queries",
    sample="query",
    columns=(
        *("MR-full-mAP", "MR-full-R1@0.5", "MR-full-R1@0.7", "HL-clip-AP", "HL-min-VeryGood-mAP"),
        *("R1@0.5", "R1@0.7", "R5@0.5", "R5@0.7", "mIoU"),
    ),
    notes={
        "HL-mAP": "mean average precision of ranking a video’s clips by saliency, and the mean over domains",
        "HL-top5-mAP": "the same of the five best clips, for each annotator, and the mean over domains",
        "HL-clip-AP": "average precision of ranking a video’s clips by saliency, the relevant clips being positive",
        "MR-full-mAP": "mean average precision of the predicted windows, over IoU thresholds .5 to .95",
        "MR-full-R1@0.5": "share of queries whose first window overlaps a true one with IoU of at least .5",
        "MR-full-R1@0.7": "the same with IoU of at least .7",
        "HL-min-VeryGood-mAP": "mean average precision of ranking clips, positives being those rated Very Good",
        "R1@0.5": "share of queries whose first window overlaps the true one with IoU of at least .5",
        "R1@0.7": "the same with IoU of at least .7",
        "R5@0.5": "share of queries of whose first five windows one overlaps the true one with IoU of at least .5",
        "R5@0.7": "the same with IoU of at least .7",
        "mIoU": "mean IoU of the first window with the true one",
    },
    below={"random": "a random ranking: the lower end of the scale"},
    above={
        "subject_only": "true moments and their look-alikes (windows that the labels name as distractors) alike, read "
        "off as a model’s scores are: what is reached by knowing what is asked for, and nothing of which moment",
        "perfect_clips": "the true moments’ clips at 1 and all others at 0, read off as a model’s scores are: how far "
        "windows of whole clips can come",
        "oracle": "the ground truth itself scored as a prediction: the upper end of the scale",
    },
    plain={
        "cosine": "each clip by the cosine of its picture with the sentence, as the encoder gives them",
        "shots": "that cosine for each shot between cuts that were found: what the cuts of stitched videos give away",
        "map": "that cosine after a linear map of the features, fitted in closed form to the source’s moments and to "
        "the labelled videos",
    },
    load=load,
    showcase=showcase,
    counted=("MR-full-R1@0.5", "MR-full-R1@0.7", "R1@0.5", "R1@0.7", "R5@0.5", "R5@0.7"),
)
