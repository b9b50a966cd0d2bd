"""Snakemake's records of files, and ours of what was recorded in dvc.lock."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.engine import dvc
from read.files import read_text, write_text

METADATA = Path(".snakemake/metadata")
INCOMPLETE = Path(".snakemake/incomplete")  # outputs of jobs that have begun and not ended
RECORDED = Path(".snakemake/recorded")  # the state of dvc.lock and of the artifacts when they last agreed; of `record`
LOOKED_AT = Path(".snakemake/sources")  # the state of the sources that dvc.lock knows
STAMP = ".snakemake_timestamp"  # the time of a folder that is an output
TICK = 0.001  # seconds; records keep times with fewer digits than the file system
STEP = 254  # characters of a file's name, by which Snakemake divides longer names of records


def artifacts(folder: Path) -> Iterator[Path]:
    """Files in an artifact's folder, but videos, which carry their checksum in the shard's list."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.name != "videos" and path.suffix != ".part":
            yield from artifacts(path)
        elif path.is_file() and path.name != STAMP:
            yield path


def is_known(path: Path) -> bool:
    """Whether Snakemake recorded this file, or a folder that it lies in, as it stands, or is about to make it anew."""
    return any(_accounts_for(place, path) for place in (path, *path.parents[:-1]))


def has_record(path: Path) -> bool:
    """Whether Snakemake ever made a file of this path."""
    return any(_record(METADATA, place).exists() for place in (path, *path.parents[:-1]))


def is_recorded() -> bool:
    """Whether dvc.lock and the artifacts stand as when they last agreed."""
    return RECORDED.is_file() and read_text(RECORDED) == state()


def mark_recorded() -> None:
    """Note that dvc.lock and the artifacts agree, as they stand."""
    write_text(RECORDED, state())


def state() -> str:
    """A digest of dvc.lock and of the times and sizes of the artifacts that it names."""
    digest = hashlib.sha256(dvc.LOCK.read_bytes() if dvc.LOCK.exists() else b"")
    for folder in sorted({out for stage in dvc.locked_stages().values() for out in stage.outs}):
        for path in artifacts(folder):
            found = path.stat()
            digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def sources() -> str:
    """A digest of the times and sizes of all that DVC's first stage reads."""
    digest = hashlib.sha256()
    for path in sorted(path for top in ("data/catalog", "pipeline", "read") for path in Path(top).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            found = path.stat()
            digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _record(folder: Path, path: Path) -> Path:
    """Where Snakemake keeps its record of a path: it names it in base64, in pieces where that is long."""
    name = base64.urlsafe_b64encode(path.as_posix().encode()).decode()
    pieces = [name[start : start + STEP] for start in range(0, len(name), STEP)]
    return folder.joinpath(*(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def _accounts_for(place: Path, path: Path) -> bool:
    """Whether the record of an output, a file or a folder, is of this file as it stands."""
    if _record(INCOMPLETE, place).exists():
        return True
    try:
        ended = json.loads(_record(METADATA, place).read_text(encoding="utf-8"))["endtime"]
        made = (path if place == path else place / STAMP).stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return False  # none, or half of one, of a run that was killed
    return abs(made - ended) < TICK and path.stat().st_mtime < ended + TICK
