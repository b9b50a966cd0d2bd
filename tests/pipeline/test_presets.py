"""Presets: whole files of params, to be copied over params.yaml; with one, both engines plan a person's own videos."""

import shutil
from pathlib import Path

import pytest
import yaml

from benchmarks.tiny import ROOT
from pipeline.params import check_params, load_params
from read.files import write_jsonl

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
CHOICES = {
    "real": {
        "task", "dataset", "source", "backbone.grounding", "encoders.slowfast.pretrained", "encoders.clip.model",
        "encoders.clip.pretrained", "extract.fps", "runs.shots",
        *(f"train.{task}.learning_rates" for task in ("grounding", "summarization")),
        "train.grounding.evaluations", "train.summarization.steps",
        "strategies.read_pvla", "strategies.full",
        *(f"pretrain.grounding.{key}" for key in ("dropout", "listwise", "steps", "learning_rate")),
    },
}  # fmt: skip


def flat(values: dict, prefix: str = "") -> dict:
    """Leaves by their dotted names; an empty mapping is one."""
    leaves = {}
    for key, value in values.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return leaves


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_valid_and_differs_only_where_it_means_to(path: Path):
    load_params(path)
    ours, theirs = (flat(yaml.safe_load(file.read_text())) for file in (ROOT / "params.yaml", path))
    assert {key for key in ours | theirs if ours.get(key) != theirs.get(key)} == CHOICES[path.stem]


def test_weights_may_be_files_brought_by_hand():
    values = yaml.safe_load((ROOT / "presets/real.yaml").read_text())
    values["encoders"]["slowfast"]["pretrained"] = "weights/slowfast.pyth"
    values["encoders"]["clip"]["pretrained"] = "weights/clip.safetensors"
    check_params(values)


@pytest.mark.slow
def test_own_videos_are_planned_by_both_engines(fresh_project):
    card = fresh_project.folder / "data/catalog/footage"
    card.mkdir(parents=True)
    about = {"title": "Mine", "licence": "my own", "annotations": "annotations.jsonl"}
    (card / "card.yaml").write_text(yaml.safe_dump(about | {"videos": {"source": "local", "folder": "videos"}}))
    row = {"query": "a dog jumps", "vid": "walk", "duration": 9.0, "relevant_windows": [[2, 5]]}
    write_jsonl(card / "annotations.jsonl", [row | {"qid": 1}])
    shutil.copyfile(ROOT / "presets/real.yaml", fresh_project.folder / "params.yaml")
    jobs = fresh_project.planned_jobs()
    assert {name: jobs[name] for name in ("encoder", "annotations", "train_run", "evaluate_runs")} == {
        "encoder": 2, "annotations": 1, "train_run": 12, "evaluate_runs": 4,
    }  # fmt: skip
    stages = fresh_project.dvc("stage", "list", "--name-only").split()
    assert {"download@footage", "extract@footage", "split@grounding", "train@grounding"} <= set(stages)
