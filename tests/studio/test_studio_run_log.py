"""What a run of the pipeline prints, as far as the studio tells of it."""

import pytest

from read.studio.run_log import RunLog

BEGIN = """\
Using workflow specific profile profiles/default for setting default command line arguments.
16 jobs: 1 annotations, 2 download_shard, 1 download, 3 extract_shard, 6 train_run, 1 train, 1 evaluate, 1 record
 1/16  annotations mine                                                 1.6 s
 2/16  download_shard mine 000                                          0.4 s
 3/16  download_shard mine 001                                          0.6 s
 4/16  download mine                                                    0.3 s
 5/16  extract_shard mine 000                                    2 min 05 s
 6/16  train_run grounding read k2 s0                            1 h 02 min
"""
FAILED = """\
RuleException:
CalledProcessError in file "/w/pipeline/rules/train.smk", line 28:
Command 'set -euo pipefail; python -m pipeline.stages.train' returned non-zero exit status 1.
[Thu Nov 26 20:03:54 2026]
Error in rule train_run:
    jobid: 22
    log: logs/train/read.log (check log file(s) for error details)
Logfile logs/train/read.log:
================================================================================
{said}
================================================================================
Exiting because a job execution failed. Look above for error messages
WorkflowError:
At least one job did not complete successfully.
"""
REFUSED = """\
WorkflowError in file "/w/pipeline/rules/common.smk", line 41:
params.yaml: domain: is None, but protocol is transfer; it is what transfer adapts to
params.yaml: source: is 'montage_source'
  File "/w/pipeline/rules/common.smk", line 41, in <module>
"""
END = "".join(f"{number:>2}/16  {rule} mine  1.0 s\n" for number, rule in enumerate(
    ["extract_shard"] * 2 + ["train_run"] * 5 + ["train", "evaluate", "record"], 7
))  # fmt: skip


def test_jobs_are_counted_by_stage_with_their_times():
    log = RunLog.read(BEGIN)
    assert (log.done, log.totals.total(), log.complete, log.failed) == (6, 16, False, False)
    assert log.seconds["extract_shard"] == [125.0] and log.seconds["train_run"] == [3720.0]
    stages = {row["name"]: row for row in log.stages(["train grounding read shots 2 seed 1"])}
    assert stages["download"] == {"name": "download", "done": 4, "total": 4, "state": "done"}
    assert stages["extract"] == {"name": "extract", "done": 1, "total": 3, "state": "waiting"}
    assert stages["train"] == {"name": "train", "done": 1, "total": 7, "state": "running"}
    assert stages["encoders"] == {"name": "encoders", "done": 0, "total": 0, "state": "done"}
    assert RunLog.read(BEGIN + END).complete


def test_before_jobs_are_counted_nothing_is_told():
    log = RunLog.read("Using workflow specific profile\n")
    assert log.stages([]) == [] and not log.complete and log.left(3.0, {}) is None


def test_the_time_left_is_that_of_the_same_rules_jobs_by_how_many_ran_at_once():
    text = "5 jobs: 4 train_run, 1 report\n1/5  train_run read k2 s0  6.0 s\n2/5  train_run read k2 s1  10.0 s\n"
    log = RunLog.read(text)
    assert log.left(16.0, {}) == pytest.approx(2 * 8 + 8)  # two of 8 s, one of an unknown rule, one after the other
    assert log.left(8.0, {"report": 4.0}) == pytest.approx((2 * 8 + 4) / 2)  # 16 s of work in 8 s: two at once
    assert RunLog.read("9 jobs: 1 split, 8 train_run\n1/9  split grounding  1.0 s\n").left(1.0, {}) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FAILED.format(said="some lines\nerror: mine: walk.mp4\n  is empty"), "mine: walk.mp4\n  is empty"),
        (
            FAILED.format(said="Traceback (most recent call last):\n  File x\nRuntimeError: 7 is odd\n"),
            "train_run failed: RuntimeError: 7 is odd (all that it said is in logs/train/read.log)",
        ),
        (
            REFUSED,
            "params.yaml: domain: is None, but protocol is transfer; it is what transfer adapts to "
            "params.yaml: source: is 'montage_source'",
        ),
        (
            "Error in rule encoder:\nLogfile logs/encoder/clip.log: empty file\nWorkflowError:\nAt least one job",
            "encoder failed without a word, as a job does that is killed, or for which there is no memory",
        ),
        ("/usr/bin/python: No module named snakemake\n", "/usr/bin/python: No module named snakemake"),
        ("", "the run ended before it said anything"),
    ],
)
def test_the_reason_is_the_pipelines_own(text, reason):
    assert RunLog.read(text).reason() == reason


def test_a_failed_stage_is_marked_and_none_of_a_run_that_was_stopped():
    states = {row["name"]: row["state"] for row in RunLog.read(BEGIN + FAILED.format(said="error: x")).stages([])}
    assert states["train"] == "failed" and states["download"] == "done" and states["evaluate"] == "waiting"
    stopped = RunLog.read(BEGIN + "\nstopped; run again to go on\n" + FAILED.format(said=""))
    assert stopped.stopped and "failed" not in {row["state"] for row in stopped.stages([])}


def test_nothing_to_do_is_done():
    log = RunLog.read("Nothing to be done (all requested files are present and up to date).\n")
    assert log.complete and {row["state"] for row in log.stages([])} == {"done"}
