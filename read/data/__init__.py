"""Annotations, features, splits and batches: what stands between files and a model."""

from read.data.annotations import Annotation, load_annotations
from read.data.features import FeatureStore, write_shard
from read.data.pieces import pieces, training_pieces
from read.data.samples import Sample, collate, make_samples
from read.data.splits import Split, make_split

__all__ = [
    "Annotation",
    "FeatureStore",
    "Sample",
    "Split",
    "collate",
    "load_annotations",
    "make_samples",
    "make_split",
    "pieces",
    "training_pieces",
    "write_shard",
]
