"""LoRA, by peft: low-rank updates of the linear layers.

peft's own layer for nn.MultiheadAttention merges the update into the frozen weight and subtracts it again in every
forward pass, by which that weight drifts. The packed projection is therefore updated as a parameter.

With `after`, only the linear layers that the places of these kinds are made of; without, all of the model.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn

from read.adapters.peft_layers import put_in, targets_of
from read.adapters.registry import Strategy
from read.errors import optional_imports


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    with optional_imports():
        from peft import LoraConfig

    modules, parameters = targets_of(model, options["after"], "strategy lora")
    make = partial(
        LoraConfig, r=options["rank"], lora_alpha=options["alpha"], target_modules=modules, target_parameters=parameters
    )
    return put_in(model, make, adapter, "strategy lora")


STRATEGY = Strategy(
    "low-rank updates of the linear layers",
    "Hu et al. 2022 (LoRA)",
    _apply,
    {"rank": 4, "alpha": 8, "after": ()},
    budget="rank",
)
