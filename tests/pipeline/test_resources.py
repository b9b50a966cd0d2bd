"""What jobs ask for: by sizes and attempts; GPUs only where they are used."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from snakemake.resources import Resource, Resources

from benchmarks.tiny import ROOT
from pipeline.params import Machine, load_params
from pipeline.resources import (
    BASE,
    DECODERS,
    STARTS,
    THREAD,
    decoders,
    free_threads,
    gpus,
    memory,
    minutes,
    shard_memory,
    shard_minutes,
    training_minutes,
)

ON_GPUS = {
    "encoder",
    "extract_shard",
    "extract_text",
    "pretrain_grounding",
    "pretrain_summarization",
    "train_run",
    "evaluate_runs",
    "references",
    "linear_map",
}
COLLECT = {"download", "encoders", "extract", "train", "evaluate", "record", "transcribe", "all"}
JOB = re.compile(r"^rule (\w+):\n((?:    .*\n)+)", re.MULTILINE)


def _workflow(limit=None, cores=None, local=True, main=True):
    """A workflow of a class of its own, whose graph is built by telling its cores."""
    kind = type("Workflow", (SimpleNamespace,), {"_prepare_dag": lambda self: self.resource_settings.cores})
    limits = Resources({"gpu": Resource("gpu", limit), "_cores": Resource("_cores", cores)})
    settings = SimpleNamespace(cores=cores)
    return kind(
        global_resources=limits, resource_settings=settings, cores=cores, local_exec=local, is_main_process=main
    )


@pytest.fixture
def files(tmp_path):
    """Makes files of some MB, sparse, and gives their paths."""

    def make(sizes):
        for name, size in sizes.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            with (tmp_path / name).open("wb") as file:
                file.truncate(round(size * 2**20))
        return [str(tmp_path / name) for name in sizes]

    return make


@pytest.mark.parametrize(
    ("device", "limit", "asked"),
    [("cpu", None, None), ("cpu", 8, None), ("auto", None, None), ("auto", 0, None), ("auto", 8, 1), ("cuda", None, 1)],
)
def test_a_gpu_is_asked_for_where_it_is_used(device, limit, asked):
    assert gpus(Machine(device=device), _workflow(limit)) == asked


@pytest.mark.parametrize(("cores", "jobs", "threads"), [(2, 8, 1), (16, 8, 2), (64, 8, 8), (64, 1, DECODERS)])
def test_extractions_share_the_cores_of_a_machine(cores, jobs, threads):
    assert decoders(_workflow(cores=cores), jobs)(None) == threads


def test_on_a_cluster_extractions_share_nothing():
    assert decoders(_workflow(cores=2, local=False), 8)(None) == DECODERS
    assert decoders(_workflow(cores=2, main=False), 8)(None) == DECODERS  # as the job itself counts them on its node


@pytest.mark.parametrize(("local", "main", "cores"), [(True, True, 2), (False, True, None), (False, False, 2)])
def test_a_clusters_threads_are_not_bound_by_the_cores_of_this_machine(local, main, cores):
    workflow = _workflow(cores=2, local=local, main=main)
    free_threads(workflow)
    assert workflow._prepare_dag() == workflow.global_resources["_cores"].value == cores


def test_memory_grows_with_weights_and_labels_and_not_with_features(files):
    weights = {"models/backbone/grounding/model.safetensors": 100.0}
    more = weights | {"data/features/a/000.safetensors": 5000.0, "models/adapters/a/k32-s0/adapter.safetensors": 90.0}
    assert memory(None, [], 1) == memory(None, ["not/made/yet.jsonl"], 1) == BASE
    assert memory(None, files(weights), 1) == memory(None, files(more), 1) == BASE + 800
    assert memory(None, files({"data/raw/a/annotations.jsonl": 100.0}), 1) == BASE + 1200
    assert shard_memory(None, files(weights), 2, 8) == 2 * (BASE + 800 + THREAD * 8)


def test_another_attempt_asks_for_twice_as_much(files):
    inputs = files({"data/raw/a/annotations.jsonl": 1.0})
    assert [memory(None, inputs, attempt) for attempt in (1, 2, 3)] == [BASE + 12, 2 * BASE + 24, 4 * BASE + 48]
    assert [minutes(10)(None, attempt=attempt) for attempt in (1, 2)] == [STARTS + 10, 2 * STARTS + 20]


def test_time_grows_with_videos_and_steps(files):
    list_of_2500 = files({"data/raw/a/shards/000.json": 2500 * 200 / 2**20, "model.safetensors": 1.0})
    assert shard_minutes(None, list_of_2500, 1) == STARTS + 2500
    params = load_params(ROOT / "params.yaml")
    params.train.grounding.steps, params.train.grounding.folds = 600, 2
    params.train.grounding.learning_rates = [0.1, 0.2]
    assert training_minutes(params, "grounding", "train")(None, attempt=1) == STARTS + 60
    params.pretrain.grounding.steps = 600
    assert training_minutes(params, "grounding", "pretrain")(None, attempt=1) == STARTS + 10


def test_every_rule_says_what_it_needs_or_runs_where_the_run_does():
    texts = [path.read_text() for path in (ROOT / "Snakefile", *(ROOT / "pipeline/rules").glob("*.smk"))]
    rules = [rule for text in texts for rule in re.split(r"^ *rule\b", text, flags=re.MULTILINE)[1:]]
    assert len(rules) > len(COLLECT)
    for rule in rules:
        says = "mem_mb=" in rule and "runtime=" in rule
        assert says != ("localrule: True" in rule), rule


def test_a_plan_has_a_gpu_for_each_job_that_can_use_one():
    plan = [sys.executable, "-m", "snakemake", "-n", "--forceall", "--cores", "16", "--resources", "gpu=1"]
    said = subprocess.run(plan, cwd=ROOT, capture_output=True, text=True)
    jobs = dict(JOB.findall(said.stdout + said.stderr))
    assert len(jobs) > len(ON_GPUS | COLLECT), said.stderr
    assert {rule for rule, text in jobs.items() if "mem_mb=" not in text} == COLLECT
    assert {rule for rule, text in jobs.items() if "gpu=1" in text} == ON_GPUS
    assert {rule for rule, text in jobs.items() if "threads: " in text} == {"extract_shard"}
