"""What a run shows: a line a job, the time left, the main result; and warnings and errors as ever."""

import io
import logging
from types import SimpleNamespace

import pytest

from pipeline import terminal
from pipeline.terminal import Progress, results_text, show_progress, show_results
from read.files import read_json, write_json


@pytest.fixture
def progress(tmp_path, monkeypatch) -> Progress:
    monkeypatch.chdir(tmp_path)
    clock = iter(range(1000))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    return Progress(logging.StreamHandler(io.StringIO()))


def tell(handler: Progress, event: str | None, level: int = logging.INFO, message: str = "", **extra) -> None:
    record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    record.__dict__.update(extra | ({"event": event} if event else {}))
    handler.emit(record)


def run_jobs(handler: Progress, jobs: list[tuple[str, dict]]) -> None:
    for number, (rule, wildcards) in enumerate(jobs):
        tell(handler, "job_info", jobid=number, rule_name=rule, wildcards=wildcards)
        tell(handler, "shellcmd", message="python -m pipeline.stages.train")
        tell(handler, "job_finished", job_id=number)
        tell(handler, "progress", done=number, total=len(jobs))


def test_a_line_for_each_finished_job(progress, capsys):
    tell(progress, "run_info", stats={"train_run": 2, "report": 1, "all": 1, "total": 4})
    run_jobs(progress, [("train_run", {"task": "grounding", "shots": "32", "seed": "0"}), ("report", {}), ("all", {})])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "3 jobs: 2 train_run, 1 report"
    assert [line.split() for line in lines[1:]] == [
        ["1/3", "train_run", "grounding", "k32", "s0", "1.0", "s"],
        ["2/3", "report", "1.0", "s"],
    ]


def test_warnings_errors_and_nothing_to_be_done_are_shown_and_no_other_words(progress, capsys):
    tell(progress, None, message="Building DAG of jobs...")
    tell(progress, None, logging.WARNING, "disk almost full")
    tell(progress, "job_error", logging.ERROR, "Error in rule train")
    tell(progress, None, message="Nothing to be done (all requested files are present and up to date).")
    text = capsys.readouterr().err
    assert "Building" not in text
    assert all(words in text for words in ("disk almost full", "Error in rule train", "Nothing to be done"))


def test_what_a_cluster_refuses_is_told_once_in_its_own_words(progress, capsys):
    message = (
        "SLURM sbatch failed. The error message was 'sbatch: error: Memory specification can not be satisfied\n"
        "sbatch: error: Batch job submission failed: Requested node configuration is not available'.\n"
        "    sbatch call:\n        sbatch --parsable --wrap='python -m snakemake'\n"
    )
    for _ in range(2):  # each try
        tell(progress, "job_error", logging.ERROR, "Error in rule encoder", rule_name="encoder", rule_msg=message)
    assert capsys.readouterr().err.splitlines() == [
        "encoder: the cluster refuses what its jobs ask for: Memory specification can not be satisfied; "
        "Batch job submission failed: Requested node configuration is not available",
        "Name another partition or account in the profile, or ask for less: --set-resources encoder:...",
    ]


def test_time_left_follows_this_run_and_earlier_ones(progress):
    tell(progress, "run_info", stats={"train_run": 3, "total": 3})
    assert progress._time_left() == ""  # nothing is known yet
    progress.seconds["train_run"], progress.left["train_run"] = [10.0], 2
    assert progress._time_left() == "about 2.0 s left"  # 10 s of work in 1 s: ten at once; 20 s are left
    progress.close()
    assert read_json(terminal.PAST) == {"train_run": 10.0}
    assert Progress(logging.StreamHandler(io.StringIO())).past == {"train_run": 10.0}


def test_a_damaged_record_of_times_is_forgotten(progress):
    terminal.PAST.parent.mkdir()
    for text in ("{", "[1]", '{"train": "x"}'):
        terminal.PAST.write_text(text)
        assert Progress(logging.StreamHandler(io.StringIO())).past == {}


@pytest.mark.parametrize("more", ["verbose", "printshellcmds", "quiet", "dryrun"])
def test_who_asks_for_snakemakes_own_words_gets_them(more):
    logger, plain = logging.Logger("x"), logging.StreamHandler()
    plain.name = "DefaultStreamHandler"
    logger.addHandler(plain)
    settings = {"verbose": False, "printshellcmds": False, "quiet": None, "dryrun": False}
    workflow = SimpleNamespace(
        output_settings=SimpleNamespace(**settings | {more: True}),
        is_main_process=True,
        logger_manager=SimpleNamespace(logger=logger),
    )
    show_progress(workflow)
    assert logger.handlers == [plain]
    setattr(workflow.output_settings, more, False)
    show_progress(workflow)
    assert [type(handler) for handler in logger.handlers] == [Progress]


def test_results_are_ranked_by_their_first_metric_and_the_report_is_named(tmp_path):
    write_json(tmp_path / "metrics/grounding/read-k8.json", {"mAP": 30.0, "mAP std": 1.25, "AP": 1.0})
    write_json(tmp_path / "metrics/grounding/random.json", {"mAP": 3.7, "AP": 9.0})
    lines = [line.split() for line in results_text(tmp_path).splitlines() if line]
    assert lines[:3] == [["grounding,", "mAP"], ["random", "3.7"], ["read-k8", "30.0", "±", "1.2"]]
    assert lines[3] == ["The", "report:", (tmp_path / "index.html").as_uri()]


def test_rows_that_look_wrong_are_told_of(tmp_path):
    write_json(tmp_path / "metrics/grounding/random.json", {"mAP": 3.7})
    assert "arnings" not in results_text(tmp_path)
    write_json(tmp_path / "metrics/grounding/read-k8.json", {"mAP": 30.0, "warnings": 2})
    text = results_text(tmp_path)
    assert "read-k8   30.0  warnings: 2" in text and text.count("warnings: ") == 1
    assert "What the warnings are stands in the report" in text


def test_results_are_told_only_where_the_report_was_made(progress, monkeypatch, capsys):
    monkeypatch.setattr(terminal, "results_text", lambda folder: "results")
    settings = SimpleNamespace(default_storage_provider=None, default_storage_prefix="s3://bucket/runs")
    logged = SimpleNamespace(logger=SimpleNamespace(handlers=[progress]))
    workflow = SimpleNamespace(logger_manager=logged, storage_settings=settings)
    run_jobs(progress, [("train", {})])
    show_results(workflow)
    assert "results" not in capsys.readouterr().err
    run_jobs(progress, [("report", {})])
    show_results(workflow)
    assert capsys.readouterr().err.endswith("results\n")
    settings.default_storage_provider = "s3"
    show_results(workflow)
    assert capsys.readouterr().err.endswith("The report: s3://bucket/runs/results/report/index.html\n")
