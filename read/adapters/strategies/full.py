"""Full fine-tuning; as in every strategy, `train_head` says whether the task heads train."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from read.adapters.registry import Strategy
from read.adapters.sub_blocks import head_parameters, own_parameters


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    heads = set(head_parameters(model))
    return [name for name in own_parameters(model) if name not in heads]


STRATEGY = Strategy(
    "every parameter but those of the task heads",
    "",
    _apply,
    rate_scale=0.16,  # measured, montage, k = 32: of .0002, .0005, .00125, .003 the middle two are best
)
