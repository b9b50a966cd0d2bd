"""What must hold between Snakemake, DVC and git, in complete runs of a tiny project."""

import json
import os
import shutil

import pytest
import yaml

pytestmark = pytest.mark.slow


def recorded(project, kind: str) -> dict[str, str]:
    """Path -> digest of artifacts in dvc.lock."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    return {path: digest for path, digest in outs.items() if path.startswith(kind)}


def test_dvc_repro_on_a_clean_clone_leaves_nothing_to_do(_finished, _repro):
    """In one shard it has the videos that Snakemake has in two, and splits them alike."""
    _repro.assert_settled()
    manifest, split = "data/raw/montage/manifest.json", "data/splits/montage/grounding"
    assert _repro.json(manifest)["videos"] == _finished.json(manifest)["videos"]
    assert recorded(_repro, split) == recorded(_finished, split)


def test_a_pull_leaves_nothing_to_do_and_commits_keep_their_artifacts(_finished, clone):
    """What was pulled is not taken as done where a param changed, and is there again with the commit before that."""
    project, run = clone("main"), "models/adapters/montage/grounding/read/k2-s0/run.json"
    project.dvc("pull")
    project.assert_settled()
    assert "Nothing to be done" in project.snakemake()
    assert "didn't change" in project.dvc("repro")
    assert project.worked() == set()
    page = project.folder / "results/report/index.html"
    before = page.read_bytes()
    assert before == (_finished.folder / "results/report/index.html").read_bytes()

    shutil.rmtree(project.folder / ".snakemake")  # no records, as after the pull
    project.edit({"task": ["grounding"], "train.grounding.steps": 1, "strategies": {"read": {}}})
    project.snakemake()
    assert project.json(run)["steps"] == 1
    assert project.json("results/runs/montage/grounding/read/k2-s0/scores.json")["steps"] == 1
    assert project.worked() == {"train", "evaluate", "references", "linear_map", "report"}
    project.assert_settled()
    after = page.read_bytes()
    project.commit("one step")

    for commit, steps, content in (("HEAD~1", 2, before), ("main", 1, after)):
        project.git("checkout", "--quiet", commit)
        project.dvc("checkout")
        project.assert_settled()
        assert project.json(run)["steps"] == steps
        assert page.read_bytes() == content


def test_a_strategy_removed_leaves_artifacts_and_report(project):
    page = project.folder / "results/report/index.html"
    assert (project.folder / "models/adapters/montage/grounding/adapter").is_dir()
    assert "adapter" in {row.split(",")[1] for row in page.with_name("scores.csv").read_text().splitlines()}
    project.edit({"strategies": {"read": {}}})
    jobs = project.planned_jobs()
    assert not jobs.keys() & {"train_run", "evaluate_runs", "split", "pretrain_grounding", "pretrain_summarization"}
    project.snakemake()
    project.assert_settled()
    kinds, tasks = ("models/adapters", "results/runs"), ("grounding", "summarization")
    for folder in (f"{kind}/montage/{task}" for kind in kinds for task in tasks):
        there = {path.name for path in (project.folder / folder).iterdir() if path.is_dir()}
        assert there <= {"read", "zero_shot", "map"}
        assert not any("adapter" in run for run in project.json(f"{folder}/runs.json"))
    assert "adapter" not in {row.split(",")[1] for row in page.with_name("scores.csv").read_text().splitlines()}
    assert not any("/adapter/" in name for name in project.json("results/report/scores.json"))


def test_what_is_no_longer_asked_for_is_not_adopted(project):
    """It stands in dvc.lock still, as after a run on another dataset, but no rule makes it."""
    project.edit({"task": ["grounding"]})
    os.utime(project.folder / "models/backbone/grounding/curve.csv")
    assert project.planned_stages() == {"report"}


def test_a_comment_redoes_nothing_and_both_engines_are_settled_again(half):
    path = half.folder / "read/adapters/recurrent_cache.py"
    path.write_text(f"# A comment.\n\n{path.read_text()}")
    assert "code" in json.loads(half.dvc("status", "--json"))
    assert "Nothing to be done" in half.snakemake()
    half.assert_settled()
