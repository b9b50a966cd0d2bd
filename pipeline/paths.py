"""Where the artifacts lie; the rules name the same places."""

from pathlib import Path

ENCODERS = Path("models/encoders")


def raw(dataset: str) -> Path:
    """Annotations, videos and the manifest of a dataset."""
    return Path("data/raw", dataset)


def pieces(dataset: str) -> Path:
    """What a dataset's videos are stitched of, where they are."""
    return raw(dataset) / "pieces"


def features(dataset: str) -> Path:
    """Feature shards of a dataset."""
    return Path("data/features", dataset)


def splits(dataset: str, task: str) -> Path:
    """The splits of all runs."""
    return Path("data/splits", dataset, task)


def split_file(dataset: str, task: str, shots: int, seed: int) -> Path:
    """The split of one run."""
    return splits(dataset, task) / f"k{shots}-s{seed}.json"


def backbone(task: str) -> Path:
    """The pretrained model of a task."""
    return Path("models/backbone", task)


def adapter(dataset: str, task: str, strategy: str, shots: int, seed: int) -> Path:
    """What one run trained."""
    return Path("models/adapters", dataset, task, strategy, f"k{shots}-s{seed}")


def results(dataset: str, task: str) -> Path:
    """What all runs of a task predicted and scored."""
    return Path("results/runs", dataset, task)


def result(dataset: str, task: str, strategy: str, shots: int, seed: int) -> Path:
    """What one run predicted and scored."""
    return results(dataset, task) / strategy / f"k{shots}-s{seed}"


def curves(dataset: str, task: str, strategy: str, shots: int, seed: int) -> Path:
    """The learning curves of one run, for `dvc plots`."""
    return Path("results/curves", dataset, task, strategy, f"k{shots}-s{seed}")
