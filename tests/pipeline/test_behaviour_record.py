"""The record is true: what is missing is made, what is recorded ran, a plan changes nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from itertools import product

import pytest
import yaml

pytestmark = pytest.mark.slow
RUN = "models/adapters/montage/grounding/read/k2-s0"
CHANGED = "not recorded: params.yaml, the code or an artifact changed while this run worked"


def snapshot(project) -> dict[str, tuple[int, int]]:
    """Every file of a project with its time and size, the engines' own scratch aside."""
    scratch = (".git/", ".snakemake/log", ".snakemake/iocache", ".dvc/tmp")
    files = (path for path in project.folder.rglob("*") if path.is_file() or path.is_dir())
    names = {path: path.relative_to(project.folder).as_posix() for path in files}
    return {
        name: (path.stat().st_mtime_ns, path.stat().st_size)
        for path, name in names.items()
        if not f"{name}/".startswith(scratch) and name not in (".snakemake", ".dvc", ".")
    }


def declared(project) -> list[str]:
    """Every output of every job of a complete run."""
    rows = project.snakemake("--cores", "1", "--detailed-summary").splitlines()
    found = [row.split("\t")[0] for row in rows if row.count("\t") > 5]
    return [name for name in found if name.startswith(("data/", "models/", "results/"))]


def examples_shown(project) -> int:
    """Videos on the page of results."""
    return (project.folder / "results/report/index.html").read_text().count("<video")


def stages(project) -> dict[str, dict]:
    """What dvc.lock has of each stage."""
    return yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]


def locked(project) -> dict[str, int]:
    """Folder -> how many files dvc.lock says that it has."""
    return {out["path"]: out.get("nfiles", 1) for stage in stages(project).values() for out in stage["outs"]}


# A plan for each output; both engines make some of them.


def test_any_output_removed_is_planned(planning):
    outputs = declared(planning)
    kinds = {}
    for name in outputs:  # one of each kind: paths that differ in names only are outputs of one rule
        parts = name.replace("montage_source", "montage").replace("adapter/k2", "read/k2").replace("001.", "000.")
        kinds.setdefault(parts, name)
    assert len(outputs) > 100 and len(kinds) > 50
    removed = []
    for name in kinds.values():
        path = planning.folder / name
        path.rename(path.with_name(f"{path.name}.kept"))
        removed.append(path)
    try:
        jobs = planning.snakemake("-n")
        for name in kinds.values():
            assert name in jobs, name
    finally:
        for path in removed:
            path.with_name(f"{path.name}.kept").rename(path)
    planning.assert_settled()


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("snakemake", ["models/encoders/encoders.json", "data/raw/montage/missing.csv", f"{RUN}/run.json"]),
        ("dvc", ["results/runs/montage/grounding/read/k2-s0/predictions.jsonl", "results/report/scores.csv"]),
    ],
    ids=["snakemake", "dvc"],
)
def test_what_was_removed_is_made_and_no_hole_is_recorded(half, engine, names):
    before = locked(half)
    contents = {name: (half.folder / name).read_bytes() for name in names}
    for name in names:
        (half.folder / name).unlink()
    half.snakemake() if engine == "snakemake" else half.dvc("repro")
    assert {name: (half.folder / name).read_bytes() for name in names} == contents
    assert locked(half) == before
    half.assert_settled()


def test_a_video_that_is_gone_is_not_recorded(half):
    lock = (half.folder / "dvc.lock").read_bytes()
    next((half.folder / "data/raw/montage/videos").iterdir()).unlink()
    half.edit({"report.examples": 0})
    assert "not recorded: 1 files are gone" in half.snakemake(status=1)
    assert (half.folder / "dvc.lock").read_bytes() == lock


# A plan changes nothing.


def test_a_plan_writes_nothing_whatever_there_is_to_clear_away(project):
    folder = project.folder
    (folder / "results/report/notes.txt").write_text("mine")
    draft = folder / "models/.x.part/x"
    draft.parent.mkdir()
    (folder / "models/backbone/grounding/model.safetensors").unlink()
    for path in folder.rglob("*"):  # a copy with new times
        if path.is_file() and ".git" not in path.parts and not path.is_symlink():
            os.utime(path)
    before = snapshot(project)
    jobs = project.planned_jobs()
    assert snapshot(project) == before
    assert jobs["pretrain_grounding"] == 1 and not jobs.keys() & {"encoder", "download", "extract", "split"}

    project.edit({"task": ["grounding"]})
    said = project.snakemake("models/backbone")
    assert "results/report/notes.txt: made by none of these stages, moved to" in said
    assert [path.read_text() for path in (folder / ".snakemake/strangers").rglob("notes.txt")] == ["mine"]
    assert (folder / "results/runs/montage/summarization/references.json").exists()  # nothing else went
    assert (folder / "models/backbone/grounding/model.safetensors").exists()


def test_a_plan_in_a_folder_that_cannot_be_written(half):
    def plan_read_only() -> subprocess.CompletedProcess:
        mount = f"mount --bind {half.folder} {half.folder} && mount -o remount,ro,bind {half.folder}"
        command = ["unshare", "-rm", "sh", "-c", f"{mount} && cd {half.folder} && snakemake -n"]
        return subprocess.run(command, env=half.environment, text=True, capture_output=True)

    done = plan_read_only()
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("no folder can be made read-only here")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    shutil.rmtree(half.folder / ".snakemake")
    done = plan_read_only()
    assert done.returncode == 1 and "cannot be written" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# What is recorded ran.


def test_what_dvc_worked_on_while_it_was_edited_is_not_recorded(clone):
    """After a pull, of which what a param was changed for is not taken as done either."""
    project = clone("main")
    project.dvc("pull")
    before = stages(project)["train@grounding"]
    project.edit({"task": ["grounding"], "train.grounding.steps": 1, "strategies": {"read": {}}})
    log, code = project.folder / "logs/train/grounding/read/k2-s0.log", project.folder / "pipeline/stages/train.py"
    run = project.start("dvc", "repro")
    run.wait_for(log.exists)
    code.write_text(f"{code.read_text()}\n\nEDITED = True\n")
    assert run.process.wait() == 255
    said = run.log.read_text()
    assert "train_run" in said and CHANGED in said
    assert stages(project)["train@grounding"] == before
    assert project.json(f"{RUN}/run.json")["steps"] == 1 and project.worked() == {"train"}
    assert project.planned_jobs()["train_run"] == 1  # what was made by older code is due


def test_other_settings_and_an_edit_meanwhile_are_not_recorded_and_two_runs_are_refused(half):
    """Settings of the command line; params that changed while a run worked, beside which none may begin."""
    lock, log = half.folder / "dvc.lock", half.folder / "logs/report.log"
    before, shown = lock.read_bytes(), examples_shown(half)
    other = half.folder / "other.yaml"
    other.write_text("report: {examples: 0}\n")
    assert "record" not in half.planned_jobs("--config", "clip_len=1.0")
    half.snakemake("--configfile", "params.yaml", "other.yaml")
    other.unlink()
    assert lock.read_bytes() == before and examples_shown(half) < shown
    assert json.loads(half.dvc("status", "--json"))  # DVC sees that the page is not params.yaml's

    lease = half.folder / ".snakemake/leases/run.json"
    for file in (log, lease):
        file.unlink()
    first = half.start("snakemake", "--cores", "1")
    first.wait_for(lease.exists)
    with first.paused():
        message = half.snakemake(status=1)
        half.snakemake("-n")  # planning disturbs nobody
    assert f"another run is at work in this folder (process {first.process.pid}); wait for it, or end it" in message
    assert "Traceback" not in message
    first.wait_for(log.exists)
    half.edit({"report.examples": 0})
    assert first.process.wait() == 1 and CHANGED in first.log.read_text()
    assert lock.read_bytes() == before and examples_shown(half) == shown

    half.snakemake("results/report/index.html")
    assert examples_shown(half) < shown
    assert half.planned_jobs() == {"record": 1}  # a part that was made alone leaves it due
    half.snakemake()
    half.assert_settled()


def test_a_record_that_failed_is_made_by_the_next_run(half):
    cache = half.folder / ".dvc/cache/files/md5"
    shutil.move(cache, half.folder / "cache")
    cache.write_text("no folder")  # as on a full disk: DVC cannot write its cache
    half.edit({"report.examples": 0})
    assert re.search(r"error: dvc \w+ failed", half.snakemake(status=1))
    said = half.snakemake(status=1)
    assert "dvc status failed" in said and "Not a directory" in said and "Traceback" not in said
    cache.unlink()
    shutil.move(half.folder / "cache", cache)
    assert half.planned_jobs() == {"record": 1}
    half.snakemake()
    half.assert_settled()


# What was damaged is named.


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2].rpartition("\n")[0][:-3], "is not whole"),
        (lambda text: text.replace("    cmd:", "    order:", 1), "stage code has no cmd"),
        (lambda text: text.replace("md5: ", "md5: 0", 1), "the md5 of"),
        (lambda text: "", "is not whole"),
    ],
)
def test_a_damaged_lock_file_is_named(planning, damage, words):
    lock = planning.folder / "dvc.lock"
    before, times = lock.read_text(), lock.stat()
    lock.write_text(damage(before))
    try:
        said = planning.snakemake("-n", status=1)
    finally:
        lock.write_text(before)
        os.utime(lock, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert words in said and "git checkout dvc.lock" in said and "Traceback" not in said


def flip(path) -> None:
    """Change a byte in the middle and keep the file's time."""
    times, content = path.stat(), bytearray(path.read_bytes())
    content[-8] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("data/features/montage/000.safetensors", "data/splits/montage/grounding"),
        ("models/backbone/grounding/model.safetensors", "models/adapters/montage/grounding"),
        (f"{RUN}/adapter.safetensors", "results/runs/montage/grounding"),
    ],
)
def test_a_flipped_byte_is_named_where_it_is_read(half, file, target):
    flip(half.folder / file)
    shutil.rmtree(half.folder / target)
    said = half.snakemake(target, status=1)
    assert f"{file}: is damaged or was changed" in said


def test_a_damaged_object_of_the_cache_is_named(half):
    file = f"{RUN}/run.json"
    lists = half.folder / ".dvc/cache/files/md5"
    digest = stages(half)["train@grounding"]["outs"][0]["md5"]
    entries = json.loads((lists / digest[:2] / digest[2:]).read_text())
    md5 = next(row["md5"] for row in entries if row["relpath"] == "read/k2-s0/run.json")
    flip(lists / md5[:2] / md5[2:])
    (half.folder / file).unlink()
    half.dvc("checkout")
    if json.loads(half.dvc("status", "--json")):
        pytest.skip("this DVC finds it by itself")
    said = half.snakemake("-n", status=1)
    assert file in said and "its cache may be damaged" in said


# Signals, and folders without git.


def test_a_signal_ends_the_run_with_all_that_it_started(half):
    half.edit({"train.grounding.steps": 100_000})
    log = half.folder / "logs/train/grounding/read/k2-s0.log"
    for command, number in product(("snakemake --cores 2", "dvc repro"), (signal.SIGINT, signal.SIGTERM)):
        log.unlink()
        run = half.start(*command.split())
        run.wait_for(lambda: log.exists() and "step" in log.read_text())
        if number == signal.SIGINT:
            os.killpg(run.process.pid, number)  # as Ctrl-C does
        else:
            run.process.send_signal(number)
        run.process.wait(timeout=120)
        end = time.monotonic() + 90
        while working := members(run.process.pid):
            assert time.monotonic() < end, working
            time.sleep(0.1)
        said = run.log.read_text()
        assert "stopped; run again to go on" in said
        assert "Traceback" not in said
    half.edit({"train.grounding.steps": 2})
    assert half.planned_jobs()["train_run"] == 1


def members(group: int) -> list[str]:
    """The processes of a group that live on."""
    rows = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    split = (row.split(None, 2) for row in rows.splitlines())
    return [row[2] for row in split if int(row[0]) == group and not row[1].startswith("Z")]


def test_without_git_dvc_records_without_it_and_a_repository_needs_no_commit(half):
    shutil.rmtree(half.folder / ".git")
    half.edit({"report.examples": 0})
    assert "this folder is no git repository" in half.snakemake()
    half.assert_settled()
    assert "this folder is no git repository" not in half.snakemake()
    half.git("init", "--quiet")
    half.edit({"report.examples": 1})
    assert "Traceback" not in half.snakemake()
    assert "Traceback" not in (half.folder / "logs/report.log").read_text()
    half.assert_settled()
