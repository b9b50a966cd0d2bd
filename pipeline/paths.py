"""Where the artifacts lie; the rules name the same places.

All lie under one root, which is the working directory unless the rules tell another one, as where Snakemake keeps local
copies of object storage. What is checked in does not. No artifact names the root.
"""

import os
from pathlib import Path

TOLD = "READ_ROOT"  # the root, in the environment of jobs
ROOT = Path(os.environ.get(TOLD, ""))
RAW = ROOT / "data/raw"
ENCODERS = ROOT / "models/encoders"
RUNS = ROOT / "results/runs"
REPORT = ROOT / "results/report"
PIECES = "pieces"  # in the folder of a dataset: the files that its videos are stitched of


def name(path: Path) -> str:
    """A path as artifacts have it, below the root."""
    return path.relative_to(ROOT).as_posix()


def told(message: object) -> str:
    """A message as artifacts have it: paths in it are below the root."""
    return str(message).replace(f"{ROOT}{os.sep}", "") if ROOT.parts else str(message)


def raw(dataset: str) -> Path:
    """Annotations, videos and the manifest of a dataset."""
    return RAW / dataset


def features(dataset: str) -> Path:
    """Feature shards of a dataset."""
    return ROOT / "data/features" / dataset


def transcripts(dataset: str) -> Path:
    """What is said in videos that came without a transcript, heard here."""
    return ROOT / "data/transcripts" / dataset


def heard(dataset: str) -> Path:
    """All of these transcripts."""
    return transcripts(dataset) / "transcripts.jsonl"


def splits(dataset: str, task: str) -> Path:
    """The splits of all runs."""
    return ROOT / "data/splits" / dataset / task


def split_file(dataset: str, task: str, shots: int, seed: int) -> Path:
    """The split of one run."""
    return splits(dataset, task) / f"k{shots}-s{seed}.json"


def backbone(task: str) -> Path:
    """The pretrained model of a task."""
    return ROOT / "models/backbone" / task


def adapter(dataset: str, task: str, strategy: str, shots: int, seed: int) -> Path:
    """What one run trained."""
    return ROOT / "models/adapters" / dataset / task / strategy / f"k{shots}-s{seed}"


def results(dataset: str, task: str) -> Path:
    """What all runs of a task predicted and scored."""
    return RUNS / dataset / task


def result(dataset: str, task: str, strategy: str, shots: int, seed: int) -> Path:
    """What one run predicted and scored."""
    return results(dataset, task) / strategy / f"k{shots}-s{seed}"


def curves(dataset: str, task: str, strategy: str, shots: int, seed: int) -> Path:
    """The learning curves of one run, for `dvc plots`."""
    return ROOT / "results/curves" / dataset / task / strategy / f"k{shots}-s{seed}"
