"""params.yaml: strict types, every mistake at once, each with its dotted path and the nearest key."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from pipeline.card import load_card
from pipeline.params import all_keys, check_params, for_encoder, load_params, parse_settings
from pipeline.strategies import check_strategies, method_of
from pipeline.strict_yaml import read_yaml
from read.errors import InputError
from read.plugins import Plugins

ROOT = Path(__file__).parents[2]


@pytest.fixture
def values() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def mistakes(values) -> list[str]:
    with pytest.raises(InputError) as error:
        check_params(values)
    return str(error.value).splitlines()


def test_the_shipped_file_is_valid_and_holds_every_key(values):
    params = load_params(ROOT / "params.yaml")
    assert params.model_dump(mode="json") == values
    assert "machine.mirror" in all_keys(type(params))


def test_all_mistakes_at_once_each_with_its_path_and_the_nearest_key(values):
    values["train"]["grounding"]["stepps"] = 3
    values["encoders"]["clip"]["modell"] = "x"
    values["split"]["val_share"] = "a quarter"
    values["train"]["summarization"]["batch_size"] = 2.5
    values["runs"]["shots"] = [8, "many"]
    del values["report"]["metrics"]["grounding"]
    assert sorted(mistakes(values)) == [
        "params.yaml: encoders: clip: encoder clip has no option 'modell'; did you mean model?",
        "params.yaml: report.metrics.grounding: is missing",
        "params.yaml: runs.shots.1: Input should be a valid integer (found 'many')",
        "params.yaml: split.val_share: Input should be a valid number (found 'a quarter')",
        "params.yaml: train.grounding.stepps: unknown key; did you mean train.grounding.steps?",
        "params.yaml: train.summarization.batch_size: Input should be a valid integer (found 2.5)",
    ]


def test_a_key_in_the_wrong_section_is_pointed_at_its_own(values):
    values["extract"]["random_draws"] = 3
    assert mistakes(values) == [
        "params.yaml: extract.random_draws: unknown key; did you mean evaluate.grounding.random_draws?"
    ]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train.grounding", "steps", True),
        ("train.grounding", "steps", "150"),
        ("train.grounding", "steps", 0),
        ("train.grounding", "learning_rates", []),
        ("train.grounding", "learning_rates", [-0.1]),
        ("train.grounding", "folds", 1),
        ("train.grounding", "budget", 0),
        ("train.grounding", "places", []),
        ("train.grounding", "places", ["head"]),
        ("download", "tolerance", 1.5),
        ("download", "shards", 1001),
        ("split", "test_share", 1.0),
        ("extract", "fps", None),
        ("extract", "fps", float("nan")),
        ("runs", "seeds", 3),
        ("evaluate.grounding", "windows", "peaks"),
    ],
)
def test_a_value_that_cannot_be(values, section, key, value):
    place, name = values, f"{section}.{key}"
    *sections, leaf = name.split(".")
    for part in sections:
        place = place[part]
    place[leaf] = value
    lines = mistakes(values)
    assert len(lines) == 1
    assert lines[0].startswith(f"params.yaml: {section}.{key}")


@pytest.mark.parametrize("value", [None, [], "text", {}])
def test_a_file_without_params(value):
    assert mistakes(value)


def test_what_no_single_key_shows(values):
    values["source"] = values["dataset"]
    values["runs"]["seeds"] = [1, 1]
    values["train"]["summarization"]["places"] = ["joint", "joint"]
    values["pretrain"]["grounding"]["heads"] = 7
    assert mistakes(values) == [
        "params.yaml: source: is 'montage' like dataset; pretraining would see the test videos",
        "params.yaml: runs.seeds: holds a value twice: [1, 1]",
        "params.yaml: train.summarization.places: holds a value twice: ['joint', 'joint']",
        "params.yaml: pretrain.grounding.heads: 7 does not divide hidden 96",
    ]


def test_encoders_that_are_trained_here_do_not_see_the_test_videos_either(values):
    values |= {"task": ["grounding"], "source": values["dataset"]}
    values["pretrain"]["grounding"]["checkpoint"] = "model_best.ckpt"
    assert mistakes(values) == [
        "params.yaml: source: is 'montage' like dataset; the encoders that are trained here (pretrained: null) would "
        "see the test videos"
    ]
    check_params(values | {"features": "package"})  # whose encoders somebody else trained
    for encoder in ("clip", "slowfast"):
        values["encoders"][encoder]["pretrained"] = "public"
    check_params(values)


def test_transfer_has_a_domain_and_the_dataset_as_its_source(values):
    values["protocol"] = "transfer"
    assert len(lines := mistakes(values)) == 2
    assert "domain: is None" in lines[0] and "source: is 'montage_source'; transfer pretrains" in lines[1]
    check_params(values | {"domain": "move", "source": "montage"})


def test_tasks_are_a_list(values):
    values["task"] = "both"
    assert len(lines := mistakes(values)) == 1
    assert "task: " in lines[0] and "[grounding, summarization]" in lines[0]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        load_params(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("train: [1\n")
    with pytest.raises(InputError, match=r"bad\.yaml: not valid YAML"):
        load_params(tmp_path / "bad.yaml")


def test_a_job_gets_the_keys_that_its_rule_declares_and_no_others(values):
    given = {key: values[key] for key in ("clip_len", "split")}
    settings = parse_settings(json.dumps(given | {"train.summarization": values["train"]["summarization"]}))
    assert settings.split.val_share == values["split"]["val_share"]
    assert settings.train.steps == values["train"]["summarization"]["steps"]  # its own task's section
    assert settings.clip_len == 2.0
    with pytest.raises(AttributeError):
        _ = settings.report


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"trian": {}}', "unknown key trian"),
        ('{"train.groundign": {}}', "unknown key train.groundign"),
        ('{"clip_len": "two"}', "clip_len: Input should be a valid number"),
    ],
)
def test_settings_of_a_job_that_are_wrong(text, message):
    with pytest.raises(InputError, match=message):
        parse_settings(text)


def test_check_leaves_the_values_as_they_are(values):
    before = copy.deepcopy(values)
    check_params(values)
    assert values == before


@pytest.mark.parametrize(
    ("encoders", "mistake"),
    [
        ({"clipp": {}}, "encoders: clipp: no encoder 'clipp'; did you mean clip?"),
        ({"one": {"kind": "slowfats"}}, "encoders: one: no encoder 'slowfats'; did you mean slowfast?"),
        ({"clip": {"steps": 0}, "slowfast": {"seed": -1}},
         "encoders: clip: encoder clip: steps is 0, but must be at least 1; slowfast: encoder slowfast: seed is -1, "
         "but must be at least 0"),
        ({"clip": {"pretrained": 3}}, "encoders: clip: encoder clip: pretrained is 3, which is neither text nor null"),
        ({"clip": {"steps": True}}, "encoders: clip: encoder clip: steps is True, which is no int"),
        ({"slowfast": {}}, "encoders: of slowfast, none reads text, by which queries are known; add clip"),
        ({"pann": {}, "clip": {}, "ast": {}}, "encoders: pann and ast hear; list them one after the other"),
    ],
)  # fmt: skip
def test_encoders_are_checked_without_their_packages(values, encoders, mistake):
    assert mistakes(values | {"encoders": encoders}) == [f"params.yaml: {mistake}"]


def test_the_joint_backbone_needs_a_joint_space(values, monkeypatch):
    values["backbone"]["grounding"] = "joint"
    check_params(values)
    constant = Plugins.constant
    spaceless = lambda self, name, key: False if key == "JOINT" else constant(self, name, key)  # noqa: E731
    monkeypatch.setattr(Plugins, "constant", spaceless)
    assert mistakes(values) == [
        "params.yaml: backbone.grounding: is joint, but clip, which reads the queries, has no space for frames and "
        "sentences; list clip or xclip before it"
    ]
    check_params(values | {"task": ["summarization"]})


def test_encoders_are_any_number_in_any_order_under_any_name(values):
    values["encoders"] = {"second": {"kind": "clip"}, "clip": {}, "slowfast": {"steps": 9}}
    params = check_params(values)
    assert [*params.encoders] == ["second", "clip", "slowfast"]
    params.encoders["clip"]["pretrained"] = "public"
    assert [*for_encoder(params, "clip").encoders] == ["clip"]
    assert [*for_encoder(params, "second").encoders] == ["second"]  # one that is trained here too


def test_a_published_backbone_may_be_scored_on_the_dataset_itself(values):
    """Nothing trains on the source then."""
    values |= {"source": "montage", "task": ["grounding"]}
    values["pretrain"]["grounding"]["checkpoint"] = "model.ckpt"
    for encoder in ("clip", "slowfast"):
        values["encoders"][encoder]["pretrained"] = "public"
    check_params(values)
    values["task"] = ["grounding", "summarization"]
    for backbone, steps, fits in (("t5-base", 0, True), ("t5-base", 5, False), ("small_bart", 0, False)):
        values["backbone"]["summarization"], values["pretrain"]["summarization"]["steps"] = backbone, steps
        if fits:
            check_params(values)
        else:
            assert "pretraining would see the test videos" in mistakes(values)[0]


def test_one_strategy_can_stand_there_twice():
    check_strategies({"read": {}, "read_wide": {"method": "read", "bottleneck": 64}})
    for taken in ("map", "zero_shot"):
        with pytest.raises(InputError, match=f"strategies.{taken}: is the name of a row that frames the table"):
            check_strategies({taken: {"method": "read"}, "read": {}})
    assert method_of("read_wide", {"method": "read", "bottleneck": 64}) == ("read", {"bottleneck": 64})
    assert method_of("read", {}) == ("read", {})


def test_a_strategy_that_aligns_does_not_fit_a_backbone_whose_words_never_change():
    entries = {"read": {}, "mine": {"method": "read_pvla"}}
    check_strategies(entries, backbone="univtg")
    with pytest.raises(InputError, match=r"strategies\.mine: aligns video with words, which never change in joint"):
        check_strategies(entries, backbone="joint")


def test_unknown_strategies_and_options_are_named_all_at_once():
    with pytest.raises(InputError) as error:
        check_strategies(
            {
                "raed": {},
                "mine": {"method": "lroa"},
                "read": {"bottelneck": 8},
                "adapter": {"bottleneck": "wide"},
                "full": {},
                "vera": {"method": "peft", "type": "vera", "rank": 16},
                "ia3": {"method": "peft", "type": "ia4"},
                "oft": {"method": "peft", "type": "oft", "oft_block_sise": 4},
            }
        )
    assert str(error.value).splitlines() == [
        "params.yaml: strategies.raed: no strategy 'raed'; did you mean read?",
        "params.yaml: strategies.mine: no strategy 'lroa'; did you mean lora?",
        "params.yaml: strategies.read: strategy read has no option 'bottelneck'; did you mean bottleneck?",
        "params.yaml: strategies.adapter: strategy adapter: bottleneck is 'wide', which is no int",
        "params.yaml: strategies.ia3: strategy peft: peft has no type 'ia4'; did you mean ia3?",
        "params.yaml: strategies.oft: strategy peft has no option 'oft_block_sise'; did you mean oft_block_size?",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"runs": {"shots": [4], "seeds": [-1]}},
            "runs.seeds.0: Input should be greater than or equal to 0 (fou",
        ),
        (
            {"runs": {"shots": [10**4000], "seeds": [0]}},
            "runs.shots.0: Input should be less than or equal to 1000",
        ),
        ({"clip_len": float("inf")}, "clip_len: Input should be less than or equal to 3600 (found inf)"),
        (
            {"extract": {"fps": 1e9, "dtype": "float32", "normalise": True}},
            "extract.fps: Input should be less than or equal to 1000",
        ),
    ],
)
def test_numbers_beyond_all_bounds(values, change, reason):
    (line,) = mistakes(values | change)
    assert line.startswith(f"params.yaml: {reason}") and len(line) < 200


def test_no_number_is_infinite(values):
    values["pretrain"]["grounding"]["learning_rate"] = float("inf")
    values["train"]["grounding"]["learning_rates"] = [float("nan")]
    values["pretrain"]["summarization"]["seed"] = 2**32
    assert [line.split(": ")[1] for line in mistakes(values)] == [
        "pretrain.grounding.learning_rate", "pretrain.summarization.seed", "train.grounding.learning_rates.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "key 'c' stands twice, again on line 5"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: &a [*a]", "more than 100000 values"),
        ("\n".join([f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x, x]" for n in range(9)]),
         "more than 100000 values"),
        ("a: [1", "not valid YAML"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused(tmp_path, text, reason):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"bad\.yaml: .*{reason}"):
        load_params(tmp_path / "bad.yaml")
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"card\.yaml: .*{reason}"):
        load_card(tmp_path.name, tmp_path.parent)


def test_yaml_with_a_byte_order_mark_and_with_aliases(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {b: 1}\nc: {<<: *a, d: 2}\n", encoding="utf-8-sig")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"b": 1}, "c": {"b": 1, "d": 2}}


def test_a_joint_space_needs_features_of_one_length(values):
    values["backbone"]["grounding"], values["extract"]["normalise"] = "joint", False
    assert mistakes(values) == [
        "params.yaml: extract.normalise: is false, but backbone.grounding is joint, which compares what is normalised"
    ]
    values["backbone"]["grounding"] = "umt"
    check_params(values)
