"""What is around a module that `targets` names: the stack that its tokens are of, and what the model says of them."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from read.adapters.families import family_of

MASKS = ("attention_mask", "src_key_padding_mask", "tgt_key_padding_mask")  # of transformers, and of torch's layers


def mask_argument(arguments: Iterable[str]) -> str | None:
    """Which of a forward's arguments tells padding from tokens."""
    return next((name for name in MASKS if name in arguments), None)


def stack_of(model: nn.Module, name: str) -> str:
    """The module whose call tells which of the tokens at `name` are real.

    That is the nearest around it that has `segments`, or else whose forward takes a mask. A layer, one of several that
    are numbered, is none: the stack that calls it has been given the mask itself, not what was made of it.
    """
    outer = list(around(name))
    for path in outer:
        if hasattr(model.get_submodule(path), "segments"):
            return path
    takers = [path for path in outer if mask_argument(inspect.signature(model.get_submodule(path).forward).parameters)]
    above = [path for path in takers if any(part.isdigit() for part in _below(name, path).split("."))]
    return next(iter(above or takers), "")


def is_causal(model: nn.Module, name: str, stack: str) -> bool:
    """Whether the model says that no token may see a later one: by its family, its attention or its config."""
    for path in around(name):
        if family := family_of(model.get_submodule(path)):
            return family.causal(model.get_submodule(path), path)
    if getattr(getattr(model.get_submodule(stack), "config", None), "is_decoder", False):
        return True
    numbered = [path for path in (name, *around(name)) if path.rpartition(".")[2].isdigit() and len(path) > len(stack)]
    layer = model.get_submodule(numbered[-1] if numbered else name)
    return any(getattr(module, "is_causal", False) is True for module in layer.modules())


def is_batch_first(model: nn.Module, name: str) -> bool:
    """Whether tokens at `name` are (B, T, d), as the nearest attention of torch around it has them, or by default."""
    for path in (name, *around(name)):
        module = model.get_submodule(path)
        for candidate in (module, *module.children()):
            if isinstance(first := getattr(candidate, "batch_first", None), bool):
                return first
    return True


def linear_sizes(module: Any) -> tuple[int, int] | None:
    """The widths of what a linear layer reads and gives: torch's, or GPT-2's, whose weight is transposed."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return tuple(module.weight.shape) if is_transposed(module) else None


def is_transposed(module: nn.Module) -> bool:
    """Whether it is a linear layer whose weight is (in, out)."""
    return type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers.")


def is_pretrained(module: nn.Module) -> bool:
    """Whether it is a model of transformers, which is told by name: nothing has to be imported."""
    return any(kind.__name__ == "PreTrainedModel" for kind in type(module).__mro__)


def around(name: str) -> Iterator[str]:
    """Names of the modules around one, the nearest first; the model itself, "", is the last."""
    while name:
        name = name.rpartition(".")[0]
        yield name


def _below(name: str, path: str) -> str:
    return name.removeprefix(path).removeprefix(".")
