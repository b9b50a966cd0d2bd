"""The stages from pretraining to the report with every backbone that params.yaml may name, on real features."""

import math
import sys

import pytest
import yaml

from pipeline import paths
from pipeline.code import settings
from pipeline.params import check_params, parse_settings
from pipeline.stages import pretrain, report
from pipeline.stages.evaluate import evaluate, references
from pipeline.stages.train import train_run
from read.files import read_json, read_jsonl
from read.plugins import BACKBONES

pytestmark = pytest.mark.slow
STRATEGIES = ("read_pvla", "prompt")


@pytest.mark.parametrize("backbone", BACKBONES.names())
def test_every_backbone_from_pretraining_to_the_report(planning, backbone, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    for name in ("data", "models/encoders", "dvc.yaml"):
        (tmp_path / name).symlink_to(planning.folder / name)
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((planning.folder / "params.yaml").read_text())
    values["backbone"]["grounding"] = backbone
    strategies = ("read",) if backbone == "joint" else STRATEGIES  # no attention to prompt, no text side to align
    values |= {"task": ["grounding"], "strategies": {name: {} for name in strategies}}
    given = {
        stage: settings(stage, check_params(values), task="grounding") for stage in ("pretrain", "train", "evaluate")
    }

    monkeypatch.setattr(sys, "argv", ["stage", "grounding", "--settings", given["pretrain"]])
    pretrain.main()
    assert read_json(paths.backbone("grounding") / "pretrain.json")["backbone"] == backbone
    for strategy in strategies:
        train_run("grounding", strategy, 2, 0, parse_settings(given["train"]))
        evaluate("grounding", strategy, parse_settings(given["evaluate"]))
        result = paths.result("montage", "grounding", strategy, 2, 0)
        scores = read_json(result / "scores.json")
        assert scores["backbone"] == backbone and scores["trainable"] > 0
        assert all(math.isfinite(value) for value in scores["scores"].values())
        rows = read_jsonl(result / "predictions.jsonl")
        assert len(rows) == scores["n_samples"] and all(row["pred_relevant_windows"] for row in rows)
    references("grounding", parse_settings(given["evaluate"]))
    monkeypatch.setattr(sys, "argv", ["stage", "--settings", settings("report", check_params(values))])
    report.main()
    assert backbone in (tmp_path / "results/report/index.html").read_text(encoding="utf-8")
