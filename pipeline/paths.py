"""Where the artifacts lie; the rules name the same places."""

from pathlib import Path

ENCODERS = Path("models/encoders")
BACKBONE = Path("models/backbone")


def raw(dataset: str) -> Path:
    """Annotations, videos and the manifest of a dataset."""
    return Path("data/raw", dataset)


def features(dataset: str) -> Path:
    """Feature shards of a dataset."""
    return Path("data/features", dataset)


def split_file(dataset: str, shots: int, seed: int) -> Path:
    """The split of one run."""
    return Path("data/splits", dataset, f"k{shots}-s{seed}.json")


def adapter(dataset: str, strategy: str, shots: int, seed: int) -> Path:
    """What one run trained."""
    return Path("models/adapters", dataset, strategy, f"k{shots}-s{seed}")


def result(dataset: str, strategy: str, shots: int, seed: int) -> Path:
    """What one run predicted and scored."""
    return Path("results/runs", dataset, strategy, f"k{shots}-s{seed}")


def curves(dataset: str, strategy: str, shots: int, seed: int) -> Path:
    """The learning curves of one run, for `dvc plots`."""
    return Path("results/curves", dataset, strategy, f"k{shots}-s{seed}")
