"""What a stage depends on stands once, in dvc.yaml, and reaches the jobs from there."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import code
from pipeline.params import Params, all_keys, load_params, parse_settings

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
TASKS = ("grounding", "summarization")
EACH = [
    (name, task) for name, stage in STAGES.items() for task in (TASKS if "task" in stage.get("matrix", {}) else [None])
]
PLUMBING = {
    "pipeline",
    "pipeline.cli",
    "pipeline.params",
    "pipeline.strict_yaml",
    "pipeline.paths",
    "pipeline.engine",
    "read",
    "read.errors",
    "read.autograd",
    "read.files",
    "read.plugins",
    "read.rows",
    "read.weights",
}


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A copy of dvc.yaml and the code, and the working directory in it."""
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    for name in ("pipeline", "read"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digests() -> dict[str, str]:
    code.code_digest.cache_clear()
    return {f"{name}@{task}" if task else name: code.code_digest(name, task) for name, task in EACH}


def module_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def imported(module: str) -> set[str]:
    """Modules of this project that a module imports, at the top or inside its functions."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in ("pipeline", "read") and exists(name)}


def modules_in(name: str) -> list[str]:
    """A module, or all modules of a package."""
    folder = ROOT / name.replace(".", "/")
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else []
    return [name, *(module_of(str(file.relative_to(ROOT))).removesuffix(".__init__") for file in files)]


def exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize(("stage", "task"), EACH)
def test_settings_are_the_declared_keys_and_those_are_of_params_yaml(stage, task):
    params = load_params(ROOT / "params.yaml")
    declared = {key.replace("${item.task}", task or "") for key in STAGES[stage]["params"]}
    declared -= {key for key in declared if task and ({*TASKS} - {task}) & {*key.split(".")}}
    assert declared <= set(all_keys(Params))
    given = code.settings(stage, params, task=task)
    assert set(json.loads(given)) == declared
    assert set(vars(parse_settings(given))) == {key.partition(".")[0] for key in declared}


def test_a_run_gets_its_own_strategy_only(monkeypatch):
    monkeypatch.chdir(ROOT)
    given = json.loads(code.settings("train", load_params(), "runs", task="grounding", strategy="read"))
    assert list(given["strategies"]) == ["read"]
    assert "runs" not in given


@pytest.mark.parametrize(("stage", "task"), EACH)
def test_the_declared_code_covers_all_that_is_imported(stage, task):
    declared = [module_of(path) for path in code.code_paths(stage, task)]
    assert [module for module in declared if not exists(module)] == []
    reached, rest = set(), {module for name in declared for module in modules_in(name)}
    while rest:
        module = rest.pop()
        reached.add(module)
        rest |= imported(module) - PLUMBING - reached
    lacking = {name for name in reached if not any(name == one or name.startswith(f"{one}.") for one in declared)}
    assert {name for name in lacking if f"{name}.__init__" not in declared} == set()


def test_a_change_of_code_changes_the_stages_that_use_it_and_no_other(checkout):
    before = digests()
    (checkout / "read/transport/exact.py").open("a").write("\n# changed\n")
    after = digests()
    assert {name for name in after if before[name] != after[name]} == {
        f"{stage}@{task}" for stage in ("train", "evaluate") for task in TASKS
    }
    (checkout / "read/transport/new.py").write_text("")
    assert digests()["train@grounding"] != after["train@grounding"]


def test_the_code_of_a_task_is_its_own(checkout):
    before = digests()
    (checkout / "read/summarization/summarize.py").open("a").write("\n# changed\n")
    after = digests()
    changed = {name for name in after if before[name] != after[name]}
    assert changed == {f"{stage}@summarization" for stage in ("pretrain", "train", "evaluate")}


def test_caches_of_the_interpreter_do_not_count(checkout):
    before = digests()
    (checkout / "read/transport/__pycache__").mkdir()
    (checkout / "read/transport/__pycache__/exact.cpython-311.pyc").write_bytes(b"x")
    assert digests() == before


def test_every_stage_asks_snakemake_for_its_own_target():
    rules = "".join(path.read_text() for path in (ROOT / "pipeline/rules").glob("*.smk"))
    for name, stage in STAGES.items():
        adopt, work = stage["cmd"]
        out = next(iter(stage["outs"][0]))
        assert adopt.startswith(f"python -m pipeline.adopt --own {out}"), name
        target = re.fullmatch(r"snakemake (\S+)", work)[1]
        assert target.startswith(f"{out}/"), name
        assert Path(target).name in rules
        assert stage["outs"][0][out] == {"persist": True}


def test_planning_needs_no_torch():
    """Snakemake reads params, stages and the engine each time that it starts."""
    modules = "pipeline.engine, pipeline.code, pipeline.strategies, pipeline.sources.shards"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
