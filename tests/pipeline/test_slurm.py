"""The tiny configuration on a real Slurm on this machine: what runs, what is ended, and what is refused."""

import importlib.util
import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.tiny import Project, make_project
from tests.slurm import is_here, slurm

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(not is_here(), reason="no Slurm is installed"),
    pytest.mark.skipif(not importlib.util.find_spec("snakemake_executor_plugin_slurm"), reason="make cluster"),
]
ONE_TASK = {"task": ["grounding"], "download.shards": 1, "strategies": {"read": {}}}
# The executor looks after its jobs ever more seldom; here each second.
HASTE = """
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1.0, lambda self, seconds: None)
from snakemake.cli import main
main()
"""
COMMAND = [sys.executable, "-c", HASTE, "--profile", "profiles/slurm"]
ONCE = ("annotations", "download_shard", "split", "references", "linear_map", "train_run", "evaluate_runs", "report")
THERE = Counter({"extract_shard": 2, "extract_text": 2, "pretrain_grounding": 2} | dict.fromkeys(ONCE, 1))
LABELS = "data/raw/montage/annotations.jsonl"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    with slurm(tmp_path_factory.mktemp("slurm")) as config:
        yield config


@pytest.fixture
def project(tmp_path, config) -> Project:
    project = make_project(tmp_path / "project")
    project.edit(ONE_TASK)
    path = f"{config.parent}/bin{os.pathsep}{project.environment['PATH']}"
    project.environment |= {"SLURM_CONF": str(config), "PATH": path}
    return project


def jobs(project: Project) -> list[list[str]]:
    """Rule, state, memory, cores and GPUs of each job that Slurm had of a project, in order."""
    command = ["squeue", "--states=all", "--noheader", "--sort=i", "--format=%k|%T|%m|%C|%b|%Z"]
    lines = [line.split("|") for line in project.run(*command).splitlines()]
    return [
        [comment.removeprefix("rule_").partition("_wildcards")[0], *rest]
        for comment, *rest, folder in lines
        if Path(folder) == project.folder
    ]


def test_a_run_that_began_here_finishes_there_though_a_job_is_cancelled(project):
    project.run(sys.executable, "-m", "snakemake", "--cores", "2", "models/encoders")
    running = project.start(*COMMAND)

    def pretraining() -> str:
        time.sleep(0.5)
        found = project.run("squeue", "--states=running", "--noheader", "--format=%i %k").splitlines()
        return next((line.split()[0] for line in found if line.endswith("rule_pretrain_grounding")), "")

    try:
        running.wait_for(pretraining, 600)
        project.run("scancel", pretraining())
        assert "CANCELLED" in running.finish()
    except BaseException:
        running.kill()
        raise
    project.assert_settled()
    had = jobs(project)
    assert Counter(rule for rule, *_ in had) == THERE
    assert [rule for rule, state, *_ in had if state == "CANCELLED"] == ["pretrain_grounding"]
    assert {state for _, state, *_ in had} == {"COMPLETED", "CANCELLED"}
    assert {gpus for *_, gpus in had} == {"N/A"}
    assert {rule: cores for rule, _, _, cores, _ in had if cores != "1"} == {"extract_shard": "8"}
    assert all(memory.endswith("M") and int(memory[:-1]) >= 2000 for _, _, memory, *_ in had)


def test_a_job_that_is_ended_for_its_memory_has_twice_as_much(project):
    resources = project.folder / "pipeline/resources.py"
    text = resources.read_text()
    resources.write_text(text.replace("BASE = 2000", "BASE = 160"))
    assert resources.read_text() != text
    project.run(*COMMAND, LABELS)
    first, second = jobs(project)
    assert (first[1] in ("FAILED", "OUT_OF_MEMORY", "CANCELLED"), first[2]) == (True, "160M")
    assert second[:3] == ["annotations", "COMPLETED", "320M"]


def test_what_is_refused_is_told_once(project):
    said = project.run(*COMMAND, "--set-resources", "annotations:slurm_partition=nowhere", "--", LABELS, status=1)
    assert said.count("the cluster refuses") == 1
    assert "annotations: the cluster refuses what its jobs ask for: invalid partition specified: nowhere" in said
    assert "sbatch --parsable" not in said
