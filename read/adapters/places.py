"""In which kinds of places a model's parameters stand: what a comparison of strategies has to say of each."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from read.adapters.config import SUB_BLOCKS
from read.adapters.families import family_of
from read.adapters.sub_blocks import Place, head_parameters, matches, sub_blocks
from read.adapters.wrapped import added_by_peft, original, unwrap, without_peft

KINDS = ("projection", "attention", "feed_forward", "joint", "heads", "other")


def parts_of(model: nn.Module, kinds: Iterable[str] = SUB_BLOCKS) -> dict[str, str]:
    """Names of the modules that the places of some kinds are made of, and the kind of each."""
    return {part: kind for kind in kinds for place in sub_blocks(model, kind) for part in _parts(model, place)}


def _parts(model: nn.Module, place: Place) -> Iterable[str]:
    """Names of the place itself, and of the modules that hold its weights."""
    told = getattr(model.get_submodule(place.name), "parts", None)
    if isinstance(told, tuple):  # of a block whose weights stay with the layer; a user's may mean something else by it
        return [place.name, *(f"{place.name.rpartition('.')[0]}.{part}" for part in told)]
    names = [place.name, place.entry, *place.parts]
    stack = model.get_submodule(place.stack)
    if place.kind == "attention" and (family := family_of(stack)):  # BERT's place is the projection after the attention
        prefix = f"{place.stack}." * bool(place.stack)
        within = (f"{prefix}{name}" for name, _ in stack.named_modules() if matches(name, family.self_attention))
        names += [name for name in within if name.startswith(f"{place.layer}.")]
    return names


def kind_at(name: str, parts: Mapping[str, str]) -> str | None:
    """The kind of the part that a module or parameter is, or is in."""
    while name:
        if name in parts:
            return parts[name]
        name = name.rpartition(".")[0]
    return None


def trained_places(model: nn.Module) -> list[str]:
    """Where the parameters that train are: those of KINDS; `other` are norms, embeddings and what else is in no place.

    What a strategy has added counts where it acts: a bottleneck where it is hooked, an update with what it updates,
    prompts at attention.
    """
    model = unwrap(model)
    with without_peft(model):
        parts = parts_of(model)
    added, heads, found = added_by_peft(model), set(head_parameters(model)), set()
    hooked = _hooked(model, parts)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        own, *rest = name.split(".")
        if own == "adapters":
            found |= hooked[rest[0], rest[1]]
        elif own == "prompts":
            found.add("attention")
        elif name in heads and name not in added:  # an update of a linear layer in a head is not the head's own
            found.add("heads")
        else:
            found.add(kind_at(original(name), parts) or "other")
    return [kind for kind in KINDS if kind in found]


def _hooked(model: nn.Module, parts: Mapping[str, str]) -> dict[tuple[str, str], set[str]]:
    """An adapter's name and the key of one of its bottlenecks -> the kinds of places where that is hooked."""
    kinds: dict[tuple[str, str], set[str]] = {}
    adapters: Any = getattr(model, "adapters", None)
    for name, keys in getattr(adapters, "keys_of", {}).items():
        for place, key in keys.items():
            kinds.setdefault((name, key), set()).add(kind_at(adapters.places[place].name, parts) or "other")
    return kinds
