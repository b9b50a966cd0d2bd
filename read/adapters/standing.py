"""Whether hooked modules still stand where they stood: peft puts layers of its own around them, and takes these away.

A hook has to be on the outermost: some of peft's layers read the weights of what they stand around, and never call it.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from read.adapters.wrapped import inner_of, is_peft


class Standing:
    """The ways from a model to some of its modules, as they were."""

    def __init__(self) -> None:
        self.steps: dict[tuple[int, str], tuple[dict[str, Any], str, nn.Module]] = {}

    def remember(self, model: nn.Module, name: str) -> nn.Module:
        """The module of this name, whose way is remembered."""
        for parent, part, child in _way(model, name):
            self.steps[id(parent._modules), part] = parent._modules, part, child
            model = child
        return model

    def moved(self) -> bool:
        """Whether another module stands anywhere on these ways."""
        return any(modules.get(part) is not child for modules, part, child in self.steps.values())


def module_at(model: nn.Module, name: str) -> nn.Module:
    """The module of this name, whatever layers of peft stand around it or those that hold it."""
    for _, _, child in _way(model, name):
        model = child
    return model


def _way(model: nn.Module, name: str) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for part in name.split(".") if name else ():
        while part not in model._modules and is_peft(model) and (inner := inner_of(model)) is not None:
            model = inner
        child = model.get_submodule(part)
        yield model, part, child
        model = child
