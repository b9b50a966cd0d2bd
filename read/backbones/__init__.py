"""Backbones for grounding, one file each in `grounding/`; and text models that see a video."""

from read.backbones.base import Backbone, Segment, backbone_names, build_backbone, get_backbone, load_backbone

__all__ = ["Backbone", "Segment", "backbone_names", "build_backbone", "get_backbone", "load_backbone"]
