"""Three floors, arrows only downward: pipeline -> training and the tasks -> six rooms that do not know each other."""

import ast
from pathlib import Path

import pytest

from pipeline.code import code_paths

ROOT = Path(__file__).parents[1]
ROOMS = {"adapters", "transport", "backbones", "encoders", "data", "metrics"}
GROUND = {
    "read",
    "read.autograd",
    "read.errors",
    "read.files",
    "read.plugins",
    "read.weights",
}  # everybody stands on these
ENGINE = {
    "pipeline",
    "pipeline.params",
    "pipeline.cli",
    "pipeline.paths",
    "pipeline.stages",
}  # how jobs are called, not what they compute
STAGES = ["download", "encoders", "extract", "split", "pretrain", "train", "evaluate", "report"]


def modules():
    return sorted(path for top in ("read", "pipeline") for path in (ROOT / top).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def file_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("read", "pipeline") and file_of(name)}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_arrows_point_downward(path):
    module = name_of(path)
    for other in imports_of(path) - GROUND:
        if module.startswith("read"):
            assert not other.startswith("pipeline"), f"{module} imports {other}: the library knows no workflow"
        floor, _, inside = module.partition(".")
        room = inside.split(".")[0]
        if floor == "read" and room in ROOMS:
            assert other.split(".")[1] == room, f"{module} imports {other}: rooms do not know each other"


@pytest.mark.parametrize("task", ["grounding", "summarization"])
@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_all_code_that_it_imports(stage, task):
    """Or a change of code would not rerun what it affects."""
    listed = code_paths(stage, task)
    seen, todo = set(), [f"pipeline.stages.{stage}"]
    todo += [f"pipeline.tasks.{task}"] * ("pipeline/tasks/__init__.py" in listed)  # imported by its name
    while todo:
        module = todo.pop()
        if module in seen or module in GROUND | ENGINE:
            continue
        seen.add(module)
        path = file_of(module)
        relative = path.relative_to(ROOT).as_posix()
        assert any(relative == entry or relative.startswith(f"{entry}/") for entry in listed), (
            f"dvc.yaml: stage {stage} imports {relative}, which is not among its deps"
        )
        todo += imports_of(path)
