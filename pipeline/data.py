"""A dataset as the stages after extraction see it."""

from collections.abc import Collection
from types import SimpleNamespace

from pipeline import paths
from read.data import FeatureStore, Sample, load_annotations, make_samples
from read.errors import InputError


def load_samples(
    dataset: str, settings: SimpleNamespace, videos: Collection[str] | None = None
) -> tuple[list[Sample], FeatureStore]:
    """Samples of a dataset, of some videos or of all that have features, and the store that they come from.

    Raises:
        InputError: features of another clip length than params.yaml asks for, or no sample at all.
    """
    store = FeatureStore(paths.features(dataset))
    found = store.spec["clip_len"]
    if found != settings.clip_len:
        wanted = f"clip_len is {settings.clip_len:g}"
        raise InputError(f"{store.root}: features per {found:g} s, but {wanted}; run the extract stage again")
    annotations = load_annotations(paths.raw(dataset) / "annotations.jsonl", settings.clip_len)
    wanted = store.videos if videos is None else set(videos)
    samples = make_samples((a for a in annotations if a.vid in wanted), store, settings.clip_len)
    if not samples:
        raise InputError(f"{dataset}: none of the {len(wanted)} videos asked for has a query")
    return samples, store
