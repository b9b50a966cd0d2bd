"""The list of runs, and what is removed because it is no longer asked for."""

from pipeline.stages.collect import collect
from read.files import read_json


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
    make(tmp_path, "read/k2-s0", "read/k8-s0", "full/k2-s0", "full/k2-s1")
    (tmp_path / "references.json").write_text("{}")
    collect(tmp_path, tmp_path / "runs.json", ["read/k2-s0"])
    assert {path.name for path in tmp_path.iterdir()} == {"read", "runs.json", "references.json"}
    assert {path.name for path in (tmp_path / "read").iterdir()} == {"k2-s0"}
    assert capsys.readouterr().out.count("no longer in params.yaml") == 3
