"""A run that is killed at any moment is finished by the next; nothing half-written is taken as done."""

import random
import signal
import time

import pytest

from benchmarks.chaos import disturb

pytestmark = pytest.mark.slow


def killed_during(project, log: str, delay: float = 0.0, until=None) -> None:
    """Start a run and kill it, with all that it started, some seconds after a job has begun."""
    file = project.folder / log
    file.unlink(missing_ok=True)
    run = project.start("snakemake", "--cores", "2")
    run.wait_for(file.exists)
    if until is not None:
        run.wait_for(until)
    time.sleep(delay)
    assert run.process.poll() is None, "the run ended before it could be killed"
    run.kill()


def test_kill_nine_during_extract_train_and_record(half):
    folder = half.folder
    shard = folder / "data/features/montage/000.safetensors"
    run = folder / "models/adapters/montage/grounding/read/k2-s0"
    lock = (folder / "dvc.lock").read_text()
    half.edit({"train.grounding.steps": 3})

    shard.unlink()
    killed_during(half, "logs/extract/montage/000.log", delay=1.0)
    assert not shard.exists()
    drafts = [shard.parent / ".000.safetensors.x.part", run.parents[1] / ".runs.json.x.part"]
    for draft in drafts:  # what a writer leaves that is killed at its last byte
        draft.mkdir()
        (draft / "half").write_bytes(b"half")

    killed_during(half, "logs/train/grounding/read/k2-s0.log", delay=0.5)
    assert shard.exists()
    assert not run.is_dir() or not (run / "run.json").exists() or half.planned_jobs().get("train_run") == 1

    killed_during(half, "logs/record.log")
    killed_during(half, "logs/record.log", delay=0.7)
    assert half.json("models/adapters/montage/grounding/read/k2-s0/run.json")["steps"] == 3

    half.snakemake()
    half.assert_settled()
    assert (folder / "dvc.lock").read_text() != lock
    assert not [draft for draft in drafts if draft.exists()]
    assert not list(folder.glob("[dmr]*/**/*.part"))


def test_runs_disturbed_at_random_come_to_the_end_of_an_undisturbed_one(_repro, tmp_path):
    wanted = [("snakemake", signal.SIGKILL), ("job", signal.SIGKILL), ("dvc", signal.SIGKILL)]
    found = disturb(tmp_path, wanted, 1, random.Random(0), _repro, seconds=22.0)
    assert found["survived"] == 1, found["differs"]
    assert len(found["events"]) == 3


def test_what_a_killed_dvc_left_half_written_is_mended(half):
    lock = half.folder / "dvc.lock"
    before = lock.read_text()
    (half.folder / ".snakemake/dvc.lock.before").write_text(before)  # as `record` leaves it when it is killed
    lock.write_text(before[: len(before) // 2])
    (half.folder / ".dvc/tmp/rwlock").write_text("")
    half.snakemake()
    half.assert_settled()
    assert lock.read_text() == before

    lock.write_text("stages: {")  # by a DVC that no run has started
    assert "git checkout dvc.lock" in half.snakemake(status=1)
