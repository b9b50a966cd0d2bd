"""What a forward pass does with the outputs of modules: an account of its own of where they join the residual."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SAME = {"dropout", "to", "contiguous", "clone", "type_as", "clamp", "view"}  # give the tokens that they take, in order
LOOKS = {"__get__", "isinf", "any", "size", "dim", "is_floating_point", "numel"}
SUMS = {"add", "__add__", "__radd__", "add_", "__iadd__"}
PRODUCTS = {"mul", "__mul__", "__rmul__"}


class Joins(TorchFunctionMode):
    """Follows the outputs of named modules to the first thing that is done with each.

    Attributes:
        joined: names whose every output was added to another tensor of its shape, up to dropout and constant factors.
        otherwise: the others, with what was done.
        calls: how often each module ran.
    """

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.names: dict[int, str] = {}
        self.held: list[Tensor] = []  # so that no address is used again
        self.calls = dict.fromkeys(names, 0)
        self.sums = dict.fromkeys(names, 0)
        self.otherwise: dict[str, str] = {}
        self.handles = [model.get_submodule(name).register_forward_hook(self._mark(name)) for name in names]

    @property
    def joined(self) -> set[str]:
        return {name for name, count in self.calls.items() if count == self.sums[name] > 0} - self.otherwise.keys()

    def _mark(self, name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            self.calls[name] += 1
            self._name(output[0] if isinstance(output, (tuple, list)) else output, name)

        return hook

    def _name(self, tensor: Tensor, name: str) -> None:
        self.held.append(tensor)
        self.names[id(tensor)] = name

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        tensors = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        found = [(tensor, name) for tensor in tensors if (name := self.names.get(id(tensor)))]
        for tensor, name in found:
            kind = func.__name__
            if kind in LOOKS:
                continue
            others = [other for other in tensors if other is not tensor]
            scales = kind in PRODUCTS and all(other.dim() <= 1 for other in others)
            if kind in SAME or scales:
                if isinstance(output, Tensor) and output is not tensor:
                    del self.names[id(tensor)]
                    self._name(output, name)
                continue
            del self.names[id(tensor)]
            if kind in SUMS and others and others[0].shape == tensor.shape:
                self.sums[name] += 1
            else:
                self.otherwise[name] = kind
        return output

    def __exit__(self, *args: Any) -> None:
        for handle in self.handles:
            handle.remove()
        super().__exit__(*args)
