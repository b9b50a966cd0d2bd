"""The pretrain stage with every backbone: built from params.yaml, or loaded from a public checkpoint."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline import paths
from pipeline.code import settings
from pipeline.params import check_params, load_params
from pipeline.stages import pretrain
from pipeline.tasks.grounding import build, load_public
from read.backbones import backbone_names, build_backbone, load_backbone
from read.data import collate, write_shard
from read.errors import InputError
from read.files import read_json, write_json, write_jsonl
from read.grounding.choice import PRIORS
from read.grounding.ridge import MapSums, solve
from read.weights import load_tensors

DIMS = (6, 5)
SUMS = "joint.safetensors"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Twelve videos of random features, half of which move with the query; a function that pretrains on them."""
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    rng, rows, video, text = np.random.default_rng(0), [], {}, {}
    for number in range(12):
        video[f"clip/v{number}"] = rng.normal(size=(8, 6)).astype(np.float32)
        text[f"tokens/{number}"] = rng.normal(size=(3, 5)).astype(np.float32)
        start = 2.0 * int(rng.integers(0, 6))
        rows.append({"qid": number, "query": f"thing {number}", "vid": f"v{number}", "duration": 16.0,
                     "relevant_windows": [[start, start + 4]], "kind": "order",
                     "distractors": [[12, 16]] if start < 8 else [[0, 4]]})  # fmt: skip
    write_jsonl("data/raw/there/annotations.jsonl", rows)
    write_json("data/raw/there/dataset.json", {"metric": "qvhighlights", "videos": "local"})
    spec = {"fps": 8.0, "clip_len": 2.0, "encoders": {}}
    write_shard("data/features/there", "000", video, spec)
    write_shard("data/features/there", "text", text, spec)
    values = load_params(ROOT / "params.yaml").model_dump(mode="json") | {"source": "there", "task": ["grounding"]}
    small = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "steps": 3}

    def run(backbone="univtg", windows="auto", joint=False, dataset="montage"):
        if joint:
            for number, row in enumerate(rows):
                (start, end), sentence = row["relevant_windows"][0], text[f"tokens/{number}"].mean(0)
                video[f"clip/v{number}"][int(start / 2) : int(end / 2), :5] += 3 * sentence
                text[f"sentence/{number}"] = np.append(sentence, 0.0).astype(np.float32)
            for shard, arrays in (("000", video), ("text", text)):
                write_shard("data/features/there", shard, arrays, spec | {"joint": "clip"})
        values["dataset"] = dataset
        if dataset == "there":
            values["encoders"] = {"clip": {"model": "ViT-B-32", "pretrained": "openai"}}
        values["backbone"]["grounding"], values["evaluate"]["grounding"]["windows"] = backbone, windows
        values["pretrain"]["grounding"] |= small
        params = check_params(values)
        given = ["--settings", settings("pretrain", params, task="grounding"), *["--own-source"] * params.own_source]
        monkeypatch.setattr(sys, "argv", ["pretrain", "grounding", *given])
        pretrain.main()
        return read_json(paths.backbone("grounding") / "pretrain.json")

    return run


@pytest.mark.slow
def test_two_processes_pretrain_as_one_does(source):
    alone, state = source(), load_tensors(paths.backbone("grounding") / "model.safetensors")
    command = [sys.executable, "-m", "pipeline.stages.pretrain", *sys.argv[1:]]
    told = {"READ_MACHINE": json.dumps({"device": "cpu", "processes": 2}), "PYTHONPATH": str(ROOT)}
    made = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, timeout=240, check=False)
    assert made.returncode == 0 and made.stderr == "", made.stderr
    assert made.stdout.count("windows are read off by") == made.stdout.count("'step': 3") == 1, (
        "the first process tells"
    )
    both = read_json(paths.backbone("grounding") / "pretrain.json")
    assert both["score"] == pytest.approx(alone["score"], abs=1e-6) and both["best_step"] == alone["best_step"]
    torch.testing.assert_close(
        load_tensors(paths.backbone("grounding") / "model.safetensors"), state, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("backbone", ["univtg", "qd_detr"])
def test_how_windows_are_read_is_chosen_on_the_sources_validation_side(source, backbone, capsys):
    told = source(backbone)["windows"]
    assert set(told["scores"]) == ({"ladder", "runs", "spans"} if backbone == "univtg" else {"spans"})
    assert told["scores"][told["chosen"]]["0"] == max(of["0"] for of in told["scores"].values())
    assert load_backbone(paths.backbone("grounding")).config.windows == told["chosen"]
    assert f"windows are read off by {told['chosen']}, prior 0; on" in capsys.readouterr().out


def test_what_the_backbone_tells_apart_is_on_record(source):
    told = source()["discrimination"]
    assert told.keys() == {"source_train", "source_val"}
    assert all(of.keys() == {"order"} and 0 <= of["order"] <= 100 for of in told.values())
    assert round(told["source_val"]["order"], 6) in (0, 50, 100), "of two videos with a pair each"


def test_a_joint_space_is_weighed_beside_the_model_and_its_sums_are_kept(source):
    """Clips and sentences are the same directions here, so that the joint space knows more than three steps teach."""
    told = source("univtg", joint=True)["windows"]
    model, sums = load_backbone(paths.backbone("grounding")), MapSums.load(paths.backbone("grounding") / SUMS)
    assert told["prior"] == model.config.prior > 0 and model.prior.map.weight.any()
    assert {*told["scores"]["ladder"]} == {f"{weight:g}" for weight in PRIORS}
    assert sums.count.tolist() == [24, 96, 12]  # two clips of each moment, eight of each video, a sentence each
    wanted = solve(sums).weight.float()
    torch.testing.assert_close(model.prior.map.weight.detach(), wanted, atol=1e-5, rtol=1e-5)


def test_the_joint_backbone_is_fitted_and_takes_no_step(source):
    told = source("joint", joint=True)
    model = load_backbone(paths.backbone("grounding"))
    assert told["best_step"] == 0 and told["features"]["joint"] == "clip"
    assert model.space.map.weight.any() and model.config.windows in ("ladder", "runs")


def test_of_the_dataset_itself_nothing_is_looked_at(source):
    """Its test videos are among those of the source."""
    told = source("joint", joint=True, dataset="there")
    model = load_backbone(paths.backbone("grounding"))
    assert not told.keys() & {"windows", "discrimination"} and model.config.windows == "auto"
    assert not any(parameter.any() for parameter in model.parameters())


def test_of_the_dataset_itself_nothing_is_learned_either(source, monkeypatch):
    """Params that say so are refused before; this is a job that was given what they would have been."""
    source("joint", joint=True, dataset="there")
    place = sys.argv.index("--settings") + 1
    given = json.dumps(json.loads(sys.argv[place]) | {"backbone.grounding": "univtg"})
    monkeypatch.setattr(sys, "argv", [*sys.argv[:place], given, *sys.argv[place + 1 :]])
    with pytest.raises(InputError, match="pretraining would see the test videos"):
        pretrain.main()


def test_the_joint_backbone_needs_a_joint_space(source):
    with pytest.raises(InputError, match="no joint space"):
        source("joint")


def test_what_looks_wrong_on_the_sources_validation_side_is_told(source, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.tasks.grounding.warnings_of", lambda rows, labels: [f"{len(rows)} of {len(labels)}"])
    assert source()["warnings"] == ["2 of 2"]
    assert "warning: 2 of 2\n" in capsys.readouterr().out


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "tef": False}
    model = build_backbone("univtg", video_dim=6, text_dim=5, **sizes)
    torch.save({"model": model.state_dict(), "opt": {"nheads": 2, "ctx_mode": "video"}}, tmp_path / "public.ckpt")
    return model, str(tmp_path / "public.ckpt")


def test_the_named_checkpoint_is_what_is_adapted(checkpoint):
    model, path = checkpoint
    loaded = load_public("univtg", path, DIMS, {"max_clips": 40})
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    assert loaded.config.max_clips == 40


def test_features_of_other_widths_are_refused(checkpoint):
    with pytest.raises(InputError, match=r"widths \(6, 5\), but those extracted have \(7, 5\)"):
        load_public("univtg", checkpoint[1], (7, 5), {})


def test_a_backbone_that_can_listen_does_where_something_was_heard(tmp_path, capsys):
    wanted, heard = load_params().pretrain.grounding, {"sound_start": 2, "sound_dim": 3}
    for name, listens in (("umt", 3), ("qd_detr", 3), ("univtg", 0)):
        config = build(name, wanted, (8, 5), heard).config
        assert (config.listens, config.video_dim, config.seen_dim) == (listens, 8, 8 - listens)
        assert build(name, wanted, (8, 5), {}).config.listens == 0
    torch.save({"state_dict": build("umt", wanted, (8, 5), heard).state_dict()}, tmp_path / "umt.pth")
    settings = {"heads": wanted.heads}
    assert load_public("umt", tmp_path / "umt.pth", (8, 5), heard | settings).config.sound_dim == 3
    assert "silence" not in capsys.readouterr().out
    assert load_public("umt", tmp_path / "umt.pth", (5, 5), settings).config.sound_dim == 0
    assert "umt.pth: listens, but no encoder hears; it is given silence" in capsys.readouterr().out


@pytest.mark.parametrize("backbone", sorted({*backbone_names()} - {"joint"}))
def test_every_transformer_is_built_from_the_same_keys(backbone):
    wanted = load_params().pretrain.grounding
    model = build(backbone, wanted, DIMS, {"joint_start": 1, "joint_dim": 2})
    config = model.config
    for name in ("hidden", "layers", "heads", "feed_forward", "dropout", "max_clips"):
        assert getattr(config, name) == getattr(wanted, name)
    assert (config.video_dim, config.text_dim, config.input_dropout) == (*DIMS, wanted.dropout)
    assert (config.joint_start, config.joint_dim, config.prior) == (1, 2, 0)
    assert getattr(config, "drop_path", wanted.dropout) == wanted.dropout
    assert getattr(config, "listwise", 5.0) == wanted.listwise == 5.0
    assert not getattr(config, "tef", False)


def test_a_source_that_names_its_validation_side_is_not_divided_by_chance():
    """The videos of a stitched source show the same clips again and again, but for those of its side val."""
    samples = [SimpleNamespace(vid=f"{side}_{number}") for side in ("train", "val") for number in range(6)]
    train, val = pretrain.divide(samples, 0.5, 0, {"val_1", "val_2", "elsewhere"})
    assert {sample.vid for sample in val} == {"val_1", "val_2"} and len(train) == 10
    assert [len(part) for part in pretrain.divide(samples, 0.25, 0, {"elsewhere"})] == [9, 3]


def test_longer_videos_are_read_in_pieces_as_long_as_the_sources_longest(source, monkeypatch):
    seen = []
    monkeypatch.setattr("read.data.joined.Joiner.__call__", lambda self, batch: seen.append(vars(self)) or batch)
    source()
    assert load_backbone(paths.backbone("grounding")).config.max_clips == 8
    assert len(seen) == 3 and (seen[0]["longest"], seen[0]["share"], seen[0]["begin"]) == (8, 0.4, 1)


def test_a_montage_is_stitched_anew_while_it_is_learned(source, monkeypatch):
    """Its restitcher gets what is trained on, and its samples take the place of those that the joiner leaves alone."""
    asked, trained = [], []

    def restitcher(samples, folder, steps):
        asked.append((len({sample.vid for sample in samples}), folder, steps))
        return lambda count: [
            replace(sample, question=replace(sample.question, vid="new")) for sample in samples[:count]
        ]

    plugins = SimpleNamespace(names=lambda: ["montage"], load=lambda name: restitcher)
    monkeypatch.setattr("pipeline.tasks.grounding.RESTITCHERS", plugins)
    monkeypatch.setattr("read.data.joined.Joiner.__call__", lambda self, batch: batch)
    monkeypatch.setattr(
        "read.grounding.task.collate", lambda batch: trained.extend(s.vid for s in batch) or collate(batch)
    )
    write_json("data/raw/there/dataset.json", {"metric": "qvhighlights", "videos": "montage"})
    source()
    assert asked == [(10, Path("data/raw/there"), 3)]
    assert trained == ["new"] * 30, "three steps of ten"
