"""Linear probing: the task heads only."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from read.adapters.registry import Strategy
from read.adapters.sub_blocks import head_parameters


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    return head_parameters(model)


STRATEGY = Strategy("the task heads", "", _apply)
