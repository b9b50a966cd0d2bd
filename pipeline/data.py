"""A dataset as the stages after extraction see it: what is labelled, and the features.

A job asks for the same files often, of the train side and the test side of each run, so what was read of them is kept.
"""

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

from pipeline import paths
from read.data import (
    Annotation,
    FeatureStore,
    SplitSettings,
    Summary,
    load_annotations,
    load_summaries,
    make_split,
    with_heard,
)
from read.errors import InputError
from read.files import check_sha256, read_json


def labels_file(task: str, dataset: str) -> Path:
    """Where a dataset's queries or summaries are."""
    return paths.raw(dataset) / {"grounding": "annotations.jsonl", "summarization": "summaries.jsonl"}[task]


def load_labels(task: str, dataset: str, settings: SimpleNamespace) -> list[Annotation] | list[Summary]:
    """The queries or the summaries of a dataset whose features are there.

    Raises:
        InputError: it has none, or they have mistakes or do not fit the videos.
    """
    file = labels_file(task, dataset)
    if not file.stat().st_size:
        raise InputError(f"{dataset}: its card names nothing that is labelled for {task}; take {task} out of `task`")
    if task == "grounding":
        return [*_annotations(file, settings.clip_len, load_features(dataset, settings), _state([file]))]
    return with_heard(load_summaries(file), paths.heard(dataset))


@lru_cache(maxsize=2)
def _annotations(file: Path, clip_len: float, store: FeatureStore, state: tuple) -> list[Annotation]:
    return load_annotations(file, clip_len, store.lengths)


def load_features(dataset: str, settings: SimpleNamespace) -> FeatureStore:
    """The features of a dataset. Raises InputError where they are of another clip length than params.yaml's.

    A job checks the digests of all shards once.
    """
    folder = paths.features(dataset)
    store = _store(folder, _state(sorted(folder.glob("[!.]*.*"))))
    found = store.spec["clip_len"]
    if found != settings.clip_len:
        wanted = f"clip_len is {settings.clip_len:g}"
        raise InputError(f"{store.root}: features per {found:g} s, but {wanted}; run the extract stage again")
    return store


@lru_cache(maxsize=2)
def _store(folder: Path, state: tuple) -> FeatureStore:
    return FeatureStore(folder)


def _state(files: list[Path]) -> tuple:
    """What is another as soon as one of some files is another."""
    found = ((file.name, file.stat()) for file in files)
    return Path.cwd(), *((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def encoder_videos(source: str, settings: SimpleNamespace) -> set[str] | None:
    """Videos of the source dataset that small encoders may learn from, before there are features; None: all of them."""
    if settings.domain is None:
        return None
    labels = load_annotations(paths.raw(source) / "annotations.jsonl", settings.clip_len)
    return pretraining_videos(labels, settings.domain)


def check_backbone(folder: Path) -> Path:
    """The folder of a pretrained model. Raises InputError where its weights are not as they were written."""
    check_sha256(folder / "model.safetensors", read_json(folder / "pretrain.json").get("sha256"))
    return folder


def pretraining_videos(labels: list[Annotation] | list[Summary], domain: str | None) -> set[str] | None:
    """Videos of the source dataset that a model may be pretrained on; None: all of them.

    Where a `domain` is adapted to, the source is its own dataset: of that, the train sides of the other domains.
    """
    if domain is None:
        return None
    return set(make_split(labels, 1, 0, SplitSettings(0.5, 0.5, protocol="transfer", target=domain)).source)
