"""Bundles: what is packed, what is refused, and what a changed file does."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from read.adapters import apply_strategy, save_adapter
from read.backbones import build_backbone
from read.bundle import Bundle, export
from read.bundle.card import intervals
from read.bundle.fetch import fetch, public_source
from read.bundle.shapes import check_adapter
from read.bundle.vocabulary import unknown_words, words_of
from read.encoders.kinds.clip import new_tiny_clip
from read.errors import InputError
from read.files import read_json, sha256_of, write_json
from read.predictor import Predictor
from tests.bundles import PREDICT, RUNS, folder_of

pytest_plugins = ["tests.packed"]


@pytest.fixture
def copy(packed, tmp_path):
    """A bundle to be damaged."""
    return shutil.copytree(packed, tmp_path / "copy")


@pytest.fixture
def own(workspace, tmp_path):
    """A workspace to be damaged."""
    return shutil.copytree(workspace, tmp_path / "own")


def edit(folder, change):
    config = read_json(folder / "config.json")
    change(config)
    write_json(folder / "config.json", config)


def test_the_layout_is_the_hubs_and_holds_weights_and_json_only(packed):
    files = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    assert {"README.md", "config.json", "grounding/model.safetensors", "encoders/clip/model.safetensors"} <= files
    assert "summarization/tokenizer/tokenizer.json" in files
    assert all(name.endswith((".safetensors", ".json")) for name in files - {"README.md"})
    bundle = Bundle.open(packed)
    assert bundle.config["files"].keys() == files - {"README.md", "config.json"}
    assert all(sha256_of(packed / name) == digest for name, digest in bundle.config["files"].items())
    assert bundle.tasks == ["grounding", "summarization"]
    assert bundle.names == ["read_k2_s0", "read_k2_s1", "adapter", "full", "bias", "read"]
    assert bundle.adapters("grounding")["read_k2_s0"] == {"threshold": 0.45, "predict": PREDICT["grounding"]}


def test_the_card_tells_data_splits_seeds_scores_and_licences(packed):
    text = (packed / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    front = yaml.safe_load(head)
    assert front["license"] == "other" and front["library_name"] == "read-adapters"
    assert {"moment-retrieval", "video-summarization"} <= set(front["tags"])
    assert front["model-index"][0]["results"][0]["dataset"] == {"type": "toy", "name": "Toys"}
    for told in ("CC0-1.0", "| rule | drawn |", "| test | 3 |", "| learning_rate | 0.001 |", "toy_source", "2 seeds"):
        assert told in body
    card = Bundle.open(packed).config["card"]["tasks"]["grounding"]["adapters"]["read_k2_s0"]
    assert card["seeds"]["MR-full-mAP"]["mean"] == pytest.approx(30.5)
    assert card["split"] == {"rule": "drawn", "seed": 0, "shots": 2, "train": 2, "val": 1, "test": 3}


def test_the_card_is_one_that_the_hub_reads(packed):
    card = pytest.importorskip("huggingface_hub").ModelCard.load(packed / "README.md")
    assert card.data.eval_results[0].metric_value == 30.0


def test_an_interval_is_students(packed):
    found = intervals([{"a": 1.0}, {"a": 2.0}, {"a": 3.0}])["a"]
    assert found["mean"] == 2 and found["high"] == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    assert intervals([{"a": 1.0}]) == {}


def test_one_run_is_named_by_its_strategy_and_an_export_is_reproducible(workspace, tmp_path):
    runs = [folder_of(workspace, "read/k2-s0")]
    first, second = export(runs, tmp_path / "a" / "one"), export(runs, tmp_path / "b" / "one", licence="mit")
    assert first.names == ["read"] and first.tasks == ["grounding"]
    assert first.config["files"] == second.config["files"]
    assert "license: mit" in (tmp_path / "b/one/README.md").read_text()
    third = export(runs, tmp_path / "a" / "one")  # replaces it
    assert third.config == first.config and not list(tmp_path.glob("a/.*"))


@pytest.mark.parametrize("name", ["grounding/model.safetensors", "summarization/tokenizer/tokenizer.json"])
def test_a_changed_file_is_named(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: is damaged or was changed"):
        Bundle.open(copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"{name}: is missing"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["grounding/model.bin", "extra.json", "encoders/clip/model.pt", "grounding/run.py"])
def test_a_file_that_is_not_listed_is_refused(copy, name):
    (copy / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"{name} is not among the files"):
        Bundle.open(copy)


def test_what_git_and_the_hub_leave_is_no_part_of_it(copy):
    (copy / ".git").mkdir()
    for name in (".gitattributes", ".git/HEAD", "LICENSE"):
        (copy / name).write_text("x")
    (copy / "README.md").write_text("edited")
    assert Bundle.open(copy).tasks


@pytest.mark.parametrize(
    "name", ["../outside.json", "/etc/passwd", "grounding/../../x.json", "grounding/model.bin", "grounding\\model.json"]
)
def test_a_listed_path_that_is_no_bundles_is_refused(copy, name):
    (copy.parent / "outside.json").write_text("{}")
    edit(copy, lambda config: config["files"].update({name: "0" * 64}))
    with pytest.raises(InputError, match="is no file of a bundle"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["../../../x", "a/b", "", "a\n", "9"])
def test_an_adapters_name_cannot_lead_elsewhere(copy, name):
    edit(copy, lambda config: config["tasks"]["grounding"]["adapters"].update({name: {"threshold": None}}))
    with pytest.raises(InputError, match="is no name of an adapter"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(format="other"), "read-bundle"),
        (lambda config: config.update(version=2), "version 2"),
        (lambda config: config.pop("features"), "features is missing"),
        (lambda config: config.update(tasks={}), "tasks: none"),
        (lambda config: config["tasks"].update(juggling={}), "juggling"),
        (lambda config: config["tasks"]["grounding"].update(adapters={}), "one adapter at least"),
        (lambda config: config["files"].pop("grounding/adapters/full/adapter.json"), "lacks grounding/adapters/full"),
        (
            lambda config: config["tasks"]["grounding"]["adapters"]["full"].update(predict={"nmss": 1}),
            '"nmss" is no setting',
        ),
    ],
)
def test_a_config_that_is_no_good_is_told(copy, change, message):
    edit(copy, change)
    with pytest.raises(InputError, match=message):
        Bundle.open(copy)


def test_no_bundle_and_no_json(copy, tmp_path):
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        Bundle.open(tmp_path)
    (copy / "config.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        Bundle.open(copy)


def test_missing_encoder_weights_are_told_with_their_source(copy):
    def refer(config):
        config["encoders"] = {"clip": "openai", "slowfast": "https://example.org/slowfast.pyth"}
        config["files"] = {name: digest for name, digest in config["files"].items() if not name.startswith("encoders")}

    edit(copy, refer)
    assert Predictor.from_bundle(copy).tasks  # there they are
    weights = shutil.move(copy / "encoders", copy.parent / "weights")
    with pytest.raises(InputError, match=r"slowfast: slowfast_tiny, .*example\.org.*; clip: clip_tiny, openai") as told:
        Predictor.from_bundle(copy)
    assert "read-adapters fetch" in str(told.value)
    assert Predictor.from_bundle(copy, encoders=weights).tasks
    with pytest.raises(InputError, match="no public source"):
        fetch(copy)


def test_other_encoders_than_those_of_training_are_refused(copy, tmp_path):
    torch.manual_seed(5)
    new_tiny_clip().save(tmp_path / "other/clip")
    shutil.copytree(copy / "encoders/slowfast", tmp_path / "other/slowfast")
    with pytest.raises(InputError, match=r"not the encoders .*: encoders\.clip\.weights is '\w+', not '\w+'$"):
        Predictor.from_bundle(copy, encoders=tmp_path / "other")
    edit(copy, lambda config: config["features"].update(fps=4.0))
    edit(copy, lambda config: config["features"]["views"]["clip"].update(size=96))
    with pytest.raises(InputError, match=r"views\.clip\.size is 64, not 96"):
        Predictor.from_bundle(copy)


def test_public_sources_are_tags_and_addresses():
    assert public_source("clip", {"name": "ViT-B-32"}, "openai") == "openai"
    assert public_source("clip", {"name": "ViT-B-32"}, "/home/me/mine.pt") is None
    assert public_source("mine", {"name": "clip_tiny", "kind": "clip"}, None) is None
    assert public_source("slowfast", {"name": "slowfast_8x8_r50"}, "kinetics").startswith("https://")
    assert public_source("slowfast", {"name": "slowfast_8x8_r50"}, "mine.pyth") is None


def test_weights_that_are_nowhere_else_have_to_be_packed(workspace, tmp_path):
    with pytest.raises(InputError, match="slowfast and clip are not public"):
        export([folder_of(workspace, "read/k2-s0")], tmp_path / "out", weights=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["models/encoders", "models/adapters/toy/grounding/read", "x"])
def test_a_folder_that_is_no_run(workspace, tmp_path, place):
    with pytest.raises(InputError, match="not the folder of a trained run"):
        export([workspace / place], tmp_path / "out")
    with pytest.raises(InputError, match="no run to pack"):
        export([], tmp_path / "out")


def test_a_run_twice_and_a_run_that_was_not_finished(own, tmp_path):
    run = folder_of(own, "read/k2-s0")
    with pytest.raises(InputError, match="is there twice"):
        export([run, run], tmp_path / "out")
    (run / "run.json").unlink()
    with pytest.raises(InputError, match="train this run first"):
        export([run], tmp_path / "out")


def test_what_changed_since_the_training_is_noticed(own, tmp_path):
    runs = [folder_of(own, "read/k2-s0")]
    weights = own / "models/backbone/grounding/model.safetensors"
    state = load_file(weights)
    state[next(iter(state))][0] += 1
    save_file(state, weights)
    with pytest.raises(InputError, match="another backbone"):
        export(runs, tmp_path / "out")
    torch.manual_seed(6)
    new_tiny_clip().save(own / "models/encoders/clip")
    with pytest.raises(InputError, match=r"changed since .* encoders\.clip\.weights"):
        export(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_that_do_not_go_together(workspace, own, tmp_path):
    here, there = (folder_of(root, "read/k2-s0") for root in (workspace, own))
    record = read_json(there / "run.json")
    write_json(there / "run.json", record | {"features": record["features"] | {"fps": 4.0}})
    with pytest.raises(InputError, match=r"other features .*: fps is 4\.0, not 8\.0"):
        export([here, there], tmp_path / "out")
    write_json(there / "run.json", record)
    config = own / "models/backbone/grounding/config.json"
    write_json(config, read_json(config) | {"dropout": 0.2})
    with pytest.raises(InputError, match="adapts another backbone"):
        export([here, folder_of(own, "read/k2-s1")], tmp_path / "out")


def test_an_export_replaces_nothing_but_a_bundle(workspace, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    with pytest.raises(InputError, match="more than a bundle"):
        export([folder_of(workspace, "read/k2-s0")], tmp_path / "home")
    assert (tmp_path / "home/letter.txt").read_text() == "dear"


def test_a_bundle_needs_no_workspace(packed, workspace):
    text = json.dumps(Bundle.open(packed).config)
    assert str(workspace) not in text and "/tmp" not in text
    assert all(len(adapters) == len(RUNS[task]) for task, adapters in _adapters(packed))


def _adapters(folder):
    bundle = Bundle.open(folder)
    return [(task, bundle.adapters(task)) for task in bundle.tasks]


def test_an_adapter_that_never_got_better_is_told_as_what_it_is(packed):
    card = Bundle.open(packed).config["card"]["tasks"]["grounding"]["adapters"]
    assert card["read_k2_s1"]["untrained"] and not card["read_k2_s0"]["untrained"]
    after = (packed / "README.md").read_text(encoding="utf-8").split("### Adapter `read_k2_s1`")[1]
    assert "The untuned state was kept" in after.split("###")[0]
    assert "untuned" not in after.split("###")[1]


def test_what_needs_no_training_stands_beside_a_runs_own_scores(own, tmp_path):
    run = folder_of(own, "read/k2-s0")
    plain = export([run], tmp_path / "plain")
    assert plain.config["card"]["tasks"]["grounding"]["adapters"]["read"]["references"] == {}
    results = own / "results/runs/toy/grounding"
    write_json(
        results / "references.json",
        {"random": {"scores": {"MR-full-mAP": 3.0}}, "cosine": {"scores": {"MR-full-mAP": 31.25}}},
    )
    for draw, value in (("k2-s0", 41.5), ("k2-s1", 7.0)):
        write_json(results / "map" / draw / "scores.json", {"scores": {"MR-full-mAP": value, "HL-clip-AP": 61.0}})
    write_json(
        run / "run.json", read_json(run / "run.json") | {"untuned": True, "gain": 0.5, "gain_se": 0.75, "folds": 4}
    )
    bundle = export([run], tmp_path / "out")
    adapter = bundle.config["card"]["tasks"]["grounding"]["adapters"]["read"]
    assert adapter["references"] == {
        "cosine": {"MR-full-mAP": 31.25}, "map": {"MR-full-mAP": 41.5, "HL-clip-AP": 61.0},
    }  # fmt: skip
    assert adapter["untrained"] and adapter["training"]["gain_se"] == 0.75 and adapter["training"]["folds"] == 4
    text = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert "| cosine, no training | linear map (ridge) |" in text and "worth its lead over them" in text
    rows = {row.split(" | ")[0].strip("| "): row.strip("|").split(" | ") for row in text.splitlines() if " | " in row}
    assert [cell.strip(" |") for cell in rows["MR-full-mAP"][-2:]] == ["31.2", "41.5"]
    assert [cell.strip(" |") for cell in rows["HL-clip-AP"][-2:]] == ["", "61.0"]
    assert "no training" not in (plain.folder / "README.md").read_text(encoding="utf-8")


def test_the_words_that_it_learned_from_are_in_the_card(packed, own, tmp_path):
    """Those of the source, and of the training videos; not those of the test side."""
    known = ["a", "cat's", "dog", "fence", "jumps", "over", "rain", "the"]
    assert Bundle.open(packed).config["card"]["words"] == known
    text = (packed / "README.md").read_text(encoding="utf-8")
    assert "knows 8 words" in text and ", ".join(known) in text
    write_json(own / "models/encoders/encoders.json", {"clip": {"pretrained": "openai"}})
    public = export([folder_of(own, "read/k2-s0")], tmp_path / "public")  # whose words nobody can list
    assert public.config["card"]["words"] is None and Predictor.from_bundle(public).unknown_words("bicycle") == []


def test_unknown_words_are_named_as_they_stand():
    assert unknown_words("The DOG's bicycle, the bicycle!", {"the", "dog"}) == ["DOG's", "bicycle"]
    assert unknown_words("größer 3 Hunde", {"größer"}) == ["3", "Hunde"]
    assert unknown_words("bicycle", None) == [] and words_of(["It's", "A dog_cat", "a"]) == ["a", "cat", "dog", "it's"]


def test_the_worth_of_the_bar_is_in_the_card(own, tmp_path):
    run = folder_of(own, "read/k2-s0")
    worth = {
        "videos": 5, "found": 9, "denied": 1, "shown": 9, "right": 6, "precision": 2 / 3, "present": 10, "answered": 7,
        "absent": 10, "answered_absent": 1, "absent_precision": 0.75, "absent_recall": 0.9,
    }  # fmt: skip
    record = read_json(run / "run.json")
    write_json(run / "run.json", record | {"confidence": worth, "threshold": None})
    text = (export([run], tmp_path / "none").folder / "README.md").read_text(encoding="utf-8")
    assert "There is no bar" in text and "of the 10 queries of 5 validation videos 9 were answered right" in text
    write_json(run / "run.json", record | {"confidence": worth})
    bundle = export([run], tmp_path / "out")
    assert Predictor.from_bundle(bundle).caution() == "the bar was chosen on few right answers: 9, of 5 videos"
    text = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert "6 of 9 moments shown are right, a precision of 0.67; 7 of 10 queries" in text
    assert "and 1 of 10 for what another video shows" in text and "denies 1 of the 9 queries whose first" in text
    assert (
        "right in 75% of its cases (precision), and given to 90% of the queries for what is not there (recall)" in text
    )


def test_code_that_a_tokenizer_names_is_not_packed(own, tmp_path):
    path = own / "models/backbone/summarization/tokenizer/tokenizer_config.json"
    write_json(path, read_json(path) | {"auto_map": {"AutoTokenizer": [None, "tokenization.T"]}})
    bundle = export([folder_of(own, "read/k2-s0", "summarization")], tmp_path / "out")
    assert "auto_map" not in read_json(bundle.folder / "summarization/tokenizer/tokenizer_config.json")
    assert len(Predictor.from_bundle(bundle)._models["summarization"].tokenizer)


@pytest.mark.parametrize("strategy", ["read", "lora"])
def test_what_was_fitted_is_part_of_an_adapter(tmp_path, strategy):
    backbone = build_backbone("joint", video_dim=6, text_dim=4, joint_dim=4)
    backbone.save(tmp_path / "backbone")
    with torch.no_grad():
        backbone.space.map.weight.add_(1)
    save_adapter(apply_strategy(strategy, backbone), tmp_path / "adapter")
    check_adapter("grounding", tmp_path / "backbone", tmp_path / "adapter")
    weights = load_file(tmp_path / "adapter/adapter.safetensors")
    (fitted,) = (key for key in weights if key.startswith("space.map.") and key.endswith("bias"))
    save_file({key: value for key, value in weights.items() if key != fitted}, tmp_path / "adapter/adapter.safetensors")
    with pytest.raises(InputError, match=f"missing keys: {fitted}"):
        check_adapter("grounding", tmp_path / "backbone", tmp_path / "adapter")
