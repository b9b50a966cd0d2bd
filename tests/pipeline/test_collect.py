"""The list of runs, and what is removed because it is no longer asked for."""

import base64
import json
from pathlib import Path

import pytest

from pipeline.engine.records import METADATA
from pipeline.stages.collect import collect
from read.files import read_json


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(folder, *runs):
    for run in runs:
        (folder / run).mkdir(parents=True)
        (folder / run / "run.json").write_text("{}")


def test_runs_that_are_asked_for_stay(tmp_path):
    make(tmp_path, "read/k2-s0", "read/k8-s0", "full/k2-s0")
    collect(tmp_path, tmp_path / "runs.json", ["read/k8-s0", "full/k2-s0", "read/k2-s0"])
    assert read_json(tmp_path / "runs.json") == ["full/k2-s0", "read/k2-s0", "read/k8-s0"]
    assert len(list(tmp_path.rglob("run.json"))) == 3


def test_runs_and_strategies_that_are_not_asked_for_go(tmp_path, capsys):
    folder = tmp_path / "results"
    make(folder, "read/k2-s0", "read/k8-s0", "full/k2-s0", "full/k2-s1")
    (folder / "references.json").write_text("{}")
    collect(folder, folder / "runs.json", ["read/k2-s0"])
    assert {path.name for path in folder.iterdir()} == {"read", "runs.json", "references.json"}
    assert {path.name for path in (folder / "read").iterdir()} == {"k2-s0"}
    assert capsys.readouterr().out.count("no longer in params.yaml") == 3


def test_a_persons_own_files_are_moved_aside(tmp_path, capsys):
    make(Path("models"), "read/k2-s0", "read/k8-s0")
    record(Path("models/read/k8-s0/run.json"))
    Path("models/read/k8-s0/notes.txt").write_text("mine")
    collect(Path("models"), Path("models/runs.json"), ["read/k2-s0"])
    assert not Path("models/read/k8-s0").exists()
    assert [path.read_text() for path in Path(".snakemake/strangers").rglob("*.*")] == ["mine"]
    assert "notes.txt: made by none of these stages, moved to" in capsys.readouterr().err


def record(path: Path) -> None:
    """As Snakemake keeps one of each file that it made."""
    METADATA.mkdir(parents=True, exist_ok=True)
    name = base64.urlsafe_b64encode(path.as_posix().encode()).decode()
    (METADATA / name).write_text(json.dumps({"endtime": path.stat().st_mtime}))
