"""What a stage depends on, read from dvc.yaml: the one place where it is declared, for both engines."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.params import Params, select


@cache
def _stage(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name]


def code_paths(stage: str) -> list[str]:
    """Modules and folders of code that dvc.yaml lists among a stage's deps."""
    return [path for path in _stage(stage)["deps"] if path.startswith(("pipeline/", "read/"))]


@cache
def code_digest(stage: str) -> str:
    """A digest of the stage's code, so that a change of code reruns what it affects."""
    digest = hashlib.sha256()
    for path in map(Path, code_paths(stage)):
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(file.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def settings(stage: str, params: Params, *without: str, strategy: str | None = None) -> str:
    """The params of a stage as JSON, for the `--settings` of its jobs.

    Args:
        stage: name of the stage in dvc.yaml, whose `params` say which keys it depends on.
        params: all params.
        without: keys that say which jobs there are and that no single job depends on.
        strategy: keep only this entry of `strategies`.
    """
    values = select(params, (key for key in _stage(stage)["params"] if key not in without))
    if strategy is not None:
        values["strategies"] = {strategy: values["strategies"][strategy]}
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
