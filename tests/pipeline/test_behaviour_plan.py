"""What a job depends on: after an edit both engines plan what its result depends on, and nothing else."""

import json

import pytest

from benchmarks.tiny import STAGE_OF

# Snakemake's jobs in a project of two strategies, one seed and two shards, from the end to the beginning.
REST = {"report": 1, "record": 1}
LISTED = {"train": 2, "evaluate": 2, **REST}
ONE_STRATEGY = {"train_run": 2, "evaluate_runs": 2, **LISTED}
RUNS = {"train_run": 4, "evaluate_runs": 4, **LISTED}
SPLIT = {"split": 2, "references": 2, "linear_map": 1, **RUNS}
FEATURES = {"extract_shard": 4, "extract_text": 2, "extract": 2, "pretrain_grounding": 1, "pretrain_summarization": 1}
ENCODERS = {"encoder": 2, "encoders": 1, **FEATURES, **SPLIT}
ALL = {"annotations": 2, "download_shard": 4, "download": 2, "transcribe": 2, **ENCODERS}
OF_TASK = {"train_run": 2, "train": 1, "evaluate_runs": 2, "evaluate": 1, **REST}
SUMMARIES = {"pretrain_summarization": 1, "references": 1, **OF_TASK}

# What is edited -> those that run.
PARAMS = [
    ("download.tolerance", 0.5, {}),
    ("encoders.clip.seed", 1, ENCODERS | {"encoder": 1}),
    ("transcribe.model", "tiny", {"transcribe_shard": 4, "transcribe": 2, "split": 1, **SUMMARIES}),
    ("split.val_share", 0.5, SPLIT),
    ("runs.seeds", [0, 1], SPLIT | {"train_run": 8}),
    ("backbone.grounding", "moment_detr", {"pretrain_grounding": 1, "references": 1, "linear_map": 1, **OF_TASK}),
    ("pretrain.summarization.steps", 7, SUMMARIES),
    ("train.summarization.steps", 1, OF_TASK),
    ("strategies.read", {"bottleneck": 4}, ONE_STRATEGY),
    ("strategies.bias", {}, ONE_STRATEGY),
    ("evaluate.summarization.random_draws", 3, {"evaluate_runs": 2, "references": 1, "evaluate": 1, **REST}),
    ("report.examples", 0, REST),
]
CODE = [
    ("read/adapters/strategies/read.py", "CHANGED = 1", ONE_STRATEGY),
    ("read/metrics/meteor.py", "CHANGED = 1", SUMMARIES),
    ("pipeline/stages/train.py", "CHANGED = 1", RUNS),
    ("read/files.py", "CHANGED = 1", ALL),
]
UNUSED_PARAMS = {
    "machine.retries": 1,
    "machine.timeout": 3.0,
    "machine.mirror": "/",
    "machine.batch_size": 7,
    "machine.device": "cpu",
    "machine.processes": 2,
    "machine.precision": "bf16",
    "machine.gradient_checkpointing": True,
}
UNUSED_CODE = {
    "read/adapters/recurrent_cache.py": "# a comment",
    "read/adapters/strategies/mine.py": "STRATEGY = 1",
    "read/backbones/grounding/umt.py": "CHANGED = 1",
    "read/encoders/cut.py": "CHANGED = 1",
}


@pytest.fixture
def project(planning):
    """The shared project, as it was, after each test."""
    names = ("params.yaml", "dvc.lock", "code.yaml", *(name for name, *_ in CODE), *UNUSED_CODE)
    contents = {planning.folder / name: None for name in names}
    contents |= {file: file.read_bytes() for file in contents if file.exists()}
    yield planning
    for file, content in contents.items():
        if content is None:
            file.unlink(missing_ok=True)
        elif file.read_bytes() != content:
            file.write_bytes(content)


def check(project, jobs: dict[str, int]) -> None:
    """Snakemake plans these jobs, and DVC the stages that they are of."""
    assert project.planned_jobs() == jobs
    project.run("python", "-m", "pipeline.code")  # DVC's first stage, by which it knows what to run
    changed = {name.partition("@")[0] for name in json.loads(project.dvc("status", "--json"))} - {"code"}
    assert project.downstream(changed) == {STAGE_OF.get(rule, rule) for rule in jobs} - {"record"}


def append(project, file: str, line: str) -> None:
    path = project.folder / file
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")


@pytest.mark.slow
def test_nothing_after_a_complete_run(project):
    project.assert_settled()
    assert "Running stage" not in project.dvc("repro", "--dry")


@pytest.mark.slow
@pytest.mark.parametrize(("key", "value", "jobs"), PARAMS, ids=[key for key, *_ in PARAMS])
def test_one_key_of_the_params(project, key, value, jobs):
    project.edit({key: value})
    check(project, jobs)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "line", "jobs"), CODE, ids=[file for file, *_ in CODE])
def test_code(project, file, line, jobs):
    append(project, file, line)
    check(project, jobs)


@pytest.mark.slow
def test_what_no_result_depends_on(project):
    """All at once: a job that depended on one of them would be among those planned."""
    project.edit(UNUSED_PARAMS)
    for file, line in UNUSED_CODE.items():
        append(project, file, line)
    check(project, {})


@pytest.mark.slow
def test_another_dataset_leaves_what_is_learned_from_the_source(project):
    project.edit({"dataset": "tvsum"})  # whose labels and features have layouts of their own
    of_it = {"annotations": 1, "download_shard": 2, "download": 1, "transcribe": 1}
    of_it |= {"extract_shard": 2, "extract_text": 1, "extract": 1}
    assert project.planned_jobs() == {**of_it, **SPLIT}
    project.run("python", "-m", "pipeline.code")
    changed = json.loads(project.dvc("status", "--json")).keys()
    assert {"download@tvsum", "extract@tvsum", "split@grounding"} <= changed
    assert not [name for name in changed if name.startswith(("encoders", "pretrain")) or "@montage_source" in name]


@pytest.mark.slow
def test_transfer_reads_one_dataset_only(project):
    project.edit({"source": "montage", "protocol": "transfer", "domain": "move"})
    jobs = project.planned_jobs()
    assert jobs["pretrain_grounding"] == 1 and "download" not in jobs  # the dataset's own videos are there
    project.edit({"protocol": "honest", "domain": None})
    assert "pretraining would see the test videos" in project.snakemake("-n", status=1)


@pytest.mark.slow
def test_a_task_fewer_needs_no_work_but_the_report(project):
    project.edit({"task": ["grounding"]})
    assert project.planned_stages() == {"report"}


@pytest.mark.slow
def test_a_plan_on_one_screen_says_why(project):
    project.edit({"strategies.read": {"bottleneck": 4}})
    lines = project.run("python", "-m", "pipeline.plan").splitlines()
    assert lines[0] == "10 jobs would run:" and len(lines) <= 30
    assert "    2 train_run      strategies.read.bottleneck nothing -> 4" in lines
