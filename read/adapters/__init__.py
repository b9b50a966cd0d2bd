"""The adapter family and the other fine-tuning strategies."""

from read.adapters.budget import TrainableParameters, match_budget, trainable_parameters
from read.adapters.config import AdapterConfig
from read.adapters.inject import activate, alignment_states, deactivate, inject, remove
from read.adapters.io import load_adapter, save_adapter
from read.adapters.merge import merge
from read.adapters.registry import apply_strategy, get_strategy, strategy_names

__all__ = [
    "AdapterConfig",
    "TrainableParameters",
    "activate",
    "alignment_states",
    "apply_strategy",
    "deactivate",
    "get_strategy",
    "inject",
    "load_adapter",
    "match_budget",
    "merge",
    "remove",
    "save_adapter",
    "strategy_names",
    "trainable_parameters",
]
