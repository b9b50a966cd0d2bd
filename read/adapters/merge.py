"""Write an adapter into the weights of the backbone, where it is nothing but an update of them."""

from typing import Any

import torch
from torch import Tensor, nn

from read.adapters.inject import activate, adapters_with, applied, remove
from read.adapters.runtime import Adapters
from read.adapters.standing import module_at
from read.adapters.surroundings import is_transposed
from read.adapters.wrapped import is_peft, unwrap_to_change
from read.errors import InputError


def merge(model: nn.Module, name: str = "default") -> nn.Module:
    """Add an adapter's low-rank updates to the weights that they stand beside, W + scale * B A, and take it out.

    Heads that trained with the adapter, and what was fitted for it, stay as it has them.

    Args:
        model: one with this adapter and no other, which would be on another backbone afterwards.
        name: the adapter's.

    Raises:
        InputError: there is no such adapter, there are others, or it is no update of weights: another placement than
            `low_rank`, a cell that has a part in what it computes (alpha is not 0), or a place that is no linear layer
            of floating-point weights. The model is left as it was.
    """
    given, model = model, unwrap_to_change(model, "merge an adapter")
    adapters = adapters_with(model, name)
    if others := sorted(adapters.keys() - {name}):
        raise InputError(f"merging {name!r} would change the backbone of {', '.join(others)}; remove these first")
    updates = updates_of(model, adapters, name)
    activate(model, name)  # brings its heads
    with torch.no_grad():
        for weight, update in updates:
            weight += update.to(weight.dtype)
    applied(model)[name].values = {}  # or `remove` would bring back the heads from before
    remove(model, name)
    return given


def updates_of(model: nn.Module, adapters: Adapters, name: str) -> list[tuple[Tensor, Tensor]]:
    """The weights and what is to be added to each. Raises InputError as `merge`, for an adapter that is no update."""
    config = adapters.configs[name]
    layers: Any = adapters[name]
    if config.placement != "low_rank":
        raise InputError(f"adapter {name!r} is {config.placement} and no update of weights, which only low_rank is")
    updates: list[tuple[Tensor, Tensor]] = []
    faults: dict[str, list[str]] = {}
    for place, key in adapters.keys_of[name].items():
        where, bottleneck = adapters.places[place], layers[key]
        layer = module_at(model, where.name)
        weight: Any = getattr(layer, "weight", None)
        if is_peft(layer):
            faults.setdefault("peft stands around it; merge_and_unload first", []).append(where.name)
        elif bottleneck.alpha is not None and bool(bottleneck.alpha.any()):
            faults.setdefault("there the cell has a part in what is computed", []).append(where.name)
        elif not where.linear or not weight.is_floating_point():
            faults.setdefault("no linear layer of floating-point weights", []).append(where.name)
        else:
            update = config.scale * bottleneck.up.weight @ bottleneck.down.weight
            updates.append((weight, update.T if is_transposed(layer) else update))
    if faults:
        told = (f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {why}" for why, names in faults.items())
        raise InputError(f"adapter {name!r} cannot be merged: {'; '.join(told)}")
    return updates
