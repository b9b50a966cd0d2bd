"""The embedded dataset: videos made on this machine from photographs that ship with scikit-image."""

from pipeline.sources.montage.source import Montage

__all__ = ["Montage"]
