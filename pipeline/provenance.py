"""Where the numbers of a report come from: params, digests of data, code, packages, device.

Times stand apart, in `logs/times.json`: equal inputs give an equal page.
"""

import csv
import datetime
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

from pipeline import paths
from pipeline.machine import device
from read.files import read_json, sha256_of, write_json

PACKAGES = ("torch", "transformers", "open_clip_torch", "peft", "POT", "snakemake", "dvc")
TIMES = Path("benchmarks/results")  # where Snakemake notes the seconds of each job


def gather(settings: SimpleNamespace) -> dict[str, Any]:
    """All of it, as `pipeline.reporting.records.Provenance` takes it."""
    files = {
        "annotations": paths.raw(settings.dataset) / "annotations.jsonl",
        "videos": paths.raw(settings.dataset) / "manifest.json",
        "encoders": paths.ENCODERS / "encoders.json",
        "features": paths.features(settings.dataset) / "features.json",
        "transcripts by ear": paths.heard(settings.dataset),
        **{f"backbone of {task}": paths.backbone(task) / "model.safetensors" for task in settings.task},
    }
    return {
        "params": {key: _plain(value) for key, value in vars(settings).items()},
        "data": {f"{name} ({paths.name(path)})": sha256_of(path) for name, path in files.items() if _holds(path)},
        **_code(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES} | _decoders(files["features"]),
        "device": _device(),
    }


def _holds(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _decoders(path: Path) -> dict[str, str]:
    """What decoded the videos."""
    found = read_json(path).get("decoders", []) if path.is_file() else []
    return {"videos decoded by": ", ".join(found)} if found else {}


def write_times(path: Path, folder: Path = TIMES) -> None:
    """Write when this was and the seconds of work per stage."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_json(path, {"date": now, "seconds": durations(folder)})


def durations(folder: Path) -> dict[str, float]:
    """Seconds of work per stage, summed over its jobs, from Snakemake's benchmark files."""
    seconds: dict[str, float] = {}
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        seconds[stage] = seconds.get(stage, 0.0) + sum(float(row["s"]) for row in rows)
    return seconds


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _code() -> dict[str, Any]:
    """The commit, and whether files differ from it; None outside a git checkout."""
    try:
        commit, changes = (
            subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", "read", "pipeline", "Snakefile"))
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": False}
    return {"commit": commit, "dirty": bool(changes)}


def _device() -> str:
    import torch

    if device() == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {platform.machine()}, {torch.get_num_threads()} threads a job"
