"""The stages from pretraining to the report with every backbone that params.yaml may name, on real features."""

import json
import math
import sys

import pytest
import yaml

from pipeline import paths, pretrain, report
from pipeline.backbones import known_backbones
from pipeline.evaluate import evaluate_run, references
from pipeline.params import parse_settings
from pipeline.train import train_run
from read.files import read_json, read_jsonl

pytestmark = pytest.mark.slow
STRATEGIES = ("read_pvla", "prompt")


@pytest.mark.parametrize("backbone", known_backbones())
def test_every_backbone_from_pretraining_to_the_report(planning, backbone, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    for name in ("data", "models/encoders"):
        (tmp_path / name).symlink_to(planning.folder / name)
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((planning.folder / "params.yaml").read_text())
    values |= {"backbone": backbone, "strategies": {name: {} for name in STRATEGIES}}
    text = json.dumps(values)
    settings = parse_settings(text)
    monkeypatch.setattr(sys, "argv", ["stage", "--settings", text])

    pretrain.main()
    assert read_json(paths.BACKBONE / "pretrain.json")["backbone"] == backbone
    for strategy in STRATEGIES:
        train_run(strategy, 2, 0, settings)
        evaluate_run(strategy, 2, 0, settings)
        scores = read_json(paths.result("montage", strategy, 2, 0) / "scores.json")
        assert scores["backbone"] == backbone and scores["trainable"] > 0
        assert all(math.isfinite(value) for value in scores["scores"].values())
        rows = read_jsonl(paths.result("montage", strategy, 2, 0) / "predictions.jsonl")
        assert len(rows) == scores["n_queries"] and all(row["pred_relevant_windows"] for row in rows)
    references(paths.split_file("montage", 2, 0), settings)
    report.main()
    assert backbone in (tmp_path / "results/report/index.html").read_text(encoding="utf-8")
