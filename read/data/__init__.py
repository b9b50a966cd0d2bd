"""Annotations, summaries, features, splits and batches: what stands between files and a model."""

from read.data.annotations import Annotation, Question, load_annotations
from read.data.copies import find_twins
from read.data.features import FeatureStore, write_shard
from read.data.layouts import load_parts, youtube_of
from read.data.leaks import check_leaks, one_for_copies
from read.data.pieces import pieces, training_pieces
from read.data.samples import Sample, collate, make_samples
from read.data.splits import Split, SplitSettings, make_split, reported_side
from read.data.summaries import Summary, load_how2, load_summaries, with_heard, with_transcripts
from read.data.transcripts import load_transcript

__all__ = [
    "Annotation",
    "FeatureStore",
    "Question",
    "Sample",
    "Split",
    "SplitSettings",
    "Summary",
    "check_leaks",
    "collate",
    "find_twins",
    "load_annotations",
    "load_how2",
    "load_parts",
    "load_summaries",
    "load_transcript",
    "make_samples",
    "make_split",
    "one_for_copies",
    "pieces",
    "reported_side",
    "training_pieces",
    "with_heard",
    "with_transcripts",
    "write_shard",
    "youtube_of",
]
