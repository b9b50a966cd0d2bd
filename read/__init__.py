"""READ: recurrent adapters with partial video-language alignment, for low-resource video-language models."""

import importlib
from typing import Any

__version__ = "0.1.0"

# The library's front door. Names are looked up when first asked for, so that `import read` stays light.
_HOMES = {
    "read.adapters": (
        "AdapterConfig", "activate", "alignment_states", "apply_strategy", "deactivate", "inject", "load_adapter",
        "match_budget", "merge", "remove", "save_adapter", "strategy_names", "trainable_parameters",
    ),
    "read.alignment": ("Alignment",),
    "read.backbones": ("build_backbone", "load_backbone"),
    "read.backbones.visual_guidance": ("VisualGuidance",),
    "read.bundle.push": ("push",),
    "read.predictor": ("Predictor",),
    "read.transport": ("certificate", "partial_alignment_loss", "partial_transport"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    """Import the room that holds `name`."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'read' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    """The library's names, for completion."""
    return [*globals(), *__all__]
