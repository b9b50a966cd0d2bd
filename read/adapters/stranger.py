"""Adapters from the hub, which a stranger may have made: whether their weights are what their options make of a model.

It is found out on a copy of the model without memory, so that whatever options say, no more is built than the file of
weights has bytes for.
"""

from pathlib import Path
from typing import Any

from torch import nn

from read.adapters.budget import skeleton
from read.adapters.config import AdapterConfig
from read.adapters.inject import applied, inject, tensors_of
from read.adapters.registry import apply_strategy, get_strategy
from read.adapters.wrapped import plain
from read.errors import InputError
from read.weights import check_fit, shapes_in, without_memory

NAME = "stranger"


def check_stranger(model: nn.Module, weights: Path, config: Path, values: dict[str, Any]) -> None:
    """Check an adapter's files against a model, which is left as it is.

    Args:
        model: the one to be adapted.
        weights: safetensors, of which the header alone is read.
        config: where `values` were read, for messages.
        values: `strategy` and `options`.

    Raises:
        InputError: the options are none, the weights do not fit them, or the strategy needs memory to be checked.
    """
    strategy, options = values["strategy"], values["options"]
    if not isinstance(options, dict) or not isinstance(strategy, str | None):
        raise InputError(f"{config}: strategy and options are not a name and an object of options")
    copied = skeleton(model)
    with without_memory(config):
        kind = None if strategy is None else get_strategy(strategy).of(options)
        if kind is not None and not kind.weightless:
            raise InputError(f"{config}: such an adapter takes memory before it can be checked; load it from a folder")
        name = NAME if kind is None or kind.switchable else "default"
        if strategy is None:
            inject(copied, AdapterConfig.from_dict(options), name)
        else:
            apply_strategy(strategy, copied, adapter=name, **options)
    tensors = tensors_of(copied)
    named = {
        plain(key).replace(f"adapters.{name}.", "adapters.", 1): tensors[key] for key in applied(copied)[name].saved
    }
    check_fit(shapes_in(weights), named, weights, "this adapter")
