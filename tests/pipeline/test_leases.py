"""Who works on what is known, on this machine and from another, after any kind of end."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.engine import aside, holders, leases, stopping
from pipeline.engine.holders import Lease
from pipeline.sources.base import exclusive
from read import processes
from read.errors import InputError
from read.files import atomic_path, machine

ROOT = Path(__file__).parents[2]
JOB = "train grounding read --shots 2 --seed 0"
PLACE = "train-grounding-read-shots-2-seed-0.json"
HOLD = """
import signal, sys, time
from pipeline.engine import leases
from pipeline.engine.stopping import end_with_run
leases.BEAT = 0.1
end_with_run()
leases.take(sys.argv[1])
signal.signal(signal.SIGTERM, leases.end)
print(flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(leases, "_ends", {})
    monkeypatch.setattr(leases, "PAUSE", 0.02)
    monkeypatch.delenv(holders.OF_RUN, raising=False)
    yield
    leases.release()


@pytest.fixture
def hold():
    """Start a process that holds a lease; wait until it does."""
    started = []

    def start(job: str = JOB, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, job],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def elsewhere(job: str = JOB, age: float = 0.0, **more: object) -> Path:
    """A lease of a process of another machine, touched some seconds ago."""
    lease = replace(Lease.own(job), host="node7", machine="0badcafe", pid=7, slurm="123", **more)
    place = leases._place(job)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(asdict(lease)))
    os.utime(place, (time.time() - age,) * 2)
    return place


def test_two_processes_of_one_job_are_one_too_many(hold):
    first = hold(SLURM_JOB_ID="123")
    second = hold()
    assert second.wait() == 1
    assert f"(process {first.pid}); wait for it, or end it: `scancel 123` ({JOB}" in second.stderr.read()
    with pytest.raises(InputError, match=f"process {first.pid}"):
        leases.take(JOB)
    assert leases.take("another job") and first.poll() is None


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_ends_leaves_the_way_free_at_once(hold, kind, monkeypatch):
    first = hold()
    first.send_signal(kind)
    assert first.wait() == -kind  # of a job that is cancelled its engine knows by what
    assert (leases.FOLDER / PLACE).exists() == (kind == signal.SIGKILL)
    with monkeypatch.context() as patch:
        patch.setattr(leases.time, "sleep", lambda _: pytest.fail("it was waited for"))
        leases.take(JOB)
    assert hold().wait() == 1


def test_a_lease_of_another_machine_lives_while_it_is_touched(monkeypatch, capsys):
    place = elsewhere(age=5.0)
    monkeypatch.setattr(leases.time, "sleep", lambda _: os.utime(place))
    with pytest.raises(InputError, match=r"process 7\).*`scancel 123` .* process 7 on node7, Slurm job 123"):
        leases.take(JOB)
    assert "waiting to see whether it still works" in capsys.readouterr().err


def test_a_lease_of_another_machine_is_over_when_it_is_touched_no_more(monkeypatch, capsys):
    elsewhere(age=leases.STALE + 1)
    leases.take(JOB)
    assert not capsys.readouterr().err
    leases.release()
    place, waits = elsewhere(age=1.0), []  # of a node that has just vanished
    monkeypatch.setattr(leases.time, "sleep", waits.append)
    monkeypatch.setattr(leases, "_now", lambda: place.stat().st_mtime_ns + int(1e9 + 40e9 * len(waits)))
    leases.take(JOB)
    assert "node7" in capsys.readouterr().err and hold_of(JOB).pid == os.getpid() and len(waits) == 3


def hold_of(job: str) -> Lease:
    return leases._parse(leases._place(job).read_text(), job)


def test_the_clock_that_counts_is_the_file_servers(monkeypatch):
    """A server an hour behind this machine, or ahead of it."""
    place = elsewhere()
    for shift in (-3600.0, 3600.0):
        now = time.time_ns() + int(shift * 1e9)
        monkeypatch.setattr(leases, "_now", lambda now=now: now)
        os.utime(place, ns=(now, now))
        assert [lease.host for _, lease, _ in leases._jobs()] == ["node7"]
        os.utime(place, ns=(now - int(121e9),) * 2)
        assert list(leases._jobs()) == [] and not place.exists()
        elsewhere()


def test_a_process_number_that_went_to_another_is_nobody():
    lease = replace(Lease.own(JOB), began=processes.birth(os.getpid()) - 60)
    leases.FOLDER.mkdir(parents=True)
    leases._place(JOB).write_text(json.dumps(asdict(lease)))
    leases.take(JOB)
    assert hold_of(JOB).began != lease.began


@pytest.mark.parametrize(("error", "alive"), [(PermissionError, True), (ProcessLookupError, False)])
def test_a_process_of_another_user_that_the_machine_hides_is_not_taken_for_dead(monkeypatch, error, alive):
    def refuse(*_):
        raise error

    monkeypatch.setattr(processes, "birth", lambda pid: None)
    monkeypatch.setattr(processes.os, "kill", refuse)
    assert processes.is_alive(7, 1.0) == alive


def test_who_lost_its_lease_ends(hold):
    process = hold()
    elsewhere()
    assert process.wait(90) == -signal.SIGKILL
    assert "went to another process; this one ends" in process.stderr.read() and hold_of(JOB).pid == 7


def test_a_lease_that_somebody_removed_is_written_again(hold):
    process = hold()
    text = leases._place(JOB).read_text()
    leases._place(JOB).unlink()
    until(lambda: leases._place(JOB).exists())
    assert leases._place(JOB).read_text() == text and process.poll() is None


def until(condition, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_links_or_locks_will_do(monkeypatch, hold, number):
    def refuse(*_):
        raise OSError(number, "not here")

    monkeypatch.setattr(leases.os, "link", refuse)
    monkeypatch.setattr("fcntl.flock", refuse)
    leases.take(leases.RUN)
    assert leases.is_running() and hold(leases.RUN).wait() == 1
    if number == errno.EPERM:
        return
    inside = []

    def enter(name: str) -> None:
        with exclusive(Path("a/lock")):
            inside.append(name)
            time.sleep(0.1)
            inside.append(name)

    users = [threading.Thread(target=enter, args=(name,)) for name in ("one", "two")]
    for user in users:
        user.start()
    for user in users:
        user.join(90)
    assert sorted(inside) == ["one", "one", "two", "two"] and inside[0] == inside[1]
    assert sorted(path.name for path in leases.FOLDER.iterdir()) == ["run.json"]


def test_half_a_lease_counts_by_its_time(capsys):
    place = elsewhere()
    place.write_text(place.read_text()[:20])
    assert [lease.host for _, lease, _ in leases._jobs()] == ["an unknown machine"]
    os.utime(place, (time.time() - leases.STALE - 1,) * 2)
    leases.take(JOB)


def test_a_run_waits_for_jobs_of_a_run_that_is_gone(hold, capsys, monkeypatch):
    """On another machine than the run's they go on, until they see that another run holds its lease."""
    place = elsewhere(leases.RUN, age=leases.STALE + 1)
    job = hold(READ_RUN=hold_of(leases.RUN).process)
    assert job.poll() is None
    job.send_signal(signal.SIGSTOP)
    leases.take(leases.RUN)
    assert place.read_text().count(machine())
    monkeypatch.setattr(leases.time, "sleep", lambda _: job.send_signal(signal.SIGCONT))  # as soon as it is waited for
    leases.wait_for_jobs()
    assert job.wait() == -signal.SIGKILL and not leases.makers()
    assert f"waiting for jobs of an earlier run to end:\n  {JOB}, by process {job.pid}" in capsys.readouterr().err


def test_a_job_started_by_hand_is_named_by_a_run(hold):
    process = hold()
    leases.take(leases.RUN)
    with pytest.raises(InputError, match=rf"{JOB}, by process {process.pid} on .*; to end it: `kill {process.pid}`"):
        leases.wait_for_jobs()


def test_jobs_that_waited_in_a_queue_make_nothing_for_a_run_that_is_gone(monkeypatch):
    run = leases.take(leases.RUN)
    monkeypatch.setenv(holders.OF_RUN, replace(run, machine="0badcafe").process)
    with pytest.raises(InputError, match="the run that this job belongs to is gone"):
        stopping.end_with_run()
    monkeypatch.setattr(stopping, "machine", lambda: "0badcafe")  # as its jobs on another node see it
    monkeypatch.setenv(holders.OF_RUN, run.process)
    monkeypatch.setattr(stopping, "_watch", lambda *_: None)
    stopping.end_with_run()
    os.utime(leases._place(leases.RUN), (1, 1))  # killed, and no other came: its jobs may go on
    stopping.end_with_run()
    leases.release()
    with pytest.raises(InputError, match="the run that this job belongs to is gone"):
        stopping.end_with_run()
    leases._place(leases.RUN).unlink()  # where no files are shared with the run
    stopping.end_with_run()


def test_drafts_stay_while_their_maker_works(hold):
    elsewhere()
    gone = subprocess.Popen(["true"])
    gone.wait()
    kept = [Path("models/.x.0badcafe-7.abc.part"), Path(f"models/.x.{machine()}-{os.getpid()}.abc.part")]
    swept = [Path("models/.x.0badcafe-8.abc.part"), Path(f"models/.x.{machine()}-{gone.pid}.abc.part")]
    for draft in (*kept, *swept):
        draft.mkdir(parents=True)
    with atomic_path("models/run.json") as draft:
        draft.write_text("x")
        aside.sweep_drafts()
    assert Path("models/run.json").read_text() == "x"
    assert sorted(Path("models").glob(".*.part")) == sorted(kept)


@pytest.mark.parametrize(
    ("words", "job"),
    [
        (["train", "grounding", "read", "--shots", "2", "--seed", "0", "--settings", "{}"], JOB),
        (["extract", "shard", "montage", "000", "--code", "1", "--encoders", "a", "b"], "extract shard montage 000"),
        (["extract", "--help"], None),
    ],
)
def test_jobs_are_known_by_what_their_commands_make(monkeypatch, words, job):
    import importlib.util

    main = type(sys)("__main__")
    main.__spec__ = importlib.util.find_spec(f"pipeline.stages.{words[0]}")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", words)
    assert holders.job_of_this_process() == job
    monkeypatch.setenv("RANK", "1")  # by torchrun, beside the process that writes
    assert holders.job_of_this_process() is None
