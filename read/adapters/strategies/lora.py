"""LoRA, by peft: low-rank updates of the linear layers.

peft's own layer for nn.MultiheadAttention merges the update into the frozen weight and subtracts it again in every
forward pass, by which that weight drifts. The packed projection is therefore updated as a parameter.

With `after`, only the linear layers that the places of these kinds are made of; without, all of the model.
"""

from collections.abc import Collection, Iterable
from typing import Any

from torch import nn

from read.adapters.config import AdapterConfig
from read.adapters.places import kind_at, parts_of
from read.adapters.registry import Strategy
from read.adapters.sub_blocks import closed_forms, head_prefixes
from read.errors import InputError, optional_imports


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    with optional_imports():
        from peft import LoraConfig, inject_adapter_in_model

    after = AdapterConfig(after=options["after"]).after if options["after"] else ()
    modules, parameters = linear_layers(model, after)
    if not modules and not parameters:
        where = f" at {' and '.join(after)}" if after else ""
        raise InputError(f"strategy lora: {type(model).__name__} has no linear layers{where}")
    config = LoraConfig(
        r=options["rank"],
        lora_alpha=options["alpha"],
        target_modules=modules,
        target_parameters=parameters,
    )
    inject_adapter_in_model(config, model, adapter)
    return [name for name, _ in model.named_parameters() if ".lora_" in name]


def linear_layers(model: nn.Module, after: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Names of the linear modules and of the packed attention projections, without closed forms.

    With `after`, those of the places of these kinds, where bottlenecks would stand as well; else of all but task heads.
    """
    parts, closed = parts_of(model, after), closed_forms(model)
    heads = tuple(f"{prefix}." for prefix in head_prefixes(model))
    modules, parameters, attentions = [], [], []
    for name, module in model.named_modules():
        left = kind_at(name, parts) is None if after else f"{name}.".startswith(heads)
        if left or f"{name}.".startswith(closed):
            continue
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            attentions.append(f"{name}.")
            parameters.append(f"{name}.in_proj_weight")
        elif isinstance(module, nn.Linear) and not name.startswith(tuple(attentions)):
            modules.append(name)
    return modules, parameters


STRATEGY = Strategy(
    "low-rank updates of the linear layers",
    "Hu et al. 2022 (LoRA)",
    _apply,
    {"rank": 4, "alpha": 8, "after": ()},
    budget="rank",
)
