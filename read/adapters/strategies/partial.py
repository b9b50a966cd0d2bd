"""Partial fine-tuning: the last layers of every stack."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from read.adapters.registry import Strategy
from read.adapters.sub_blocks import own_parameters, sub_blocks
from read.errors import InputError


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    stacks: dict[str, list[str]] = {}
    for place in sub_blocks(model, "feed_forward"):
        parent = place.layer.rpartition(".")[0]
        stacks.setdefault(parent, []).append(f"{place.layer}.")
    if not stacks:
        raise InputError(f"strategy partial: the layers of {type(model).__name__} are not known")
    last = tuple(layer for layers in stacks.values() for layer in list(dict.fromkeys(layers))[-options["layers"] :])
    return [name for name in own_parameters(model) if name.startswith(last)]


STRATEGY = Strategy("the last layers of the backbone", "", _apply, {"layers": 1}, budget="layers")
