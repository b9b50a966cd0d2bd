"""Stages from the split to the evaluation on small invented datasets, task by task."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from pipeline import paths
from pipeline.code import settings
from pipeline.params import check_params, load_params, parse_settings
from pipeline.stages import evaluate, pretrain, split, train
from pipeline.tasks import work_on
from read.adapters import get_strategy
from read.backbones.tokenizer import train_tokenizer
from read.data import write_shard
from read.errors import InputError
from read.files import read_json, read_jsonl, write_jsonl

SPEC = {"fps": 8.0, "clip_len": 2.0, "encoders": {}}
THINGS = ("cat", "dog", "owl", "fox")
ROOT = Path(__file__).parents[2]
ROOT_PARAMS = load_params(ROOT / "params.yaml").model_dump(mode="json")
TASK = "summarization"
FAST = {"steps": 2, "learning_rates": [0.001, 0.01], "evaluations": 1, "budget": None}


def text_model(kind: str, folder) -> str:
    """A model of transformers with its tokenizer, saved as a person would."""
    tokenizer = train_tokenizer([f"the {thing} sleeps and we see nothing else" for thing in THINGS], 300)
    torch.manual_seed(0)
    if kind == "bart":
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 16}
        config = BartConfig(vocab_size=len(tokenizer), d_model=16, **sizes, **heads)
        model = BartForConditionalGeneration(config)
    else:
        config = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 1, 2
        model = T5ForConditionalGeneration(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """Two datasets of twelve videos, with summaries only; a function that gives a stage its settings."""
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for dataset in ("mine", "there"):
        rows, arrays = [], {}
        for number in range(12):
            thing, vid = THINGS[number % 4], f"{dataset}{number}"
            said = "" if number == 3 else f"we see nothing of the {thing}" + " at all" * 30 * (number == 4)
            rows.append({"vid": vid, "transcript": said, "summary": f"the {thing} sleeps"})
            arrays[f"clip/{vid}"] = rng.normal(size=(3 + number, 64)).astype(np.float32)
        write_jsonl(f"data/raw/{dataset}/summaries.jsonl", rows)
        write_jsonl(f"data/raw/{dataset}/annotations.jsonl", [])
        write_jsonl(f"data/transcripts/{dataset}/transcripts.jsonl", [])
        write_shard(f"data/features/{dataset}", "000", arrays, SPEC)
    values = ROOT_PARAMS | {"dataset": "mine", "source": "there", "task": [TASK]}
    values["runs"] = {"shots": [3], "seeds": [0]}
    values["strategies"] = {"read": {}, "read_pvla": {"bottleneck": 4}}
    small = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "steps": 3, "vocabulary": 300}
    values["pretrain"] = values["pretrain"] | {TASK: values["pretrain"][TASK] | small}
    values["train"] = values["train"] | {TASK: values["train"][TASK] | FAST}

    def run(stage, backbone="small_bart", **changes):
        values["backbone"] = values["backbone"] | {TASK: backbone}
        given = settings(stage, check_params(values | changes), task=TASK)
        if stage in ("split", "pretrain"):
            monkeypatch.setattr(sys, "argv", [stage, TASK, "--settings", given])
            {"split": split, "pretrain": pretrain}[stage].main()
        return parse_settings(given)

    return run


@pytest.mark.parametrize("backbone", ["small_bart", "bart", "t5"])
def test_summarization_from_split_to_scores(stages, tmp_path, backbone, capsys):
    """With the small model, or with any model and tokenizer of transformers in a folder."""
    if backbone != "small_bart":
        backbone = text_model(backbone, tmp_path / backbone)
    stages("split")
    stages("pretrain", backbone)
    folder = paths.backbone(TASK)
    assert read_json(folder / "pretrain.json")["backbone"] == backbone
    assert {path.name for path in (folder / "tokenizer").iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    for strategy in ("read", "read_pvla"):
        train.train_run(TASK, strategy, 3, 0, stages("train"))
        evaluate.evaluate(TASK, strategy, stages("evaluate"))
        record = read_json(paths.adapter("mine", TASK, strategy, 3, 0) / "run.json")
        assert (record["alignment"] is None) == (record["alignment_cosine"] is None) == (strategy == "read")
        if strategy == "read_pvla":
            curve = list(csv.DictReader((paths.adapter("mine", TASK, strategy, 3, 0) / "curve.csv").open()))
            assert all(abs(value) <= 1 for value in record["alignment_cosine"].values())
            assert all(abs(float(curve[-1][f"{name}_cosine"])) <= 1 for name in ("own", "other"))
        assert record["features"] == SPEC
    evaluate.references(TASK, stages("evaluate"))

    test = set(read_json(paths.split_file("mine", TASK, 3, 0))["test"])
    for run in ("read/k3-s0", "read_pvla/k3-s0", "zero_shot/k0-s0"):
        result = paths.results("mine", TASK) / run
        assert {row["vid"] for row in read_jsonl(result / "predictions.jsonl")} == test
        scores = read_json(result / "scores.json")
        assert scores.get("predict", {"beams": 5}) == {"beams": 5}
        assert scores["n_samples"] == scores["n_videos"] == len(test)
        assert 0 <= scores["scores"]["ROUGE-L-whitespace"] <= 100
        for vid, note in read_json(result / "attention.json").items():
            with safe_open(result / "attention.safetensors", framework="numpy") as file:
                attention = file.get_tensor(vid)
            assert attention.shape == (len(note["words"]), 3 + int(vid.removeprefix("mine")))
            np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)
    levels = read_json(paths.results("mine", TASK) / "references.json")
    assert set(levels) == {"shuffled", "lead"}
    if Path(backbone).name == "bart":  # it has 16 positions
        assert "1 of 12 transcript texts were too long" in capsys.readouterr().out


@pytest.mark.parametrize(("protocol", "folds"), [("honest", 3), ("paper", 0)])
def test_what_a_run_records_of_its_terms(stages, protocol, folds):
    """Of 3 videos that train and 1 that validates; each strategy as large as its neighbours, at the same places."""
    places, budget = ["attention", "feed_forward"], 900
    stages("split", protocol=protocol)
    stages("pretrain")
    terms = {"folds": 3, "places": places, "budget": budget, "learning_rates": [0.001, 0.01, 0.1]}
    changes = {"train": ROOT_PARAMS["train"] | {TASK: ROOT_PARAMS["train"][TASK] | FAST | terms}}
    changes["strategies"] = {
        "read": {}, "lora": {}, "narrow": {"method": "read", "bottleneck": 1, "after": ["feed_forward"]}, "full": {},
    }  # fmt: skip
    for strategy in changes["strategies"]:
        train.train_run(TASK, strategy, 3, 0, stages("train", **changes))
        folder = paths.adapter("mine", TASK, strategy, 3, 0)
        record, curve = read_json(folder / "run.json"), list(csv.DictReader((folder / "curve.csv").open()))
        assert record["folds"] == folds and record["train_videos"] == 3
        assert record["untuned"] == (record["best_step"] == 0) == (record["gain"] <= (folds and record["gain_se"]))
        assert [row["step"] for row in curve] == ["0", "2"] and curve[1]["loss"]
        gain = float(curve[1]["val_score"]) - float(curve[0]["val_score"])
        assert record["gain"] == pytest.approx(max(gain, 0.0), abs=1e-4)
        assert record["budget"] == (budget if strategy in ("read", "lora") else None)
        scale = get_strategy("full").rate_scale if strategy == "full" else 1.0
        rates = [trial["learning_rate"] for trial in record["grid"]]
        assert rates == pytest.approx([0.001 * scale, 0.01 * scale, 0.1 * scale])
        assert record["learning_rate"] in rates
        assert record["at_edge"] == (not record["untuned"] and record["learning_rate"] != rates[1])
        assert not (record["still_rising"] and record["untuned"])
        if strategy in ("read", "lora"):
            size = {"read": "bottleneck", "lora": "rank"}[strategy]
            assert [*record["size"]] == [size] and abs(record["trainable"] - budget) < 0.3 * budget
            assert record["places"] == places
        if strategy == "narrow":
            assert record["size"] == {"bottleneck": 1} and record["places"] == ["feed_forward"]
        if strategy == "full":
            assert record["size"] is None and {*places, "other"} <= {*record["places"]}
            assert "heads" not in record["places"]


def test_no_training_where_no_step_is_asked_for(stages, tmp_path):
    """A public model whose guide nobody trained writes what the text model alone would write."""
    name = text_model("bart", tmp_path / "bart")
    public = BartForConditionalGeneration.from_pretrained(name)
    stages("pretrain", name, pretrain=ROOT_PARAMS["pretrain"] | {TASK: ROOT_PARAMS["pretrain"][TASK] | {"steps": 0}})
    model = work_on(TASK, stages("evaluate")).backbone()
    for key, value in public.state_dict().items():
        assert torch.equal(model.seq2seq.state_dict()[key], value)
    assert [row["step"] for row in csv.DictReader((paths.backbone(TASK) / "curve.csv").open())] == ["0"]


@pytest.mark.parametrize(
    ("backbone", "message"),
    [("no/such", "no/such: no"), ("small_brat", "small_brat: no")],
)
def test_a_model_that_is_not_there(stages, backbone, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=message):
        stages("pretrain", backbone)


def test_a_dataset_without_summaries_says_so(stages):
    write_jsonl("data/raw/there/summaries.jsonl", [])
    with pytest.raises(InputError, match="there: its card names nothing that is labelled for summarization"):
        stages("pretrain")
