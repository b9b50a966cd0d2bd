"""Files that must go: what DVC's cache holds is removed, everything else is moved aside."""

import hashlib
import re
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.engine import dvc, leases, records
from read.files import machine
from read.processes import birth

STRANGERS = Path(".snakemake/strangers")
DRAFT = re.compile(r"\..+?(?:\.([0-9a-f]{8})-(\d+))?\.[^.]+\.part")  # a folder in which `read.files.atomic_path` writes


def put_aside(paths: Iterable[Path]) -> None:
    """Take files out of the artifacts. Those that nobody could bring back are kept under `.snakemake/strangers`."""
    room = STRANGERS / time.strftime("%Y-%m-%d-%H%M%S")
    for path in paths:
        if dvc.is_cached(md5_of(path)):
            path.unlink()
        else:
            (room / path).parent.mkdir(parents=True, exist_ok=True)
            path.replace(room / path)
            print(f"{path}: made by none of these stages, moved to {room / path}", file=sys.stderr)


def put_unknown_aside(folders: Iterable[Path]) -> None:
    """Take files out of folders that Snakemake did not make as they stand: they came with `dvc pull`, or by hand."""
    put_aside([path for folder in folders for path in records.artifacts(folder) if not records.is_known(path)])


def sweep_drafts() -> None:
    """Remove what killed jobs left half-written. Downloads go on from theirs, and sweep for themselves.

    Drafts stay whose maker holds a lease, or is a process of this machine that lives.
    Not in `results/study`, whose cells are folders of runs of their own, which may be at work.
    """
    at_work = leases.makers()
    data = ("data/features", "data/splits", "data/transcripts")
    for folder in (*data, "models", "results/curves", "results/report", "results/runs"):
        for draft in list(Path(folder).rglob(".*.part")):
            if (named := DRAFT.fullmatch(draft.name)) and draft.is_dir():
                where, pid = named[1], named[2]
                if f"{where}-{pid}" not in at_work and not (where == machine() and birth(int(pid)) is not None):
                    shutil.rmtree(draft, ignore_errors=True)  # its maker may have been quicker


def md5_of(path: Path) -> str:
    """The digest by which DVC knows a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
