"""How wide the tokens are at a place."""

from collections.abc import Iterable

from torch import Tensor, nn

from read.adapters.sub_blocks import Place
from read.adapters.surroundings import around, is_pretrained, linear_sizes
from read.errors import InputError


def widths_of(model: nn.Module, place: Place) -> tuple[int, int]:
    """The widths of what a branch at `place` reads, and of what it gives."""
    if place.linear and (sizes := linear_sizes(model.get_submodule(place.name))):
        return sizes
    width = _width_of(model, place.name)
    return width, width


def _width_of(model: nn.Module, name: str) -> int:
    """d, the width of what a sub-block gives: its last linear layer's, or that of the norm beside it.

    One of several linear layers need not be the last that is computed, nor that of an expert the block's.
    """
    module = model.get_submodule(name)
    linears = [part for part in module.modules() if linear_sizes(part)]
    shipped = any(is_pretrained(model.get_submodule(path)) for path in around(name))
    last = linear_sizes(linears[-1]) if linears else None
    if last and (linears == [module] or not shipped):
        return last[1]
    for near in (module, *_norms_around(model, name)):
        weight = getattr(near, "weight", None)
        if type(near).__name__.endswith("Norm") and isinstance(weight, Tensor):
            return len(weight)
    if last:
        return last[1]
    raise InputError(f"{name}: its width cannot be told, it holds no linear layer and stands beside no norm")


def _norms_around(model: nn.Module, name: str) -> Iterable[nn.Module]:
    """Norms beside a module first, then those in what stands beside it, then those beside what it is in."""
    for path in around(name):
        parent = model.get_submodule(path)
        yield from parent.children()
        if path == name.rpartition(".")[0]:
            yield from parent.modules()
