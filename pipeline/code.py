"""What a stage depends on, read from dvc.yaml: the one place where it is declared, for both engines."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from pipeline.params import Params, TaskName, select


@cache
def _stage(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name]


def _of_task(names: list[str], task: str | None) -> list[str]:
    """Names as they stand in dvc.yaml, with the task in its place, and without those of another task."""
    others = {known for known in get_args(TaskName) if task is not None and known != task}
    named = [name.replace("${item.task}", task or "${item.task}") for name in names]
    return [name for name in named if others.isdisjoint(name.split("."))]


def code_paths(stage: str, task: str | None = None) -> list[str]:
    """Modules and folders of code that dvc.yaml lists among a stage's deps; `task` where it has a stage for each."""
    return [path for path in _of_task(_stage(stage)["deps"], task) if path.startswith(("pipeline/", "read/"))]


@cache
def code_digest(stage: str, task: str | None = None) -> str:
    """A digest of the stage's code, so that a change of code reruns what it affects."""
    digest = hashlib.sha256()
    for path in map(Path, code_paths(stage, task)):
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(file.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def settings(stage: str, params: Params, *without: str, task: str | None = None, strategy: str | None = None) -> str:
    """The params of a stage as JSON, for the `--settings` of its jobs.

    Args:
        stage: name of the stage in dvc.yaml, whose `params` say which keys it depends on.
        params: all params.
        without: keys that say which jobs there are and that no single job depends on.
        task: of a stage that dvc.yaml has for each task.
        strategy: keep only this entry of `strategies`.
    """
    values = select(params, (key for key in _of_task(_stage(stage)["params"], task) if key not in without))
    if strategy is not None:
        values["strategies"] = {strategy: values["strategies"][strategy]}
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
