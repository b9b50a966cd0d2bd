"""What both engines plan after a change: the same stages, and only those that depend on it."""

import json

import pytest

ALL = ["download", "encoders", "extract", "split", "pretrain", "train", "evaluate", "report"]


@pytest.fixture
def project(planning):
    """The shared project, as it was, after each test."""
    files = [planning.folder / name for name in ("params.yaml", "read/transport/exact.py", "pipeline/stages/train.py")]
    contents = [file.read_bytes() for file in files]
    yield planning
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)


@pytest.mark.slow
def test_nothing_after_a_complete_run(project):
    project.assert_settled()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("download.retries", 1, ALL),
        ("encoders.clip.seed", 1, ALL[1:]),
        ("split.val_share", 0.5, ["split", "train", "evaluate", "report"]),
        ("runs.seeds", [0, 1], ["split", "train", "evaluate", "report"]),
        ("backbone.grounding", "moment_detr", ["pretrain", "train", "evaluate", "report"]),
        ("pretrain.grounding.steps", 7, ["pretrain", "train", "evaluate", "report"]),
        ("train.summarization.steps", 1, ["train", "evaluate", "report"]),
        ("strategies.bias", {}, ["train", "evaluate", "report"]),
        ("evaluate.summarization.random_draws", 3, ["evaluate", "report"]),
        ("report.examples", 0, ["report"]),
    ],
)
def test_one_key_of_the_params(project, key, value, stages):
    project.edit({key: value})
    assert project.planned_stages() == set(stages)
    changed = project.changed_stages()
    assert stages[0] in changed
    assert project.downstream(changed) == set(stages)


@pytest.mark.slow
def test_transfer_reads_one_dataset_only(project):
    project.edit({"source": "montage", "protocol": "transfer", "domain": "move"})
    jobs = project.planned_jobs()
    assert jobs["pretrain_grounding"] == 1 and "download" not in jobs  # the dataset's own videos are there
    project.edit({"protocol": "honest", "domain": None})
    assert "pretraining would see the test videos" in project.snakemake("-n", status=1)


@pytest.mark.slow
def test_a_new_strategy_trains_alone_once_a_task(project):
    project.edit({"strategies.bias": {}})
    jobs = project.planned_jobs()
    assert (jobs["train_run"], jobs["evaluate_runs"]) == (2, 2)


@pytest.mark.slow
def test_a_key_of_one_task_leaves_the_other_alone(project):
    project.edit({"pretrain.summarization.steps": 7, "train.summarization.steps": 1})
    jobs = project.planned_jobs()
    assert jobs["pretrain_summarization"] == 1 and "pretrain_grounding" not in jobs
    assert (jobs["train_run"], jobs["evaluate_runs"]) == (2, 2)  # the runs of two strategies
    status = json.loads(project.dvc("status", "--json"))
    assert {name for name in status if name.endswith("@grounding")} == set()


@pytest.mark.slow
def test_a_task_fewer_needs_no_work_but_the_report(project):
    project.edit({"task": ["grounding"]})
    assert project.planned_stages() == {"report"}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["read/transport/exact.py", "pipeline/stages/train.py"])
def test_code_of_one_stage(project, file):
    with (project.folder / file).open("a") as code:
        code.write("\n# changed\n")
    assert project.planned_stages() == {"train", "evaluate", "report"}
    changed = project.changed_stages()
    assert "train" in changed
    assert project.downstream(changed) == {"train", "evaluate", "report"}
