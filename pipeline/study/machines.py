"""Where a study was run: each machine notes itself beside the results."""

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from pipeline.provenance import PACKAGES
from pipeline.study.running import MACHINES
from read.files import digest_of, read_json, write_json

CPU = Path("/proc/cpuinfo")


def note_machine(folder: Path) -> None:
    """Note this machine in a study's folder, once."""
    about = {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform(), "packages": _packages()}
    file = folder / MACHINES / f"{digest_of(about)}.json"
    if not file.is_file():
        today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        write_json(file, {"date": today} | about)


def machines(folder: Path) -> list[dict[str, Any]]:
    """The machines that noted themselves, in the order of their dates."""
    found = [read_json(path) for path in sorted((folder / MACHINES).glob("*.json"))]
    return sorted(found, key=lambda about: about["date"])


def _cpu() -> str:
    lines = CPU.read_text(encoding="utf-8").splitlines() if CPU.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _packages() -> dict[str, str]:
    """Versions of Python and of the packages by which results may differ."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, "numpy", "scipy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
