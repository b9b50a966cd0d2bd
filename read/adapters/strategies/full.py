"""Full fine-tuning."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from read.adapters.registry import Strategy
from read.adapters.sub_blocks import own_parameters


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    return own_parameters(model)


STRATEGY = Strategy("every parameter of the model", "", _apply)
