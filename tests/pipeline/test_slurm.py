"""The tiny configuration on a real Slurm on this machine: what runs, what is ended, and what is refused."""

import importlib.util
import os
import sys
import time

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


def jobs(project: Project) -> list[tuple[str, str, str, str, str]]:
    """Rule, state, memory, cores and GPUs of each job that Slurm had, in order."""
    command = ["squeue", "--states=all", "--noheader", "--sort=i", "--format=%k|%T|%m|%C|%b"]
    lines = [line.split("|") for line in project.run(*command).splitlines()]
    return [(comment.removeprefix("rule_").partition("_wildcards")[0], *rest) for comment, *rest in lines]


def test_a_run_finishes_though_a_job_is_cancelled(project):
    running = project.start(*COMMAND)

    def encoder() -> str:
        time.sleep(0.5)
        found = project.run("squeue", "--states=running", "--noheader", "--format=%i %k").splitlines()
        return next((line.split()[0] for line in found if "rule_encoder_wildcards_clip" in line), "")

    try:
        running.wait_for(encoder, 600)
        project.run("scancel", encoder())
        said = running.finish()
    except BaseException:
        running.kill()
        raise
    assert "CANCELLED" in said
    project.assert_settled()
    had = jobs(project)
    assert [state for rule, state, *_ in had if rule == "encoder"].count("CANCELLED") == 1
    assert [state for _, state, *_ in had].count("COMPLETED") == len(had) - 1
    assert {gpus for *_, gpus in had} == {"N/A"}
    assert {cores for rule, _, _, cores, _ in had if rule == "extract_shard"} == {"8"}
    assert all(memory.endswith("M") and int(memory[:-1]) >= 2000 for _, _, memory, *_ in had)


def test_a_job_that_is_ended_for_its_memory_has_twice_as_much(project):
    resources = project.folder / "pipeline/resources.py"
    text = resources.read_text()
    resources.write_text(text.replace("BASE = 2000", "BASE = 160"))
    assert resources.read_text() != text
    before = len(jobs(project))
    project.run(*COMMAND, LABELS)
    first, second = jobs(project)[before:]
    assert (first[1] in ("FAILED", "OUT_OF_MEMORY", "CANCELLED"), first[2]) == (True, "160M")
    assert second[:3] == ("annotations", "COMPLETED", "320M")


def test_what_is_refused_is_told_once(project):
    said = project.run(*COMMAND, "--set-resources", "annotations:slurm_partition=nowhere", "--", LABELS, status=1)
    assert said.count("the cluster refuses") == 1
    assert "annotations: the cluster refuses what its jobs ask for: invalid partition specified: nowhere" in said
    assert "sbatch --parsable" not in said
