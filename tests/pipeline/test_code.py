"""What code a job depends on, and that both engines are told the same."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.dependency.param import read_param_file
from dvc.fs import LocalFileSystem

from pipeline import code
from pipeline.modules import CACHE, Sources
from pipeline.params import Params, all_keys, check_params, load_params, parse_settings

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
WORK = {name: stage for name, stage in STAGES.items() if name != "code"}
TASKS = ("grounding", "summarization")
EACH = [
    (name, task) for name, stage in WORK.items() for task in (TASKS if "task" in stage.get("matrix", {}) else [None])
]
HERE = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
DOWNLOAD, EXTRACT = (
    {f"datasets.{dataset}.{stage}" for dataset in ("montage", "montage_source")} for stage in ("download", "extract")
)
OF_LORA = {f"{stage}.{task}.lora" for stage in ("train", "evaluate") for task in TASKS}


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in ("pipeline", "read", "data/catalog"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def checkout(copied, monkeypatch) -> Path:
    """A copy of the code and the params, and the working directory in it."""
    monkeypatch.chdir(copied)
    return copied


def found() -> dict:
    """All digests, as a process that has just begun would find them."""
    for kept in (code._digest, code._sources):
        kept.cache_clear()
    return code.all_digests(load_params())


def digests() -> dict[str, str]:
    """The same, as `stage.task.strategy` -> digest."""
    flat, rest = {}, [("", found())]
    while rest:
        prefix, value = rest.pop()
        if isinstance(value, dict):
            rest += [(f"{prefix}.{key}".strip("."), inner) for key, inner in value.items()]
        else:
            flat[prefix] = value
    code._sources().save()
    return flat


def changed_by(path: Path, edit) -> set[str]:
    """The digests that differ after a change of a file's text, which is then undone."""
    before, text = digests(), path.read_text() if path.exists() else None
    path.write_text(edit(text or ""))
    try:
        after = digests()
    finally:
        path.unlink() if text is None else path.write_text(text)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def with_line(text: str) -> str:
    return f"{text}\nLINE = 1\n"


def test_words_for_people_count_for_nothing(checkout):
    path = checkout / "read/adapters/recurrent_cache.py"
    assert changed_by(path, lambda text: f"# A comment.\n\n{text}") == set()
    assert changed_by(path, lambda text: text.replace("Recurrent states", "States", 1)) == set()


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("read/adapters/strategies/lora.py", OF_LORA),
        ("read/adapters/strategies/st_adapter.py", set()),  # nobody names it
        ("read/backbones/grounding/umt.py", set()),
        ("read/encoders/cut.py", set()),  # of prediction
        ("read/encoders/kinds/clip.py", {"encoders", *EXTRACT}),
        ("pipeline/sources/montage/scenes.py", {"pretrain.grounding", *DOWNLOAD}),
        ("pipeline/restitch/montage.py", {"pretrain.grounding"}),
        ("pipeline/reporting/panels/paired.py", {"report"}),
        ("pipeline/stages/split.py", {f"split.{task}" for task in TASKS}),
        ("read/metrics/protocols/tvsum.py", set()),
    ],
)
def test_code_counts_where_it_is_used(checkout, file, stages):
    assert changed_by(checkout / file, with_line) == stages


def test_code_of_a_task_is_its_own(checkout):
    found = changed_by(checkout / "read/metrics/meteor.py", with_line)
    assert found and all(".summarization" in name for name in found)
    assert {name.partition(".")[0] for name in found} == {"pretrain", "train", "evaluate"}


def test_what_all_use_counts_for_all(checkout):
    assert changed_by(checkout / "read/files.py", with_line) == digests().keys() - {"needed", "own_source"}


def test_files_beside_the_code_count(checkout):
    assert changed_by(checkout / "pipeline/reporting/templates/style.css", lambda text: text + "\n") == {"report"}
    path = checkout / "read/encoders/configs/clip_tiny.json"
    assert changed_by(path, lambda text: text + "\n") == {"encoders", *EXTRACT}


def test_a_new_strategy_counts_when_it_is_named(checkout):
    params = (checkout / "params.yaml").read_text()
    lora = (checkout / "read/adapters/strategies/lora.py").read_text()
    try:
        (checkout / "read/adapters/strategies/mine.py").write_text(lora)
        assert told(checkout) == found()
        (checkout / "params.yaml").write_text(params.replace("  lora: {}", "  lora: {}\n  mine: {}"))
        known = told(checkout)
        for stage in ("train", "evaluate"):
            for task in TASKS:
                assert known[stage][task].pop("mine")
        (checkout / "params.yaml").write_text(params)
        assert known == found()
    finally:
        (checkout / "params.yaml").write_text(params)
        (checkout / "read/adapters/strategies/mine.py").unlink()


def told(checkout: Path) -> dict:
    """What a process of the checkout's own writes for DVC."""
    subprocess.run([sys.executable, "-m", "pipeline.code"], cwd=checkout, env=HERE, check=True)
    return yaml.safe_load((checkout / "code.yaml").read_text())


def test_one_that_does_not_parse_hurts_nobody_who_does_not_name_it(checkout):
    assert changed_by(checkout / "read/backbones/grounding/broken.py", lambda _: "def (") == set()


def test_what_was_read_is_kept_by_the_files_times(checkout):
    sources = Sources()
    before = sources.digest(["pipeline.stages.train"])
    sources.save()
    assert CACHE.is_file()
    path = checkout / "read/train.py"
    text = path.read_text()
    path.write_text(with_line(text))
    assert Sources().digest(["pipeline.stages.train"]) != before
    path.write_text(text)
    CACHE.write_text("{")
    assert Sources().digest(["pipeline.stages.split"]) == sources.digest(["pipeline.stages.split"])


def test_nothing_is_imported_by_a_made_name_but_plugins():
    """Or the code behind it would count for nothing."""
    doors = {"read/__init__.py", "read/data/__init__.py"}  # these name the homes that they look in
    allowed = {"read/plugins.py", *doors}
    for path in [path for top in ("read", "pipeline") for path in (ROOT / top).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
            if name in ("import_module", "__import__", "exec", "run_path", "spec_from_file_location"):
                assert path.relative_to(ROOT).as_posix() in allowed, f"{path}:{node.lineno}: {name}"


def test_dvc_is_told_the_same(checkout):
    assert told(checkout) == found()
    before = (checkout / "code.yaml").stat().st_mtime_ns
    code.write_digests(load_params())
    assert (checkout / "code.yaml").stat().st_mtime_ns == before
    for name, stage in WORK.items():
        (keys,) = [key["code.yaml"] for key in stage["params"] if isinstance(key, dict)]
        of = f"{name}.${{item.task}}" if "task" in stage.get("matrix", {}) else name
        digest = f"datasets.${{item.dataset}}.{name}" if name in ("download", "extract") else of
        assert {*keys} == {digest, *{"encoders": ["needed"], "pretrain": ["own_source"]}.get(name, [])}
        assert not [path for path in stage["deps"] if path.startswith(("read", "pipeline"))]


@pytest.mark.parametrize(("stage", "task"), EACH)
def test_settings_are_the_declared_keys_and_those_are_of_params_yaml(stage, task):
    params = load_params(ROOT / "params.yaml")
    declared = {key.replace("${item.task}", task or "") for key in STAGES[stage]["params"] if isinstance(key, str)}
    declared -= {key for key in declared if task and ({*TASKS} - {task}) & {*key.split(".")}}
    assert declared <= set(all_keys(Params))
    assert not any(key.startswith("machine") for key in declared)  # it says how, not what
    given = code.settings(stage, params, task=task)
    assert set(json.loads(given)) == declared
    assert set(vars(parse_settings(given))) == {key.partition(".")[0] for key in declared}


def params(**keys) -> Params:
    return check_params(yaml.safe_load(Path("params.yaml").read_text()) | keys)


def test_another_dataset_changes_nothing_that_is_learned_from_the_source(checkout):
    """Though its card has layouts of its own."""
    before, after = code.all_digests(params()), code.all_digests(params(dataset="tvsum"))
    assert before["datasets"].pop("montage") and after["datasets"].pop("tvsum").keys() == {"download", "extract"}
    assert before["report"] != after["report"]
    for known in ("datasets", "encoders", "needed", "pretrain", "own_source"):
        assert before[known] == after[known]


def test_datasets_whose_names_have_dots_are_found_by_dvc(checkout):
    """The one may begin as the other does."""
    names = ("garden", "garden.2")
    for name in names:
        shutil.copytree("data/catalog/montage", f"data/catalog/{name}")
    try:
        Path("code.yaml").write_text(yaml.safe_dump(code.all_digests(params(dataset="garden.2", source="garden"))))
        keys = [f"datasets.{name}.download" for name in names]
        assert {*read_param_file(LocalFileSystem(), "code.yaml", keys, flatten=True)} == {*keys}
    finally:
        for name in names:
            shutil.rmtree(f"data/catalog/{name}")


def test_pretraining_knows_no_more_of_the_dataset_than_that_it_is_the_source(monkeypatch):
    monkeypatch.chdir(ROOT)
    params = load_params()
    own = params.model_copy(update={"dataset": params.source})
    transfer = own.model_copy(update={"domain": "move"})
    assert [each.own_source for each in (params, own, transfer)] == [False, True, False]
    assert code.all_digests(own)["own_source"] is True
    another = params.model_copy(update={"dataset": "template"})
    assert code.settings("pretrain", another, task="grounding") == code.settings("pretrain", params, task="grounding")


def test_a_run_gets_its_own_strategy_only(monkeypatch):
    monkeypatch.chdir(ROOT)
    given = json.loads(code.settings("train", load_params(), "runs", task="grounding", strategy="read"))
    assert list(given["strategies"]) == ["read"]
    assert "runs" not in given


def test_every_stage_asks_snakemake_for_all_that_lies_in_its_folders():
    for name, stage in WORK.items():
        outs = [next(iter(out)) for out in stage["outs"]]
        assert stage["cmd"] == f"snakemake {' '.join(outs)}", name
        assert all(list(out.values()) == [{"persist": True}] for out in stage["outs"])


def test_planning_needs_no_torch():
    """Snakemake reads params, stages and the engine each time that it starts."""
    modules = (
        "pipeline.engine.begin, pipeline.engine.targets, pipeline.code, pipeline.strategies, pipeline.sources.shards"
    )
    text = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
