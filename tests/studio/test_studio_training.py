"""The run behind the Train button: real processes, whose program prints what the pipeline would."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from read.errors import InputError
from read.files import machine, read_json, write_json
from read.processes import birth
from read.studio import training as module
from read.studio.training import ENDED_UNTOLD, Training
from tests.app.fake import wait_until

ROOT = Path(__file__).parents[2]
LABELS = [SimpleNamespace(vid=f"v{i}", side="test" if i > 3 else "train", windows=[(0, 1)]) for i in range(6)]
# In place of Snakemake: says that it has 3 jobs, does those that are not done yet, the last once it is let.
PROGRAM = """
import signal, sys, time
from pathlib import Path

def stop(*_):
    print("\\nstopped; run again to go on", flush=True)
    sys.exit(1)

signal.signal(signal.SIGINT, signal.SIG_IGN if Path("deaf").exists() else stop)
assert sys.argv[1:] == ["--cores", "2"], sys.argv
left = [name for name in ("split", "train_run", "report") if not Path(name).exists()]
print(f"{len(left)} jobs: {', '.join('1 ' + name for name in left)}" if left else "Nothing to be done", flush=True)
for number, name in enumerate(left, 1):
    if Path("broken").exists():
        sys.exit("Error in rule split:\\nLogfile logs/x.log:\\n===\\nerror: no video is left\\n===")
    while name == "report" and not Path("go").exists():
        time.sleep(0.01)
    Path(name).touch()
    print(f"{number}/{len(left)}  {name} mine  1.0 s", flush=True)
"""


@pytest.fixture
def working(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "Snakefile").touch()
    (tmp_path / "snakemake.py").write_text(PROGRAM)
    (tmp_path / "data/catalog/mine").mkdir(parents=True)
    (tmp_path / "data/catalog/mine/card.yaml").write_text("title: Mine\n")
    return tmp_path


@pytest.fixture
def training(working, monkeypatch):
    monkeypatch.setattr(module, "pack", lambda working, name, cache: (cache / "bundle").mkdir())
    found = Training(working, "mine", working / ".studio/mine", cores=2)
    yield found
    with_run = found._last()
    if with_run is not None and with_run.lives:
        with suppress(ProcessLookupError):
            os.killpg(with_run.pid, signal.SIGKILL)


def wait(training, state: str, done: int = 0) -> dict:
    """What is told once a state is reached, and so many jobs are done."""
    end = time.monotonic() + 90
    while True:
        told = training.status(LABELS)
        if told["state"] == state and sum(row["done"] for row in told["stages"]) >= done:
            return told
        assert time.monotonic() < end, told
        time.sleep(0.01)


def process(training) -> int:
    return read_json(training.cache / "run.json")["pid"]


def test_a_run_is_started_stopped_and_gone_on_with_to_its_end(training, working):
    assert training.status(LABELS)["state"] == "idle" and training.bundle is None
    training.start(LABELS)
    told = wait(training, "running", done=2)
    assert (told["can"], told["why"], told["share"]) == (False, "", pytest.approx(2 / 3))
    assert {row["name"]: row["state"] for row in told["stages"]}["report"] == "waiting"
    assert told["started"] <= time.time() and told["ended"] is None
    params = yaml.safe_load((working / "params.yaml").read_text())
    assert (params["dataset"], params["task"], params["runs"]["shots"]) == ("mine", ["grounding"], [3])
    with pytest.raises(InputError, match="at work"):
        training.start(LABELS)

    training.stop()
    told = wait(training, "stopped")
    assert told["can"] and told["error"] == "" and told["ended"] >= told["started"]
    assert "stopped; run again" in training.log(1) and training.bundle is None

    training.start(LABELS)
    wait(training, "running")
    (working / "go").touch()
    told = wait(training, "done")
    assert training.log(99).startswith("1 jobs: 1 report") and told["share"] == 1
    assert training.bundle == training.cache / "bundle"


def test_a_studio_that_comes_later_finds_the_run_and_packs_what_came_of_it(training, working, capsys):
    training.close()
    training.start(LABELS)
    wait(training, "running", done=2)
    training.close()
    assert capsys.readouterr().out.startswith(f"The training goes on (process {process(training)}); open")
    later = Training(working, "mine", training.cache, cores=2)
    assert later.status(LABELS)["state"] == "running"
    (working / "go").touch()
    wait_until(lambda: later.bundle is not None)  # looked for, nothing else asked
    assert wait(later, "done")["error"] == ""


def test_kill_nine_is_told_and_the_next_start_goes_on(training, working):
    training.start(LABELS)
    wait(training, "running", done=2)
    os.killpg(process(training), signal.SIGKILL)
    told = wait(training, "stopped")
    assert told["error"] == ENDED_UNTOLD and told["can"]
    (working / "go").touch()
    training.start(LABELS)
    wait(training, "done")


def test_a_run_that_ends_while_its_log_is_read_is_none_that_was_killed(training, working, monkeypatch):
    training.start(LABELS)
    wait(training, "running", done=2)
    read = training._log

    def ends_after_it():
        log = read()
        (working / "go").touch()
        training._process.wait(90)
        return log

    with monkeypatch.context() as patch:
        patch.setattr(training, "_log", ends_after_it)
        told = training.status(LABELS)
    assert (told["state"], told["error"]) == ("running", "")
    wait(training, "done")


def test_a_run_that_does_not_listen_is_ended_by_stronger_signals(training, working, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    seen, end = threading.Event(), module._end
    monkeypatch.setattr(module, "_end", lambda run: seen.wait(90) and end(run))
    (working / "deaf").touch()
    training.start(LABELS)
    wait(training, "running", done=2)
    training.stop()
    assert training.status(LABELS)["state"] == "stopping"
    seen.set()
    assert wait(training, "stopped")["error"] == ""


def test_what_failed_is_told_in_the_pipelines_words(training, working):
    (working / "broken").touch()
    training.start(LABELS)
    told = wait(training, "failed")
    assert told["error"] == "no video is left" and told["stages"][4] == {
        "name": "split", "done": 0, "total": 1, "state": "failed"
    }  # fmt: skip


def test_what_cannot_be_packed_is_told_and_not_tried_again_and_again(training, working, monkeypatch):
    tries = []

    def refuse(*_):
        tries.append(1)
        raise InputError("no run to pack")

    monkeypatch.setattr(module, "pack", refuse)
    (working / "go").touch()
    training.start(LABELS)
    assert "could not be packed: no run to pack" in wait(training, "failed")["error"]
    assert wait(training, "failed") and training.bundle is None and len(tries) == 1


def test_a_studio_killed_as_it_starts_a_run_leaves_one_that_is_packed(training, working, monkeypatch):
    """Between the start of the process and the note of its number; of an earlier run everything was packed."""
    (working / "go").touch()
    training.start(LABELS)
    wait(training, "done")
    shutil.rmtree(training.cache / "bundle")
    (working / "report").unlink()

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    monkeypatch.setattr(module, "birth", kill)
    with pytest.raises(Killed):
        training.start(LABELS)
    later = Training(working, "mine", training.cache, cores=2)
    wait(later, "done")
    assert later.bundle is not None and "1 jobs: 1 report" in later.log(9)


def test_a_training_begins_as_soon_as_the_last_is_told_as_done(training, working, monkeypatch):
    keep, told = training._keep, threading.Event()

    def linger(run):
        keep(run)
        assert not run.packed or told.wait(90)

    monkeypatch.setattr(training, "_keep", linger)
    (working / "go").touch()
    training.start(LABELS)
    wait(training, "done")
    assert training._is_packing()
    shutil.rmtree(training.cache / "bundle")
    training.start(LABELS)
    told.set()
    wait(training, "done")


def test_a_full_disk_is_told_and_leaves_no_run(training, working, monkeypatch):
    kept, keep = [], training._keep

    def full(run):
        kept.append(run)
        if run.pid:
            raise OSError(errno.ENOSPC, "No space left on device", "run.json")
        keep(run)

    monkeypatch.setattr(training, "_keep", full)
    with pytest.raises(InputError, match=r"could not be started: .*No space left"):
        training.start(LABELS)
    assert birth(kept[-1].pid) is None or training._process.wait(90) == -signal.SIGKILL


@pytest.mark.parametrize("change", [{"began": 1.0}, {"machine": "elsewhere"}])
def test_a_foreign_process_is_never_taken_for_the_run(training, change):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other:
        own = {"pid": other.pid, "began": birth(other.pid), "machine": machine(), "started": time.time()}
        write_json(training.cache / "run.json", own)
        assert training.status(LABELS)["state"] == "running"
        write_json(training.cache / "run.json", own | change)
        assert training.status(LABELS)["state"] == "stopped"
        training.stop()
        time.sleep(0.3)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize(
    ("lease", "age", "held"),
    [({}, 0, True), ({}, 999, True), ({"began": 1.0}, 0, False), ({"machine": "b"}, 5, True),
     ({"machine": "b"}, 999, False), ({"folder": "/elsewhere"}, 999, False)],
)  # fmt: skip
def test_no_training_begins_beside_another_run(training, working, lease, age, held):
    own = {"pid": os.getpid(), "began": birth(os.getpid()), "machine": machine(), "folder": str(working)}
    place = working / ".snakemake/leases/run.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(own | {"job": "run", "host": "node7", "since": "noon"} | lease))
    os.utime(place, (time.time() - age,) * 2)
    told = training.status(LABELS)
    assert told["can"] != held and ("a run is at work in this folder already" in told["why"]) == held
    if held:
        before = (working / "params.yaml").read_text()
        with pytest.raises(InputError, match=f"process {os.getpid()}"):
            training.start(LABELS)
        assert (working / "params.yaml").read_text() == before and not training.cache.exists()


def test_a_plan_is_made_anew_where_labels_params_or_summaries_changed(training, working, monkeypatch):
    made = []
    plan = module.plan_training
    monkeypatch.setattr(module, "plan_training", lambda *given: made.append(1) or plan(*given))
    assert training.plan(LABELS).notes == training.plan(iter(LABELS)).notes and len(made) == 1
    assert training.plan(LABELS[:5]).labelled == 5 and len(made) == 2
    text = (working / "params.yaml").read_text()
    (working / "params.yaml").write_text(text.replace("val_share: 0.25", "val_share: 0.5"))
    training.plan(LABELS[:5])
    (working / "data/catalog/mine/card.yaml").write_text("title: Mine\nsummaries: texts.jsonl\n")
    (working / "data/catalog/mine/texts.jsonl").write_text('{"vid": "v1", "summary": "a walk"}\n')
    assert training.plan(LABELS[:5]).notes and len(made) == 4


def test_where_nothing_can_be_trained_the_reason_is_told(training, working):
    (working / "params.yaml").write_text("task: [")
    told = training.status(LABELS)
    assert not told["can"] and "not valid YAML" in told["why"] and training.working_here
    assert told["plan"]["labelled"] == len({label.vid for label in LABELS})  # which are there all the same
    with pytest.raises(InputError, match="not valid YAML"):
        training.start(LABELS)
    (working / "Snakefile").unlink()
    assert not training.working_here and "has no Snakefile;" in training.status(LABELS)["why"]
    (working / "params.yaml").rename(working / "params.old")
    assert "has no Snakefile and no params.yaml" in training.status(LABELS)["why"]
    (training.cache).mkdir(parents=True)
    (training.cache / "run.json").write_text("half of it {")
    assert training.status(LABELS)["state"] == "idle"
