"""Stacks of layers in a model that nothing is known of but its source.

A layer is a numbered module whose sub-blocks join its residual (`read.adapters.residuals`). A sub-block is attention
where a module of that name has a part in it, and a feed-forward block where all of its modules are known to treat each
token by itself. Layers that have weights in none of their sub-blocks have not been read, and are refused.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from read.adapters.evidence import CACHE, Surroundings, names_of
from read.adapters.families import SIDE_WAYS, UNREADABLE
from read.adapters.frames import frames_of
from read.adapters.residuals import Join, joins_of
from read.adapters.surroundings import around
from read.errors import InputError

ATTENTION = re.compile(r"att(entio)?n", re.IGNORECASE)
CROSS = re.compile(r"cross|encoder_?att|enc_?dec|multi_?modal_?att", re.IGNORECASE)
PER_TOKEN = re.compile(
    r"Linear|(Conv1D|Norm|Dropout|DropPath|Identity|LayerScale|Activation|Gelu"
    r"|Router|Gate|Experts?|MLP|Intermediate|Output)$"
)
PLAIN = {"hidden_states", "attention_mask", "head_mask", "layer_head_mask", "output_attentions", "key_value_states",
         "encoder_hidden_states", "encoder_attention_mask", "past_key_values", "cache_position"}  # fmt: skip
POSITIONS = re.compile(r"relative|rel_|distance|position|rotary|gru", re.IGNORECASE)
ANY = inspect.Parameter.VAR_KEYWORD


@dataclass(frozen=True)
class LayerBlock:
    """A sub-block of a layer: its kind, where it ends and starts, and all modules that it is made of, by full names."""

    kind: str
    end: str
    entry: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Layers:
    """Numbered layers that one module calls.

    Attributes:
        stack: the module whose call tells which of their tokens are real.
        modality: of the tokens.
        causal: no token sees a later one.
        blocks: the layers' sub-blocks.
        unread: kinds of sub-blocks that there are and that cannot be adapted, with the reason.
    """

    stack: str
    modality: str
    causal: bool
    blocks: tuple[LayerBlock, ...]
    unread: dict[str, str]


def find_layers(model: nn.Module, without: tuple[str, ...] = ()) -> list[Layers]:
    """The stacks of layers in `model`, but for what is below the modules `without`.

    Raises:
        InputError: there are layers with attention that cannot be read, or a stack of which it cannot be told whether
            it is causal, where its mask is or where its cache.
    """
    lists: dict[str, dict[str, list[Join]]] = {}
    strange: dict[str, str] = {}
    for name, module in _numbered(model, without):
        if any(name.startswith(f"{path}.") for layers in lists.values() for path in layers):
            continue
        if joins := joins_of(module):
            lists.setdefault(_list_of(name), {})[name] = joins
        elif any(ATTENTION.search(type(part).__name__) for part in module.modules()):
            strange[name] = type(module).__name__
    inner = [path for joins in lists.values() for path in joins]
    if strange := {name: kind for name, kind in strange.items() if not any(path.startswith(name) for path in inner)}:
        owners = {type(model.get_submodule(path)).__name__ for name in strange for path in around(name)}
        why = "".join(f": {reason}" for kind, reason in UNREADABLE.items() if kind in owners)
        raise InputError(
            f"{type(model).__name__}: where the sub-blocks of {names_of(strange.items())} join the residual cannot be "
            f"read from the source{why}; name them by targets=(...)"
        )
    found = (_read(model, Surroundings(model, name, list(lists)), joins) for name, joins in lists.items())
    return [layers for layers in found if layers is not None]


def _numbered(model: nn.Module, without: tuple[str, ...]) -> Iterator[tuple[str, nn.Module]]:
    if "" in without:
        return
    for name, module in model.named_modules():
        if name.rpartition(".")[2].isdigit() and not f"{name}.".startswith(tuple(f"{path}." for path in without)):
            yield name, module


def _list_of(layer: str) -> str:
    """The list that `layer` is in, or the outermost of lists in lists."""
    numbered = re.search(r"(\.[^.]+(\.\d+)+)+$", f".{layer}")
    assert numbered, "it is numbered"
    return f".{layer}"[: numbered.start()].removeprefix(".") + re.sub(r"\.\d.*", "", numbered.group())


def _read(model: nn.Module, around: Surroundings, joins: dict[str, list[Join]]) -> Layers | None:
    """The layers of a list; None where each token is treated by itself, or by what is no token of theirs."""
    blocks: list[LayerBlock] = []
    unread: dict[str, str] = {}
    for name, found in joins.items():
        layer = model.get_submodule(name)
        for join in found:
            kind = _kind({path: layer.get_submodule(path) for path in join.modules})
            if join.end is None or (join.arranged and not _is_known(model, around, join.end)):
                made = f", but made of what {join.end} gives" * (join.end is not None)
                unread.setdefault(kind, f"what joins the residual in {name} is no module's output{made}")
            elif kind:
                parts = tuple(f"{name}.{path}" for path in join.modules)
                blocks.append(LayerBlock(kind, f"{name}.{join.end}", f"{name}.{join.entry}", parts))
        for stray in _strays(layer, found):
            kind = "attention" if ATTENTION.search(stray) else "feed_forward"
            unread.setdefault(kind, f"{name}.{stray} has a part in none of the sub-blocks that were read")
    crossing = [is_cross(model, block) for block in blocks if block.kind == "attention"]
    if all(crossing) and "attention" not in unread:
        return None
    name, layer = next((name, model.get_submodule(name)) for name in joins)
    if not any(block.kind == "feed_forward" for block in blocks):
        unread.setdefault("feed_forward", f"what joins the residual in {name} is no feed-forward block that is known")
    stack, causal = around.stack, around.causal(layer, any(crossing))
    caches = [item for item in around.arguments(name) if re.search("past|cache", item)]
    if causal and caches and CACHE not in around.arguments(stack):
        raise InputError(f"{name}: its {caches[0]} is none that {stack or 'the model'} is given; name targets=(...)")
    return Layers(stack, "written" if causal and any(crossing) else around.modality, causal, tuple(blocks), unread)


def _is_known(model: nn.Module, around: Surroundings, end: str) -> bool:
    """Whether it is known in which order a module of these layers gives its tokens."""
    frames = (frames_of(model.get_submodule(name), {}) for name in around.inner)
    return any(end in dict(getattr(grid, "apart", ())) for grid in frames)


def takes_prompts(attention: nn.Module) -> bool:
    """Whether it attends within its hidden states, (B, T, d), and knows no positions, so that more keys shift none."""
    if not any(True for _ in attention.parameters()):
        return False  # it passes on what attention in another arrangement has given
    arguments = [name for name, item in inspect.signature(attention.forward).parameters.items() if item.kind != ANY]
    named = (name for name, _ in (*attention.named_parameters(), *attention.named_modules()))
    return arguments[:1] == ["hidden_states"] and set(arguments) <= PLAIN and not any(map(POSITIONS.search, named))


def _kind(modules: dict[str, nn.Module]) -> str:
    """attention, feed_forward, or nothing that is known."""
    inner = [(f"{name}.{path}", part) for name, module in modules.items() for path, part in module.named_modules()]
    words = {word for name, part in inner for word in (*name.split("."), type(part).__name__)}
    if any(ATTENTION.search(word) and "norm" not in word.lower() for word in words):
        return "attention"
    leaves = [part for _, part in inner if not any(part.children())]
    return "feed_forward" if leaves and all(map(_per_token, leaves)) else ""


def _per_token(module: nn.Module) -> bool:
    name, home = type(module).__name__, type(module).__module__
    if "Softmax" in name:
        return False  # over tokens, it may be
    return PER_TOKEN.search(name) is not None or home.endswith((".activation", ".activations"))


def is_cross(model: nn.Module, block: LayerBlock) -> bool:
    """Whether an attention block attends to what is no token of its layer."""
    named = (re.sub(r".*\.\d+\.", "", name) for name in block.parts)
    return any(map(CROSS.search, named)) or any(
        "Cross" in type(model.get_submodule(part)).__name__ for part in block.parts
    )


def _strays(layer: nn.Module, joins: list[Join]) -> Iterator[str]:
    """Modules of a layer with weights that no sub-block has."""
    covered = tuple(f"{path}." for join in joins for path in join.modules)
    allowed = SIDE_WAYS.get(type(layer).__name__, ())
    for name, module in layer.named_modules():
        weights = any(value.dim() > 1 for value in module.parameters(recurse=False))
        if weights and not f"{name}.".startswith(covered) and name.split(".")[0] not in allowed:
            yield name
