"""A study whose scores are made up: cells with labels, splits and runs, for which nothing was trained."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.study.cells import Cell, cells_of
from pipeline.study.schema import ABLATIONS, TASK, Study, check_study
from read.files import write_json, write_jsonl, write_text

METRIC = "MR-full-mAP"
VIDEOS = 12
TINY = {
    "title": "A toy study",
    "metric": METRIC,
    "settings": {"montage": {"about": "Made up."}},
    "backbone_seeds": [0, 1, 2, 3],
    "shots": [4, 8],
    "seeds": [0, 1, 2],
    "strategies": {"lora": {}, "adapter": {}, "read": {}},
    "ablation_shots": [8],
    "ablation_seeds": [0, 1, 2],
    "ablations": {"cell": {"against": "read", "strategies": {"read_rnn": {"method": "read", "mixer": "rnn"}}}},
    "claims": [{"claim": "READ beats the adapter", "better": "read", "than": "adapter", "margin": 0.5}],
    "tried": [
        {"forms": 7, "what": "forms of a cell", "where": "seeds 0 to 9"},
        {"forms": 2, "what": "x", "where": "y"},
    ],
}
Level = Callable[[str, int, int, int], float | None]  # of (strategy, shots, backbone seed, seed); None: no such run


def study_of(**changes: Any) -> Study:
    """The toy study with other keys."""
    return check_study(deepcopy(TINY) | changes)


def make_scores(study: Study, folder: Path, level: Level, **about: Any) -> list[Cell]:
    """Write what all cells would have come to; `about` are fields of every run. Returns the cells."""
    cells = cells_of(study, folder, list(study.settings))
    for cell in cells:
        make_cell(cell, level, about)
    return cells


def make_cell(cell: Cell, level: Level, about: Mapping[str, Any]) -> None:
    """The same of one cell."""
    dataset = cell.params.dataset
    rows = [
        {"qid": v, "query": "a cat", "vid": f"v{v}", "duration": 20.0, "relevant_windows": [[2, 6]], "split": "test"}
        for v in range(VIDEOS)
    ]
    write_jsonl(cell.folder / paths.raw(dataset) / "annotations.jsonl", rows)
    write_json(cell.folder / paths.features(dataset) / "features.json", {"spec": {"seed": cell.backbone_seed}})
    write_json(
        cell.results / "references.json",
        {"random": {"scores": {METRIC: 3.0}}, "oracle": {"scores": {METRIC: 100.0}}},
    )
    runs = [(name, k, seed, level(name, k, cell.backbone_seed, seed)) for name, k, seed in cell.runs]
    for name, k, seed, value in [*runs, *([] if cell.part == ABLATIONS else [("zero_shot", 0, 0, 20.0)])]:
        if value is not None:
            make_run(cell, name, k, seed, value, about)
    for _, k, seed in cell.runs:
        write_json(cell.folder / paths.split_file(dataset, TASK, k, seed), {"train": [f"t{seed}"], "test": []})


def make_run(cell: Cell, name: str, shots: int, seed: int, value: float, about: Mapping[str, Any]) -> None:
    """scores.json and curve.csv of a run; videos differ in the same way in all runs, so pairs have no test error."""
    folder = cell.results / name / f"k{shots}-s{seed}"
    offsets = np.linspace(-5, 5, VIDEOS)
    trainable = 0 if name == "zero_shot" else 1000
    row = {"strategy": name, "shots": shots, "seed": seed, "backbone": "univtg", "trainable": trainable}
    row |= {"total": 10_000, "share": trainable / 10_000, "adapter_bytes": 4 * trainable, "steps": 10, "best_step": 5}
    row |= {"n_samples": VIDEOS, "n_videos": VIDEOS, "features": {"seed": cell.backbone_seed}}
    row |= {"scores": {METRIC: value}, "by_kind": {"move": {METRIC: value + 1}, "order": {METRIC: value - 1}}}
    row["by_video"] = [
        {"vid": f"v{v}", "samples": 1, "scores": {METRIC: value + offset}} for v, offset in enumerate(offsets)
    ]
    write_json(folder / "scores.json", row | (dict(about) if trainable else {}))
    points = "".join(f"{step},{1 / (step + 1)},{value - 10 + step}\n" for step in (0, 5, 10))
    write_text(folder / "curve.csv", f"step,loss,val_score\n{points}")
