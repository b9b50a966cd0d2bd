"""Backbones for grounding, each a file with a `Backbone` subclass; and text models that see a video."""

import importlib
import pkgutil

from read.backbones.base import Backbone, Segment, backbone_names, build_backbone, get_backbone, load_backbone

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)  # its `Backbone` subclass registers itself

__all__ = ["Backbone", "Segment", "backbone_names", "build_backbone", "get_backbone", "load_backbone"]
