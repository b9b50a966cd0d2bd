"""How many parameters train, and which option of a strategy makes it a given number."""

import copy
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import nn

from read.adapters.registry import apply_strategy, get_strategy
from read.adapters.wrapped import unwrap
from read.errors import InputError

STALLED = 2  # doublings that add nothing: all layers train; one alone is the rounding of a share of a small bottleneck


@dataclass(frozen=True)
class TrainableParameters:
    """What trains in a model.

    Attributes:
        names: of the parameters.
        counts: elements of each.
        total: elements of all.
        share: of the model's parameters, frozen ones and added ones included.
    """

    names: tuple[str, ...]
    counts: dict[str, int]
    total: int
    share: float


def trainable_parameters(model: nn.Module) -> TrainableParameters:
    """The parameters of `model` that require gradients."""
    model = unwrap(model)
    counts = {name: value.numel() for name, value in model.named_parameters() if value.requires_grad}
    total, everything = sum(counts.values()), sum(value.numel() for value in model.parameters())
    return TrainableParameters(tuple(counts), counts, total, total / max(everything, 1))


def match_budget(strategy: str, model: nn.Module, n: int, **options: Any) -> dict[str, Any]:
    """The options by which `strategy` trains nearest to `n` parameters of `model`, which is left as it is.

    Args:
        strategy: its name.
        model: a fresh backbone.
        n: the number to come near to.
        options: others of the strategy's, which are kept.

    Returns:
        `options` with the strategy's size (bottleneck, rank, tokens, layers) added.

    Raises:
        InputError: the strategy has no size to choose.
    """
    kind = get_strategy(strategy).of(options)
    size = kind.budget
    if size is None:
        named = f"{strategy}, type {options['type']}," if "type" in options else strategy
        raise InputError(f"strategy {named} has no option that sets its size")
    if n < 1:
        raise InputError(f"a budget of {n} parameters cannot be matched")

    model = unwrap(model)

    def count(value: int) -> float:
        copied = skeleton(model) if kind.weightless else copy.deepcopy(model)
        try:
            return trainable_parameters(apply_strategy(strategy, copied, **{**options, size: value})).total
        except InputError:
            if value == 1:
                raise
            return inf  # more than the model's layers can take

    low, high, before, idle = 1, 1, 0.0, 0
    while (reached := count(high)) < n:
        idle = idle + 1 if reached == before else 0
        if idle == STALLED:
            break
        low, high, before = high, high * 2, reached
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < n else (low, middle)
    return {**options, size: min((low, high), key=lambda value: abs(count(value) - n))}


def skeleton(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have shapes but no data."""
    tensors = [*model.parameters(), *model.buffers()]
    with torch.no_grad():
        memo = {id(tensor): tensor.to("meta") for tensor in tensors}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(memo[id(parameter)], requires_grad=parameter.requires_grad)
    return copy.deepcopy(model, memo)
