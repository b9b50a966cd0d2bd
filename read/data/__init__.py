"""Annotations, summaries, features, splits and batches: what stands between files and a model."""

import importlib
from typing import Any

# Names are looked up when first asked for: who reads labels alone, as the report does, loads no torch.
_HOMES = {
    "annotations": ("Annotation", "Question", "load_annotations"),
    "copies": ("find_twins",),
    "features": ("FeatureStore", "write_shard"),
    "layouts": ("load_parts", "youtube_of"),
    "leaks": ("check_leaks", "one_for_copies"),
    "pieces": ("training_pieces",),
    "samples": ("Sample", "collate", "make_samples"),
    "splits": ("Split", "SplitSettings", "make_split", "reported_side"),
    "summaries": ("Summary", "load_how2", "load_summaries", "with_heard", "with_transcripts"),
    "transcripts": ("load_transcript",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    """Import the module that holds `name`."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
