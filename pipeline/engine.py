"""Where Snakemake and DVC meet: one run at a time, files adopted after a checkout, and what may be recorded.

Snakemake judges files by their times and by its own records of params and code; DVC judges by content. After
`dvc checkout`, `dvc pull` or `git checkout` the files are right, but their times are new and Snakemake's records are
of other files. So, before a run, what DVC finds current is adopted: Snakemake records it as it stands. What DVC finds
changed and Snakemake did not make itself is removed, since nobody knows by which params it was made.
"""

import base64
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from read.errors import InputError
from read.files import read_json, write_text

LOCK = Path("dvc.lock")
RECORDS = Path(".snakemake/metadata")
ADOPTED = Path(".snakemake/adopted")  # the state of dvc.lock and of the outputs at the last look
RUNNING = Path(".snakemake/running")
BEFORE = Path(".snakemake/dvc.lock.before")  # dvc.lock while DVC rewrites it in place; empty where there was none
DVC_LOCK = Path(".dvc/tmp/lock")
DVC_READERS = Path(".dvc/tmp/rwlock")  # which DVC process reads and writes what
CHILD = "READ_ADOPTING"  # set in the environment of Snakemake processes that adopt files
_held = []  # the open lock file, for the life of the process


def dvc_records(config: Mapping[str, Any]) -> bool:
    """Whether a complete run may be recorded in dvc.lock.

    Not inside a DVC stage, where DVC records, and not when `--config` made the run another than params.yaml's.
    """
    written = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    return not inside_dvc() and dict(config) == written


def inside_dvc() -> bool:
    """Whether this process was started by a DVC stage."""
    return "DVC_STAGE" in os.environ


def prepare_run(workflow: Any) -> None:
    """Called once per Snakemake process, before the DAG is built. Raises InputError when another run is at work."""
    # Jobs run by this interpreter and the programs beside it, whether or not its environment was activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not workflow.is_main_process or CHILD in os.environ:
        return
    try:
        _hold_lock()
    except InputError:
        if workflow.output_settings.dryrun:
            return  # a plan beside a run, whose files are left alone
        raise
    sweep_drafts()
    if not inside_dvc():
        mend_dvc()
        reconcile()


@contextmanager
def keeping_lock() -> Iterator[None]:
    """While DVC rewrites dvc.lock, keep the old one, which `mend_dvc` puts back if this process is killed."""
    write_text(BEFORE, LOCK.read_text(encoding="utf-8") if LOCK.exists() else "")
    try:
        yield
    except BaseException:
        mend_dvc()
        raise
    BEFORE.unlink()


def mend_dvc() -> None:
    """Undo what a killed DVC left half-written: it rewrites its files in place."""
    if not BEFORE.exists() and not DVC_READERS.exists():
        return
    with DVC_LOCK.open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # DVC holds it while it works: one that outlived its run is waited for
        if BEFORE.exists():
            if before := BEFORE.read_text(encoding="utf-8"):
                write_text(LOCK, before)
            else:
                LOCK.unlink(missing_ok=True)
            BEFORE.unlink()
        if DVC_READERS.exists():
            try:
                read_json(DVC_READERS)
            except ValueError:
                DVC_READERS.unlink()


def sweep_drafts() -> None:
    """Remove what killed jobs left half-written. Downloads go on from theirs, and sweep for themselves."""
    for folder in ("data/features", "data/splits", "models", "results"):
        for draft in list(Path(folder).rglob("*.part")):
            shutil.rmtree(draft)


def reconcile() -> None:
    """Adopt what DVC finds current, remove what is of unknown making; nothing to do where nothing has moved."""
    stages = _recorded_stages()
    outputs = [out for stage in stages.values() for out in stage["outs"] if out.exists()]
    if not outputs or (ADOPTED.exists() and ADOPTED.read_text(encoding="utf-8") == _state(outputs)):
        return
    changed = set(json.loads(_dvc("status", "--json") or "{}"))
    asked = set(_dvc("stage", "list", "--name-only").split())  # dvc.lock may know other datasets and tasks, too
    settled = _settled(stages, changed) & asked
    for name in asked & stages.keys() - settled:
        for folder in stages[name]["outs"]:
            forget_unknown(folder)
    if any(unknown(folder) for name in settled for folder in stages[name]["outs"]):
        touch([stages[name]["target"] for name in settled], everything=True)
    os.utime(LOCK)  # dvc.lock is the output of the last rule, so it must be newer than all others
    mark_adopted()


def _dvc(*words: str) -> str:
    done = subprocess.run(["dvc", *words], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"dvc {words[0]} failed: {done.stderr.strip()}")
    return done.stdout


def adopt(targets: list[str]) -> None:
    """Take the files behind some targets as current, inside a DVC stage, where DVC has just found them so."""
    touch(targets, everything=any(unknown(Path(target).parent) for target in targets))


def touch(targets: list[str], everything: bool) -> None:
    """Let Snakemake record files as current: those that it would make again, or everything behind the targets."""
    flags = ["--touch", "--cores", "1", *["--forceall"] * everything]
    command = [sys.executable, "-m", "snakemake", *flags, "--", *targets]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {CHILD: "1"})
    if done.returncode:
        raise InputError(f"Snakemake could not adopt {', '.join(targets)}:\n{done.stdout}{done.stderr}")


def unknown(folder: Path) -> list[Path]:
    """Files in an artifact's folder that are not as Snakemake recorded them, videos aside."""
    return [path for path in _artifacts(folder) if not _recorded(path)]


def forget_unknown(folder: Path) -> None:
    """Remove files of unknown making from a folder that is about to be made again."""
    for path in unknown(folder):
        path.unlink()


def mark_adopted() -> None:
    """Remember that Snakemake's records agree with the files as they stand."""
    outputs = [out for stage in _recorded_stages().values() for out in stage["outs"] if out.exists()]
    ADOPTED.parent.mkdir(exist_ok=True)
    ADOPTED.write_text(_state(outputs), encoding="utf-8")


def _artifacts(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name != "videos":  # videos carry their checksum in the shard's list
            yield from _artifacts(path)
        elif path.is_file():
            yield path


def _recorded(path: Path) -> bool:
    """Whether Snakemake has a record of this file as it stands: it keeps one file a path, named in base64."""
    record = RECORDS / base64.b64encode(path.as_posix().encode()).decode()
    return record.exists() and abs(read_json(record)["endtime"] - path.stat().st_mtime) < 0.001


def _recorded_stages() -> dict[str, dict[str, Any]]:
    """Stage -> the outs, the deps and the Snakemake target that dvc.lock has of it."""
    if not LOCK.exists():
        return {}
    try:
        stages = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]
    except (yaml.YAMLError, KeyError, TypeError):
        raise InputError(f"{LOCK}: is not whole; bring it back with `git checkout {LOCK}` or remove it") from None
    return {
        name: {
            "outs": [Path(out["path"]) for out in stage.get("outs", [])],
            "deps": [Path(dep["path"]) for dep in stage.get("deps", [])],
            "target": (stage["cmd"] if isinstance(stage["cmd"], str) else stage["cmd"][-1]).split()[-1],
        }
        for name, stage in stages.items()
    }


def _settled(stages: Mapping[str, Mapping[str, Any]], changed: set[str]) -> set[str]:
    """Stages that are unchanged, and so are all stages upstream of them."""
    makers = {out: name for name, stage in stages.items() for out in stage["outs"]}

    def holds(name: str) -> bool:
        return name not in changed and all(holds(makers[dep]) for dep in stages[name]["deps"] if dep in makers)

    return {name for name in stages if holds(name)}


def _state(outputs: list[Path]) -> str:
    """A digest of dvc.lock and of the times of the artifacts."""
    digest = hashlib.sha256(LOCK.read_bytes())
    for folder in sorted(outputs):
        for path in sorted(_artifacts(folder)):
            digest.update(f"{path} {path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _hold_lock() -> None:
    """Hold a lock on this folder until the process ends, however it ends."""
    RUNNING.parent.mkdir(exist_ok=True)
    file = RUNNING.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise InputError(f"another run is at work in this folder (process {holder}); wait for it") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    _held.append(file)
