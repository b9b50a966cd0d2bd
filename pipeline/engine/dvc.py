"""DVC's commands and its lock file, which says by digest what every stage read and made."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.engine import leases
from read.errors import InputError
from read.files import read_json, write_text

LOCK = Path("dvc.lock")
CODE = Path("code.yaml")  # made by the stage of the same name from the sources alone; of no rule of Snakemake
CACHE = Path(".dvc/cache/files/md5")
BEFORE = Path(".snakemake/dvc.lock.before")  # dvc.lock while DVC rewrites it in place; empty where there was none
DVC_LOCK = Path(".dvc/tmp/lock")
DVC_READERS = Path(".dvc/tmp/rwlock")  # which DVC process reads and writes what
LOCAL = Path(".dvc/config.local")  # settings of this folder alone, that git does not keep
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class LockedStage:
    """What dvc.lock has of a stage.

    Attributes:
        deps: path -> md5 of what it read.
        outs: the same of what it made.
        code: key of code.yaml -> digest, or a mapping of digests.
    """

    deps: dict[Path, str]
    outs: dict[Path, str]
    code: dict[str, Any] = field(default_factory=dict)


def is_inside() -> bool:
    """Whether this process was started by a DVC stage."""
    return "DVC_STAGE" in os.environ


def command(*words: str) -> str:
    """Run DVC and return what it printed. Raises InputError where it fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", *words], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"dvc {words[0]} failed: {done.stderr.strip()}")
    return done.stdout


def changes() -> dict[str, list[Any]]:
    """Stage -> what of it differs from dvc.lock: `changed deps`, `changed outs`, `changed command`.

    Not code.yaml, which a plan cannot bring up to date: its digests are compared by themselves.
    """
    found = {}
    for name, entry in json.loads(command("status", "--json") or "{}").items():
        for part in entry:
            if isinstance(part, dict) and "changed deps" in part:
                part["changed deps"].pop(CODE.name, None)
        if name != CODE.stem and (rest := [part for part in entry if isinstance(part, str) or any(part.values())]):
            found[name] = rest
    return found


def locked_stages() -> dict[str, LockedStage]:
    """What dvc.lock has of the stages that Snakemake works for; nothing where there is none.

    Raises:
        InputError: it is not whole.
    """
    if not LOCK.exists():
        return {}
    text = LOCK.read_text(encoding="utf-8")
    try:
        stages = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_single_data()["stages"]
        found = {name: _locked_stage(name, stage) for name, stage in stages.items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise _broken(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'empty'}") from None
    if not text.endswith("\n"):
        raise _broken("its last line has no end")
    found.pop(CODE.stem, None)
    return found


def _locked_stage(name: str, stage: dict[str, Any]) -> LockedStage:
    if not stage.get("cmd"):
        raise ValueError(f"stage {name} has no cmd")
    places = {kind: {Path(place["path"]): place["md5"] for place in stage.get(kind, [])} for kind in ("deps", "outs")}
    if not places["outs"]:
        raise ValueError(f"stage {name} has no outs")
    for path, digest in (item for kind in places.values() for item in kind.items()):
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise ValueError(f"stage {name}: the md5 of {path} is {digest!r}")
    return LockedStage(**places, code=stage.get("params", {}).get(CODE.name, {}))


def _broken(reason: str) -> InputError:
    return InputError(f"{LOCK}: is not whole ({reason}); bring it back with `git checkout {LOCK}` or remove it")


def files_of(out: Path, digest: str) -> dict[Path, str] | None:
    """File -> md5 of a recorded folder, as DVC's cache lists them; None where the cache has no such list."""
    listed = CACHE / digest[:2] / digest[2:]
    if not digest.endswith(".dir"):
        return {out: digest}
    try:
        return {out / entry["relpath"]: entry["md5"] for entry in read_json(listed)}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{listed}: DVC's list of {out} is damaged; remove it, then run `dvc pull`") from None


def is_cached(digest: str) -> bool:
    """Whether DVC's cache has a file of this content."""
    return (CACHE / digest[:2] / digest[2:]).is_file()


@contextmanager
def keeping_lock() -> Iterator[None]:
    """While DVC rewrites dvc.lock, keep the old one, which `mend` puts back if this process is killed."""
    write_text(BEFORE, LOCK.read_text(encoding="utf-8") if LOCK.exists() else "")
    try:
        yield
    except BaseException:
        mend()
        raise
    BEFORE.unlink()


def mend() -> None:
    """Undo what a killed DVC left half-written: it rewrites its files in place."""
    if not BEFORE.exists() and not DVC_READERS.exists():
        return
    with DVC_LOCK.open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)  # DVC holds it while it works: one that outlived its run is waited for
        except OSError as error:
            if error.errno not in leases.NO_LOCKS:
                raise
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


def set_up() -> None:
    """Let DVC work without git where this folder is no repository of its own, such as an unpacked archive."""
    alone = LOCAL.exists() and "no_scm" in LOCAL.read_text(encoding="utf-8")
    if Path(".git").exists():
        if alone:  # it has become a repository since
            command("config", "--local", "--unset", "core.no_scm")
    elif not alone and shutil.which("dvc"):
        print("this folder is no git repository: DVC records what is made here without git", file=sys.stderr)
        LOCAL.parent.mkdir(exist_ok=True)
        before = LOCAL.read_text(encoding="utf-8") if LOCAL.exists() else ""
        write_text(LOCAL, f"{before}[core]\n    no_scm = true\n")
