"""Where adapters go: the sub-blocks of a model, found by what its modules offer, by family, or by name."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from read.adapters.config import LINEAR, AdapterConfig
from read.adapters.families import HEADS, Family, family_of
from read.adapters.structure import Layers, find_layers, takes_prompts
from read.adapters.surroundings import is_batch_first, is_causal, linear_sizes, stack_of
from read.adapters.wrapped import original, plain
from read.errors import InputError
from read.plugins import suggest

OWN = ("adapters", "prompts")  # modules that strategies put into a model, which are no part of it
STARTS = {"fc2": "fc1", "linear2": "linear1"}  # last linear layer of a feed-forward block -> its first


@dataclass(frozen=True)
class Place:
    """A part of a model that can take an adapter.

    Attributes:
        name: of the module whose output joins the residual.
        entry: of the module whose first argument is the sub-block's input.
        stack: of the module whose forward call tells which tokens are real; "" is the model itself.
        modality: of the tokens, where the stack cannot tell.
        causal: no token may see a later one.
        batch_first: tokens are (B, T, d), not (T, B, d).
        kind: one of `read.adapters.config.SUB_BLOCKS`.
        linear: it is one linear layer, which the branch stands beside.
        parts: names of the modules that it is made of, where they are more than the two.
    """

    name: str
    entry: str
    stack: str
    modality: str
    causal: bool = False
    batch_first: bool = True
    kind: str = "feed_forward"
    linear: bool = False
    parts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells it from all others, those of its name that are taken in another way among them."""
        return repr(self)

    @property
    def layer(self) -> str:
        """The transformer layer that the sub-block is in: its name up to the first number after the stack's."""
        below = self.name.removeprefix(self.stack)
        numbered = re.match(r".*?\.\d+(?=\.|$)", below)
        return self.stack + numbered.group() if numbered else self.name.rpartition(".")[0] or self.name


def find_places(model: nn.Module, config: AdapterConfig) -> list[Place]:
    """The places in `model` that `config` asks for, in the order of the model's modules.

    Raises:
        InputError: a target matches nothing (with near names), or the model is of no known family.
    """
    places = _targets(model, config) if config.targets else sub_blocks(model, *config.after)
    if not places:
        raise InputError(
            f"{type(model).__name__}: its {' and '.join(config.after)} blocks are not known; name them by targets=(...)"
        )
    if config.placement == "low_rank":
        places = [part for place in places for part in _linear_parts(model, place, bool(config.targets))]
    order = {name: index for index, (name, _) in enumerate(model.named_modules())}
    return sorted(places, key=lambda place: order[place.name])


def sub_blocks(model: nn.Module, *kinds: str) -> list[Place]:
    """The places of kinds, of `read.adapters.config.SUB_BLOCKS`, that are known without being named."""
    places: list[Place] = []
    stacks, read = list(_stacks(model)), [] if set(kinds) <= set(LINEAR) else _layers(model)
    for kind in kinds:
        for name, module, family in stacks:
            places += _offered(module, name, kind) if family is None else _in_family(module, name, family, kind)
        for layers in () if kind in LINEAR else read:
            places += _read(model, layers, kind)
    return places


def _layers(model: nn.Module) -> list[Layers]:
    return find_layers(model, (*OWN, *(name for name, _, _ in _stacks(model))))


def _linear_parts(model: nn.Module, place: Place, named: bool) -> list[Place]:
    """The linear layers of a feed-forward block, each as a place; of what a target names, itself where it is one.

    Other places stay as they are: the projections of attention are packed or read tokens that are not the layer's, and
    a branch on what attention gives updates its output projection.
    """
    if place.kind != "feed_forward":
        return [place]
    ends: Sequence[str] = (place.name,) if named else (*reversed(place.parts), place.entry, place.name)
    told = getattr(model.get_submodule(place.name), "parts", None)
    if isinstance(told, tuple):  # of a block whose weights stay with the layer; a user's may mean something else by it
        ends = [_below(place.name.rpartition(".")[0], part) for part in told]
    inner = (type(part).__name__ for end in ends for part in model.get_submodule(end).modules())
    if not named and any("Expert" in kind for kind in inner):
        raise InputError(
            f"{place.name}: low_rank stands beside layers that see all tokens, and an expert sees some only"
        )
    below = ((end, path, part) for end in ends for path, part in model.get_submodule(end).named_modules())
    names = [_below(end, path).rstrip(".") for end, path, part in below if linear_sizes(part)]
    if named and names != [place.name]:
        return [place]
    return [replace(place, name=name, entry=name, linear=True) for name in dict.fromkeys(names)] or [place]


def self_attentions(model: nn.Module) -> dict[str, int]:
    """Names of the attention modules whose keys can be joined by others, and their width.

    These are every nn.MultiheadAttention and what can be called like one, and the self-attention of known families
    where it is not causal: a causal one may run on a cache.
    """
    everywhere = model.named_modules()
    found = {name: module.embed_dim for name, module in everywhere if called_like_torchs(module)}
    for stack, module, family in _stacks(model):
        if family and family.self_attention and not family.causal(module, stack):
            for name, block in module.named_modules():
                if matches(name, family.self_attention) and not called_like_torchs(block):
                    found[_below(stack, name)] = next(block.parameters()).shape[-1]
    read: list[Layers] = []
    with suppress(InputError):  # a model of torch's layers alone has attention that can be called
        read = _layers(model)
    for layers in read:
        for entry in () if layers.causal else (block.entry for block in layers.blocks if block.kind == "attention"):
            if takes_prompts(model.get_submodule(entry)):
                found[entry] = next(model.get_submodule(entry).parameters()).shape[-1]
    return found


def called_like_torchs(module: nn.Module) -> bool:
    """Whether an attention module is called as nn.MultiheadAttention is: (query, key, value, key_padding_mask, ...)."""
    return hasattr(module, "embed_dim") and hasattr(module, "batch_first")


def _stacks(model: nn.Module) -> Iterable[tuple[str, nn.Module, Family | None]]:
    """Modules that call layers: those that offer their blocks, and those of a family. What is below one is its own."""
    found: list[str] = []
    for name, module in model.named_modules():
        if name.split(".")[0] in OWN or any(name.startswith(_below(stack, "")) for stack in found):
            continue
        family = None if hasattr(module, "feed_forward_blocks") else family_of(module)
        if family or hasattr(module, "feed_forward_blocks"):
            found.append(name)
            yield name, module, family


def head_prefixes(model: Any) -> list[str]:
    """Dotted prefixes of the task heads' parameters: the model's own `heads()`, or names that are usual for heads."""
    if hasattr(model, "heads"):
        return list(model.heads())
    return [name for name, _ in model.named_children() if name in HEADS]


def head_parameters(model: nn.Module) -> list[str]:
    """Names of the parameters under `head_prefixes`; one that is tied has the name that `named_parameters` gives it."""
    prefixes = head_prefixes(model)
    everywhere = model.named_parameters(remove_duplicate=False)
    heads = {id(value) for name, value in everywhere if any(_is_under(name, prefix) for prefix in prefixes)}
    return [name for name, value in model.named_parameters() if id(value) in heads]


def own_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a strategy may train: the model's and not a strategy's, nor of what is only ever fitted."""
    never = closed_forms(model)
    return {
        name: value
        for name, value in model.named_parameters()
        if name.split(".")[0] not in OWN and not name.startswith(never)
    }


def closed_forms(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the modules that are fitted in closed form and never trained, which say so: `closed_form = True`."""
    closed = (name for name, module in model.named_modules() if getattr(module, "closed_form", False) is True)
    return tuple(_below(name, "") for name in closed)


def fitted_parameters(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that are fitted to labelled videos before a strategy trains.

    A module names those of its own as `fitted`, a tuple. They are a run's, as what trains, not the backbone's.

    Raises:
        InputError: a module names one that it has not.
    """
    wanted: dict[str, str] = {}
    for path, module in model.named_modules():
        names = getattr(module, "fitted", ())
        if isinstance(names, tuple):  # a model of a user's may mean something else by the word
            wanted |= {plain(_below(path, name)): name for name in names}
    found = {original(name): name for name, _ in model.named_parameters()} if wanted else {}
    if missing := sorted(wanted.keys() - found.keys()):
        raise InputError(f"{type(model).__name__}: `fitted` names {', '.join(missing)}, which are no parameters")
    return frozenset(found[name] for name in wanted)


def _offered(module: Any, name: str, kind: str) -> Iterable[Place]:
    offered = getattr(module, f"{kind}_blocks", None)  # a model of a user's need not know of all kinds
    for block in offered() if offered else ():
        path, _, last = block.rpartition(".")
        entry = _below(path, STARTS[last]) if last in STARTS else block
        yield Place(_below(name, block), _below(name, entry), name, "tokens", kind=kind, linear=kind in LINEAR)


def _in_family(module: nn.Module, name: str, family: Family, kind: str) -> Iterable[Place]:
    patterns = {"feed_forward": (family.feed_forward,), "attention": family.attention}.get(kind, ())
    layout: dict[str, Any] = {
        "causal": family.causal(module, name),
        "batch_first": getattr(module, "batch_first", True),
        "kind": kind,
    }
    modality = "video" if "visual" in name else "written" if family.writes(module, name) else family.modality
    for block, _ in module.named_modules():
        if not any(matches(block, pattern) for pattern in patterns):
            continue
        place = Place(_below(name, block), _below(name, block), name, modality, **layout)
        if kind == "feed_forward" and family.entry:
            place = Place(place.name, _below(place.layer, family.entry), name, modality, **layout)
        yield place


def _read(model: nn.Module, layers: Layers, kind: str) -> Iterable[Place]:
    if kind in layers.unread:
        raise InputError(f"{type(model).__name__}: {layers.unread[kind]}; name its {kind} blocks by targets=(...)")
    for block in layers.blocks:
        if block.kind == kind:
            yield Place(
                block.end, block.entry, layers.stack, layers.modality, layers.causal, kind=kind, parts=block.parts
            )


def _targets(model: nn.Module, config: AdapterConfig) -> list[Place]:
    names = [name for name, _ in model.named_modules() if name and name.split(".")[0] not in OWN]
    places: dict[str, Place] = {}
    for pattern in config.targets:
        matched = [name for name in names if _glob(pattern).fullmatch(name)]
        if not matched:
            shapes = {re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names}
            near = suggest(pattern, shapes, 5)
            raise InputError(f"targets: {pattern!r} matches no module of {type(model).__name__}{near}")
        for name in matched:
            path, _, last = name.rpartition(".")
            entry = _below(path, STARTS[last]) if STARTS.get(last) and _below(path, STARTS[last]) in names else name
            stack = stack_of(model, name)
            causal = config.causal or is_causal(model, name, stack)
            places[name] = Place(name, entry, stack, "tokens", causal, is_batch_first(model, name))
    return list(places.values())


def _glob(pattern: str) -> re.Pattern[str]:
    """What matches a glob of module names, or ends in what does; a star stays between dots, two go across."""
    parts = re.split(r"(\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    meaning = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    return re.compile(r"(?:.*\.)?" + "".join(
        part.replace("[!", "[^", 1) if part[:1] == "[" and part[-1:] == "]" else meaning.get(part) or re.escape(part)
        for part in parts
    ))  # fmt: skip


def matches(name: str, pattern: str) -> bool:
    """Whether `name` is `pattern` with a number for each star."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"\d+"), name) is not None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
