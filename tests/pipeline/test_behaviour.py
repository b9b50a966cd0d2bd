"""What must hold between Snakemake, DVC and git, in complete runs of a tiny project."""

import json
import os

import pytest
import yaml

pytestmark = pytest.mark.slow


def recorded(project, kind: str) -> dict[str, str]:
    """Path -> digest of artifacts in dvc.lock."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    return {path: digest for path, digest in outs.items() if path.startswith(kind)}


def worked(project) -> set[str]:
    """Rules that have done work in a clone: Snakemake notes the time that each took."""
    folder = project.folder / "benchmarks/results"
    return {path.relative_to(folder).parts[0].removesuffix(".tsv") for path in folder.rglob("*.tsv")}


def examples_shown(project) -> int:
    return (project.folder / "results/report/index.html").read_text().count("<video")


def test_dvc_repro_on_a_clean_clone_leaves_nothing_to_do(_finished, _repro):
    _repro.assert_settled()
    for kind in ("data/raw", "data/splits/montage/grounding"):
        assert recorded(_repro, kind) == recorded(_finished, kind)


def test_an_older_commit_brings_its_artifacts_back(half):
    page = (half.folder / "results/report/index.html").read_bytes()
    references = half.json("results/runs/montage/grounding/references.json")
    half.edit({"evaluate.grounding.random_draws": 3})
    half.snakemake()
    half.commit("three draws")
    assert half.json("results/runs/montage/grounding/references.json") != references
    half.git("checkout", "--quiet", "HEAD~1")
    half.dvc("checkout")
    half.assert_settled()
    assert half.json("results/runs/montage/grounding/references.json") == references
    assert (half.folder / "results/report/index.html").read_bytes() == page
    half.git("checkout", "--quiet", "main")
    half.dvc("checkout")
    half.assert_settled()


def test_a_fresh_clone_and_a_pull_leave_nothing_to_do(_finished, clone):
    project = clone("main")
    project.dvc("pull")
    project.assert_settled()
    assert "Nothing to be done" in project.snakemake()
    assert "didn't change" in project.dvc("repro")
    assert worked(project) == set()
    report = "results/report/index.html"
    assert (project.folder / report).read_bytes() == (_finished.folder / report).read_bytes()


@pytest.mark.parametrize("engine", ["snakemake", "dvc"])
def test_a_param_changed_after_a_pull_is_never_taken_as_done(clone, engine):
    """By DVC the stage alone, which runs Snakemake for what comes after it just so."""
    project = clone("main")
    project.dvc("pull")
    project.edit({"task": ["grounding"], "train.grounding.steps": 1, "strategies": {"read": {}}})
    project.snakemake() if engine == "snakemake" else project.dvc("repro", "train@grounding")
    assert project.json("models/adapters/montage/grounding/read/k2-s0/run.json")["steps"] == 1
    if engine == "snakemake":
        assert project.json("results/runs/montage/grounding/read/k2-s0/scores.json")["steps"] == 1
        assert worked(project) == {"train", "evaluate", "references", "linear_map", "report"}
        project.assert_settled()
    else:
        assert worked(project) == {"train"}
        assert project.planned_stages() == {"evaluate", "report"}


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


def test_a_config_of_the_command_line_is_not_recorded(half):
    lock = (half.folder / "dvc.lock").read_bytes()
    shown = examples_shown(half)
    other = half.folder / "other.yaml"
    other.write_text("report: {examples: 0}\n")
    assert "record" not in half.planned_jobs("--config", "clip_len=1.0")
    half.snakemake("--configfile", "params.yaml", "other.yaml")
    other.unlink()
    assert (half.folder / "dvc.lock").read_bytes() == lock
    assert examples_shown(half) < shown
    assert json.loads(half.dvc("status", "--json"))  # DVC sees that the page is not params.yaml's
    half.snakemake()
    assert examples_shown(half) == shown
    half.assert_settled()


def test_a_second_run_at_the_same_time_is_refused(half):
    (half.folder / "results/report/index.html").unlink()
    lease = half.folder / ".snakemake/leases/run.json"
    lease.unlink()  # it came with the copy, of an earlier run
    first = half.start("snakemake", "--cores", "1")
    first.wait_for(lease.exists)
    with first.paused():
        message = half.snakemake(status=1)
        half.snakemake("-n")  # planning disturbs nobody
    assert f"another run is at work in this folder (process {first.process.pid}); wait for it, or end it" in message
    assert "Traceback" not in message
    first.finish()
    half.assert_settled()


@pytest.mark.slow
def test_a_comment_redoes_nothing_and_both_engines_are_settled_again(half):
    path = half.folder / "read/adapters/recurrent_cache.py"
    path.write_text(f"# A comment.\n\n{path.read_text()}")
    assert "code" in json.loads(half.dvc("status", "--json"))
    assert "Nothing to be done" in half.snakemake()
    half.assert_settled()
