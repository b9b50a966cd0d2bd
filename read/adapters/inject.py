"""Put adapters into a model, switch between them, take them out again."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from read.adapters.calls import MODALITIES
from read.adapters.config import AdapterConfig
from read.adapters.frozen_attention import hook_attention, unhook_attention
from read.adapters.layer import Bottleneck
from read.adapters.runtime import Adapters
from read.adapters.sub_blocks import OWN, Place, find_places, fitted_parameters
from read.adapters.surroundings import linear_sizes
from read.adapters.widths import widths_of
from read.adapters.wrapped import SavePretrained, is_within, peft_layers, plain, unwrap, unwrap_to_change, without_peft
from read.errors import InputError
from read.plugins import suggest


@dataclass
class Applied:
    """A strategy in a model: what was asked for, which parameters train, and which of the model's own it changes.

    `fitted` names those of the model that were fitted to labelled videos before the strategy trained; they belong to
    the run and are saved with it, and so is `drawn`, what does not train of all that the strategy has put in. `values`
    holds, while the adapter is not active, its values of the model's own parameters (those of a trained head, and what
    was fitted); while it is active, the values that they had before.
    """

    strategy: str | None
    options: dict[str, Any]
    trained: frozenset[str]
    alignment: bool = False
    fitted: frozenset[str] = frozenset()
    drawn: frozenset[str] = frozenset()
    values: dict[str, Tensor] = field(default_factory=dict)

    @property
    def saved(self) -> frozenset[str]:
        """Names of all parameters and buffers that are the run's."""
        return self.trained | self.fitted | self.drawn


class AlignmentStates(NamedTuple):
    """What is aligned in one layer: video (B, N, r), its mask (B, N), text (B, M, r), its mask (B, M)."""

    video: Tensor
    video_mask: Tensor
    text: Tensor
    text_mask: Tensor


def inject(model: nn.Module, config: AdapterConfig | None = None, name: str = "default") -> nn.Module:
    """Freeze `model`, add an adapter to it in place, and make that the active and only trainable part.

    The adapted model computes what it did, bit for bit, until the adapter is trained. Sub-blocks are found by what the
    model offers (`feed_forward_blocks()`, `attention_blocks()`, and the linear layers `projection_blocks()` and
    `joint_blocks()`), in models of transformers and others by the source of their layers, in CLIP of open_clip, or by
    `config.targets`. A model with `segments(...)`, whose parameters are some of forward's, tells which tokens are which
    sequence; otherwise all are one, with `attention_mask` as its mask.

    Args:
        model: the backbone, as it is or in nn.DataParallel.
        config: READ in its residual form by default.
        name: by which the adapter is activated and removed; one model takes several.

    Raises:
        InputError: the name is taken or no attribute's, a target matches nothing, no sub-block is known, the model is
            in what would not notice; in a forward pass, a target's tokens are not
            (B, T, d), a mask does not fit them or cannot be read.
    """
    given, model = model, unwrap_to_change(model, "inject an adapter")
    config = AdapterConfig() if config is None else config
    if not isinstance(config, AdapterConfig):
        raise InputError(f"config: must be an AdapterConfig, not a {type(config).__name__}")
    with without_peft(model):
        places = find_places(model, config)
    if not re.fullmatch(r"[A-Za-z]\w*", name) or hasattr(nn.ModuleDict, name):
        raise InputError(f"adapter name {name!r} cannot be an attribute's name")
    if applied(model) and not hasattr(model, "adapters"):
        taken = next(iter(applied(model).values())).strategy
        raise InputError(f"strategy {taken} has changed the model's own weights; add adapters to a fresh one")
    if getattr(getattr(model, "adapters", None), "of_peft", False):
        raise InputError(
            "the model's adapters are of peft's method READ; add others by its add_adapter(name, ReadConfig())"
        )
    if name in applied(model):
        raise InputError(f"adapter {name!r} is already there; remove it or choose another name")
    with without_peft(model):
        bottlenecks, keys = _build(model, places, config)
    if not hasattr(model, "adapters"):
        model.adapters = Adapters()
    adapters: Any = model.adapters
    adapters[name] = bottlenecks.train(model.training)
    adapters.configs[name], adapters.keys_of[name] = config, keys
    for place in places:
        adapters.hook(model, place)
    trained = frozenset(f"adapters.{name}.{parameter}" for parameter, _ in bottlenecks.named_parameters())
    record = Applied(None, config.to_dict(), trained, fitted=fitted_parameters(model))
    deactivate(model)  # so that what was fitted is the model's own, not that of the adapter before
    record.values = copies_of(model, record.fitted)
    applied(model)[name] = record
    activate(model, name)
    hook_attention(model)
    write_backbone_only(model)
    return given


def write_backbone_only(model: nn.Module) -> None:
    """Let `save_pretrained`, where there is one, leave out what a strategy has put into the model."""
    if hasattr(type(model), "save_pretrained"):
        model.__dict__["save_pretrained"] = SavePretrained(model, OWN)


def applied(model: nn.Module) -> dict[str, Applied]:
    """What was applied to a model, by adapter name. Strategies without an adapter are `default`."""
    return model.__dict__.setdefault("applied_strategies", {})


def activate(model: nn.Module, name: str) -> None:
    """Make one of a model's adapters the active one, and what belongs to it the only part that trains."""
    model = unwrap_to_change(model, "activate an adapter")
    adapters = adapters_with(model, name)
    deactivate(model)
    record = applied(model)[name]
    adapters.active, adapters.record_narrow = name, record.alignment
    _swap(model, record)
    set_trainable(model, record.trained)


def deactivate(model: nn.Module) -> None:
    """Leave the model as it was before any adapter, frozen; the adapters stay at hand."""
    model = unwrap_to_change(model, "deactivate the adapter")
    adapters = getattr(model, "adapters", None)
    if not isinstance(adapters, Adapters):
        raise InputError(f"{type(model).__name__} has no adapters")
    if adapters.active is not None:
        _swap(model, applied(model)[adapters.active])
    adapters.active, adapters.record_narrow = None, False
    for stack in adapters.stacks.values():
        stack.forget()
    set_trainable(model, ())


def remove(model: nn.Module, name: str) -> None:
    """Take an adapter out of a model; with the last one go its hooks."""
    model = unwrap_to_change(model, "remove an adapter")
    adapters = adapters_with(model, name)
    if adapters.active == name:
        deactivate(model)
    del adapters[name], adapters.configs[name], adapters.keys_of[name], applied(model)[name]
    adapters.unhook()
    if not len(adapters):
        del model.adapters
        model.__dict__.pop("save_pretrained", None)
        unhook_attention(model)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a model, by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def copies_of(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """The values of the named parameters as they are now."""
    return {name: model.get_parameter(name).detach().clone() for name in sorted(names)}


def set_trainable(model: nn.Module, names: Collection[str]) -> None:
    """Let the named parameters train and freeze all others, but for those in layers of peft, which it has a say in."""
    around = peft_layers(model)
    for name, parameter in model.named_parameters():
        if name in names or not is_within(name, around):
            parameter.requires_grad_(name in names)


def alignment_states(model: nn.Module) -> list[AlignmentStates]:
    """The bottlenecks' Z of the last forward pass, per adapted layer with tokens of both modalities.

    Where video and text have layers of their own, as in two-tower models, the first of one goes with the first of the
    other, and so on; the pairs of input projections come before all others. Where the adapted layers see one modality
    only, the `states` of the model's outputs, (B, N, d) and (B, M, d), are aligned instead.

    Raises:
        InputError: the active strategy does not align, no forward pass has run, or a modality is absent.
    """
    adapters = getattr(unwrap(model), "adapters", None)
    if adapters is None or not adapters.record_narrow:
        raise InputError("no states to align: the active strategy is none that aligns")
    pairs = _narrow_states(adapters)
    if not pairs:
        outputs = [stack.thread.outputs for stack in adapters.stacks.values()]
        sides = ([found[side] for found in outputs if side in found] for side in MODALITIES)
        pairs = list(zip(*sides, strict=False))
    if not pairs:
        raise InputError("no states to align: the adapted layers do not tell video tokens from text tokens")
    return [AlignmentStates(video[0], _real(*video), text[0], _real(*text)) for video, text in pairs]


def _real(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """(B, T) bool, whatever a model's masks are."""
    return torch.ones_like(tokens[..., 0], dtype=torch.bool) if mask is None else mask.to(tokens.device) != 0


States = tuple[Tensor, Tensor | None]  # of one modality in a layer, and their mask


def _narrow_states(adapters: Adapters) -> list[tuple[States, ...]]:
    """Pairs of video and text; places of one width go together, those beside input projections first.

    Of a video-language model, whose decoder layers see both, these alone: its tower of pictures sees no words.
    """
    kinds = ("projection", "", "joint")
    joint: list[tuple[States, ...]] = []
    sides: dict[str, dict[str, list[States]]] = {kind: {side: [] for side in MODALITIES} for kind in kinds}
    for key in adapters.keys_of[adapters.active or ""]:
        place = adapters.places[key]
        name = place.name
        thread = adapters.stacks[place.stack].thread
        if name not in thread.narrow:
            raise InputError(f"no states to align: {name} has not run in this thread since the strategy was applied")
        call, narrow = thread.narrow[name]
        parts = [part for part in call.sides_of(place, narrow) if part[0] in MODALITIES]
        if call.told is not None:
            joint.append(tuple((tokens, mask) for _, tokens, mask in parts))
        for modality, tokens, mask in parts:
            sides[place.kind if place.kind in kinds else ""][modality].append((tokens, mask))
    return joint or [pair for found in sides.values() for pair in zip(*found.values(), strict=False)]


def _build(model: nn.Module, places: Iterable[Place], config: AdapterConfig) -> tuple[nn.ModuleDict, dict[str, str]]:
    bottlenecks, keys = nn.ModuleDict(), {}
    for place in places:
        inputs, outputs = widths_of(model, place)
        key = plain(place.name).replace(".", "/")
        if config.shared:
            kind = f"{place.kind}_{inputs}_{outputs}" if place.linear else f"width_{outputs}"
            key = kind + "_causal" * place.causal
        if key not in bottlenecks:
            like = _last_weight(model, place.name)
            sized = replace(config, bottleneck=config.width_at(place.kind))
            made = Bottleneck(inputs, outputs, sized, place.causal).to(like.dtype)
            bottlenecks[key] = made if made.up.weight.is_meta else made.to(like.device)  # as peft makes what it loads
        keys[place.key] = key
    return bottlenecks, keys


def _last_weight(model: nn.Module, name: str) -> Tensor:
    """What gives the tokens at `name` their precision: the weight of its last linear layer, or any near."""
    weights: list[Any] = [module.weight for module in model.get_submodule(name).modules() if linear_sizes(module)]
    return weights[-1] if weights and weights[-1].is_floating_point() else parameter_near(model, name)


def parameter_near(model: nn.Module, name: str) -> Tensor:
    """A parameter of the named module or, where it has none, of the nearest around it; no whole numbers."""
    while True:
        if found := [value for value in model.get_submodule(name).parameters() if value.is_floating_point()]:
            return found[0]
        if not name:
            return torch.empty(())
        name = name.rpartition(".")[0]


def adapters_with(model: nn.Module, name: str) -> Adapters:
    """A model's adapters. Raises InputError where none has this name, with the nearest."""
    adapters = getattr(model, "adapters", None)
    names = list(adapters) if isinstance(adapters, Adapters) else []
    if not isinstance(adapters, Adapters) or name not in names:
        raise InputError(f"no adapter {name!r}{suggest(name, names)}")
    return adapters


@torch.no_grad()
def _swap(model: nn.Module, record: Applied) -> None:
    for name, value in record.values.items():
        parameter = model.get_parameter(name)
        record.values[name] = parameter.detach().clone()
        parameter.copy_(value)
