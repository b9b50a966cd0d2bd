"""Linear probing: the task heads only."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from read.adapters.places import head_parameters
from read.adapters.strategies.registry import Strategy


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    return head_parameters(model)


STRATEGY = Strategy("proj", "the task heads", "", _apply)
