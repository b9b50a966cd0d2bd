"""Full fine-tuning."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from read.adapters.places import own_parameters
from read.adapters.strategies.registry import Strategy


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    return own_parameters(model)


STRATEGY = Strategy("full", "every parameter of the model", "", _apply)
