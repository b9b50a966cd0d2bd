"""BitFit: bias terms only (Ben Zaken et al., "BitFit", ACL 2022); those of the task heads if `train_head` says so."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from read.adapters.registry import Strategy
from read.adapters.sub_blocks import head_parameters, own_parameters


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    heads = set(head_parameters(model))
    names = (name for name in own_parameters(model) if name not in heads)
    return [name for name in names if name.rpartition(".")[2].endswith("bias")]


STRATEGY = Strategy(
    "bias terms",
    "Ben Zaken et al. 2022 (BitFit)",
    _apply,
    rate_scale=4.0,  # measured as full's: of .0025, .006, .016, .039 the upper two
)
