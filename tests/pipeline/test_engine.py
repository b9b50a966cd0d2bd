"""What the engines' records say of files, without a run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine import adopt, aside, confirm, dvc, records
from pipeline.engine.dvc import LockedStage
from read.errors import InputError
from read.files import machine
from read.processes import birth
from tests.pipeline.test_collect import record

FIRST, SECOND = Path("a"), Path("b")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path: str, text: str = "x") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def test_a_file_is_known_as_it_stands_and_not_after_a_change():
    path = write("models/x/run.json")
    assert not records.is_known(path) and not records.has_record(path)
    record(path)
    assert records.is_known(path)
    os.utime(path, (1, 1))
    assert not records.is_known(path) and records.has_record(path)


def test_half_a_record_is_none():
    path = write("models/x/run.json")
    record(path)
    file = next(records.METADATA.iterdir())
    file.write_text(file.read_text()[:9])
    assert not records.is_known(path)


def test_a_long_path_has_its_record_in_pieces():
    path = write("/".join(["models", *["long" * 20] * 4, "run.json"]))
    place = records._record(records.METADATA, path)
    assert place.parent != records.METADATA and all(len(part) < 256 for part in place.parts)


def test_files_of_a_folder_that_is_an_output_are_known_by_its_stamp():
    path = write("results/report/metrics/read.json")
    stamp = write("results/report/metrics/.snakemake_timestamp", "")
    records.METADATA.mkdir(parents=True)
    records._record(records.METADATA, path.parent).write_text(json.dumps({"endtime": stamp.stat().st_mtime}))
    os.utime(path, (1, 1))
    assert records.is_known(path)
    os.utime(path, (stamp.stat().st_mtime + 5,) * 2)
    assert not records.is_known(path)


def test_videos_and_drafts_are_left_out():
    for name in ("data/raw/m/videos/v.mp4", "data/raw/m/.x.1.part/x", "data/raw/m/manifest.json"):
        write(name)
    assert list(records.artifacts(Path("data/raw/m"))) == [Path("data/raw/m/manifest.json")]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, {"one", "two"}),
        ({"one": [{"changed outs": {"a": "deleted"}}], "two": [{"changed deps": {"a": "deleted"}}]}, {"one", "two"}),
        ({"two": [{"changed deps": {"params.yaml": {"steps": "modified"}}}]}, {"one"}),
        ({"one": [{"changed deps": {"pipeline/x.py": "modified"}}]}, set()),
        ({"one": ["changed command"]}, set()),
    ],
)
def test_a_stage_is_the_same_while_params_code_and_all_before_it_are(changed, same):
    stages = {
        "one": LockedStage({Path("pipeline/x.py"): "0" * 32}, {FIRST: "1" * 32}),
        "two": LockedStage({FIRST: "1" * 32, Path("params.yaml"): "2" * 32}, {SECOND: "3" * 32}),
    }
    assert {name for name in stages if adopt.is_same(name, stages, changed, {})} == same


def test_a_stage_that_read_something_else_is_another():
    stages = {"one": LockedStage({}, {FIRST: "1" * 32}), "two": LockedStage({FIRST: "9" * 32}, {SECOND: "3" * 32})}
    assert not adopt.is_same("two", stages, {}, {})


@pytest.mark.parametrize(("digest", "same"), [("old", True), ("new", False), (None, True)])
def test_code_counts_as_it_is_and_not_as_a_file_says(digest, same):
    stages = {"one": LockedStage({}, {FIRST: "1" * 32}, {"train.grounding": "old"})}
    assert adopt.is_same("one", stages, {}, {"train": {"grounding": digest} if digest else {}}) == same


def test_what_the_cache_holds_is_removed_and_all_else_kept(capsys):
    mine, theirs = write("models/mine", "mine"), write("models/theirs", "theirs")
    md5 = aside.md5_of(theirs)
    write(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}", "theirs")
    aside.put_aside([mine, theirs])
    assert not mine.exists() and not theirs.exists()
    assert [path.read_text() for path in aside.STRANGERS.rglob("*/models/*")] == ["mine"]
    assert "theirs" not in capsys.readouterr().err


def test_only_our_drafts_are_swept():
    draft, own = write("models/.run.json.ab12.part/run.json"), [write("models/my.part"), write("models/.my.part/x")]
    aside.sweep_drafts()
    assert not draft.exists() and all(path.exists() for path in own)


LOCK = "schema: '2.0'\nstages:\n  one:\n    cmd: make\n    outs:\n    - path: a\n      md5: " + "1a" * 16 + "\n"


def test_a_whole_lock_file_is_read():
    write("dvc.lock", LOCK)
    assert dvc.locked_stages() == {"one": LockedStage({}, {FIRST: "1a" * 16})}


@pytest.mark.parametrize("end", [*range(12, len(LOCK), 7), len(LOCK) - 1])
def test_a_lock_file_cut_anywhere_is_named(end):
    write("dvc.lock", LOCK[:end])
    with pytest.raises(InputError, match=r"dvc.lock: is not whole .*git checkout dvc.lock"):
        dvc.locked_stages()


def test_jobs_end_with_their_run():
    code = "import pipeline.engine.stopping as it, time; it.end_with_run(); print(flush=True); time.sleep(600)"
    root = Path(__file__).parents[2]
    run = subprocess.Popen(["sleep", "600"])
    named = {"READ_RUN": f"{machine()} {run.pid} {birth(run.pid)}", "PYTHONPATH": str(root)}
    job = subprocess.Popen([sys.executable, "-c", code], env=os.environ | named, stdout=subprocess.PIPE)
    assert job.stdout.readline() and job.poll() is None
    run.kill()
    run.wait()
    assert job.wait(timeout=90) == -9
    job.stdout.close()


def test_a_run_whose_parent_is_gone_before_it_looks_ends():
    code = (
        "import os, time; began = os.getppid(); open('begun', 'w')\n"
        "while os.getppid() == began: time.sleep(0.01)\n"
        "from pipeline.engine.stopping import end_with_parent; end_with_parent(); time.sleep(600)"
    )
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    shell = ["sh", "-c", '"$0" -c "$1" & while [ ! -e begun ]; do sleep 0.02; done', sys.executable, code]
    subprocess.run(shell, env=os.environ | path, stdout=subprocess.PIPE, timeout=90, check=True)  # until both are gone


def test_the_reasons_of_a_plan_are_told(monkeypatch):
    said = (
        "rule train_run:\n    input: a\n    output: b\n    jobid: 3\n    reason: Params have changed\n\n"
        "rule all:\n    input: b\n    reason: Input files updated by another job: b\n"
    )
    monkeypatch.setattr(confirm.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))
    with pytest.raises(InputError, match=r"not recorded: .*[^\0]*1 train_run: Params have changed$"):
        confirm.confirm()
