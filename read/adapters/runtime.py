"""What happens in a forward pass: stacks tell which tokens are real, hooks on sub-blocks add the adapters' branches.

Hooks are bound methods of plain objects, so that a deep copy of a model has hooks of its own, and the keys of the
backbone's state dict stay as they were. Symbols: B samples, T tokens of a layer, d width, r bottleneck.
"""

import inspect
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from read.adapters.config import AdapterConfig
from read.adapters.families import family_of
from read.adapters.layer import Bottleneck, State
from read.adapters.recurrent_cache import States, recall, remember
from read.adapters.segments import TokenLayout, TokenSegment, lay_out, lay_out_frames
from read.adapters.sub_blocks import Place
from read.errors import InputError

MODALITIES = ("video", "text")
Segments = Sequence[TokenSegment] | dict[str, Sequence[TokenSegment]] | None


@dataclass
class Tokens:
    """What one forward call of a stack says about its tokens.

    Attributes:
        segments: of all its layers, or by the prefix of the layers' names; None: one sequence.
        mask: (B, >= T) of that one sequence, its last columns; None: all tokens are real.
        frame: tokens per moment, where that one sequence is video frame after frame.
        states: of the recurrences that go on from a cache; None: they start here.
        keep: the recurrences' states are wanted for a cache.
    """

    segments: Segments = None
    mask: Tensor | None = None
    frame: int = 1
    states: States | None = None
    keep: bool = False
    layouts: dict[tuple, TokenLayout] = field(default_factory=dict)

    def sequences(self, place: Place, tokens: Tensor) -> Sequence[TokenSegment]:
        """The sequences among the tokens (B, T, ...) of the layer that `place` is in."""
        segments = self.segments
        if isinstance(segments, dict):
            prefixes = [prefix for prefix in segments if f"{place.name}.".startswith(f"{prefix}.")]
            segments = segments[max(prefixes, key=len)] if prefixes else None
        if segments is not None:
            return segments
        batch, length = tokens.shape[:2]
        mask = torch.ones(batch, length, dtype=torch.bool, device=tokens.device) if self.mask is None else self.mask
        return (_Whole(place.modality, 0, length, mask[:, -length:].bool()),)

    def layout(self, place: Place, tokens: Tensor) -> TokenLayout | None:
        """As `sequences`, laid out for a mixer; None where they are one, without padding."""
        batch, length = tokens.shape[:2]
        framed = self.frame > 1 and length % self.frame == 0  # not so where a pretraining task drops tokens
        if self.segments is None and self.mask is None and not framed:
            return None
        segments = self.sequences(place, tokens)
        key = (*((part.modality, part.start, part.stop) for part in segments), batch, length)
        if key not in self.layouts:
            if framed:
                self.layouts[key] = lay_out_frames(batch, length, self.frame, tokens.device)
            else:
                self.layouts[key] = lay_out(segments, batch, length, tokens.device)
        return self.layouts[key]

    def state(self, key: tuple[str, str]) -> State | None:
        """What the recurrence at a place goes on from. Raises InputError where the cache does not hold it."""
        if self.states is None:
            return None
        if key not in self.states:
            raise InputError(
                f"{key[1]}: the cache was filled without adapter {key[0]!r}, whose recurrence cannot go on"
            )
        return self.states[key]

    def same(self, other: "Tokens") -> bool:
        """Whether recomputing a layer with `other` gives what it gave with this."""
        return all(_same(mine, theirs) for mine, theirs in zip(self._masks(), other._masks(), strict=False))

    def _masks(self) -> list[Tensor | None]:
        lists = self.segments.values() if isinstance(self.segments, dict) else [self.segments or ()]
        return [self.mask, *(segment.mask for segments in lists for segment in segments)]


@dataclass(frozen=True)
class _Whole:
    """The one sequence of a layer."""

    modality: str
    start: int
    stop: int
    mask: Tensor | None


class Stack:
    """Layers that see the same tokens, below one module whose call says which of them are real."""

    def __init__(self, module: nn.Module) -> None:
        family = family_of(module)
        self.frame = family.frame(module) if family else 1
        self.arguments = list(inspect.signature(module.forward).parameters)
        self.wanted: list[str] | None = None
        if hasattr(module, "segments"):
            self.wanted = list(inspect.signature(module.segments).parameters)
        self.forget()

    def forget(self) -> None:
        """Drop all that is of one forward pass."""
        self.tokens = Tokens()
        self.masks: dict[str, Tensor | None] = {}
        self.pending: deque[Tokens] = deque(maxlen=2)  # forward passes that a checkpoint may still recompute
        self.recomputed = False
        self.inputs: dict[str, Tensor] = {}
        self.narrow: dict[str, Tensor] = {}
        self.outputs: dict[str, tuple[Tensor, Tensor]] = {}
        self.new_states: States = {}

    def __getstate__(self) -> dict[str, Any]:
        """For copies: without the tensors of the last pass, which are no leaves and cannot be copied."""
        copy = Stack.__new__(Stack)
        copy.__dict__.update(self.__dict__)
        copy.forget()
        return copy.__dict__

    def begin(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Forward pre-hook of the stack's module."""
        given = dict(zip(self.arguments, args, strict=False)) | kwargs
        self.tokens = self._read(module, given)
        self.masks = {modality: given.get(f"{modality}_mask") for modality in MODALITIES}
        self.new_states = {}
        if recomputing():
            self.pending = deque([self.tokens], maxlen=2)
            return
        self.narrow = {}
        if self.recomputed:
            self.pending.clear()
            self.recomputed = False
        if module.training and torch.is_grad_enabled():
            self.pending.append(self.tokens)

    def _read(self, module: nn.Module, given: dict[str, Any]) -> Tokens:
        if self.wanted is not None:
            return Tokens(module.segments(**{name: given[name] for name in self.wanted if name in given}))
        mask = given.get("attention_mask")
        mask = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
        cache, use_cache = given.get("past_key_values"), given.get("use_cache")
        if use_cache is None:
            use_cache = getattr(getattr(module, "config", None), "use_cache", False)
        return Tokens(None, mask, self.frame, recall(cache), bool(use_cache))

    def end(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Forward hook of the stack's module."""
        if isinstance(output, dict) and isinstance(states := output.get("states"), dict):
            masks = output.get("masks") or self.masks  # a model may read fewer tokens than it is given
            self.outputs = {key: (value, masks.get(key)) for key, value in states.items() if key in MODALITIES}
        cache = getattr(output, "past_key_values", None)
        if self.new_states and cache is not None:
            remember(cache, self.new_states)
        self.new_states = {}

    def current(self) -> Tokens:
        """The tokens of the pass that is running, be it one that a checkpoint recomputes."""
        if not recomputing():
            return self.tokens
        self.recomputed = True
        first, *others = self.pending or [self.tokens]
        if not all(first.same(other) for other in others):
            raise RuntimeError(
                "gradient checkpointing recomputes a layer after two forward passes with different masks, and an "
                "adapter cannot tell which of the two it is; call backward between them"
            )
        return first


class Adapters(nn.ModuleDict):
    """All adapters of one model, by name: one bottleneck per adapted sub-block, or per width where shared.

    At most one adapter is active. `model.adapters` is where a model keeps this.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active: str | None = None
        self.record_narrow = False
        self.configs: dict[str, AdapterConfig] = {}
        self.keys_of: dict[str, dict[str, str]] = {}  # adapter -> place -> key of its bottleneck
        self.places: dict[str, Place] = {}
        self.stacks: dict[str, Stack] = {}
        self.handles: dict[str, list[Any]] = {}  # of the hooks, by place and by stack

    def hook(self, model: nn.Module, place: Place) -> None:
        """Hook a place, its stack and the model itself, unless an adapter has done so."""
        if not self.stacks:
            self.handles["model"] = [model.register_forward_pre_hook(self.begin)]
        for name in ("", place.stack):  # the model itself, since its outputs may hold what is to be aligned
            if name in self.stacks:
                continue
            module = model.get_submodule(name)
            stack = self.stacks[name] = Stack(module)
            self.handles[f"stack {name}"] = [
                module.register_forward_pre_hook(stack.begin, with_kwargs=True),
                module.register_forward_hook(stack.end),
            ]
        if place.name not in self.places:
            self.places[place.name] = place
            hook = Hook(place, self.stacks[place.stack], self)
            self.handles[place.name] = [
                model.get_submodule(place.entry).register_forward_pre_hook(hook.enter, with_kwargs=True),
                model.get_submodule(place.name).register_forward_hook(hook.leave),
            ]

    def begin(self, module: nn.Module, args: tuple) -> None:
        """Forward pre-hook of the model: what layers recorded that do not run in this pass is not of this pass."""
        if not recomputing():
            for stack in self.stacks.values():
                stack.narrow, stack.outputs = {}, {}

    def unhook(self) -> None:
        """Remove the hooks that no adapter needs any more."""
        used = {place for keys in self.keys_of.values() for place in keys}
        self.places = {name: place for name, place in self.places.items() if name in used}
        needed = {place.stack for place in self.places.values()} | ({""} if used else set())
        self.stacks = {name: stack for name, stack in self.stacks.items() if name in needed}
        kept = used | {f"stack {name}" for name in needed} | ({"model"} if used else set())
        for name in self.handles.keys() - kept:
            for handle in self.handles.pop(name):
                handle.remove()

    def bottleneck(self, place: Place) -> Bottleneck | None:
        """The active adapter's bottleneck at `place`."""
        key = self.keys_of[self.active].get(place.name) if self.active is not None else None
        return None if key is None else self[self.active][key]


class Hook:
    """Adds the active adapter's branch to what a sub-block gives."""

    def __init__(self, place: Place, stack: Stack, adapters: Adapters) -> None:
        self.place, self.stack, self.adapters = place, stack, adapters

    def enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Forward pre-hook: hold the sub-block's input for a parallel branch."""
        adapters = self.adapters
        if adapters.active is not None and adapters.configs[adapters.active].placement == "parallel":
            tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
            self.stack.inputs[self.place.name] = next(tensors)

    def leave(self, module: nn.Module, args: tuple, output: Any) -> Any:
        """Forward hook: base + scale * branch, for the output or the first of several."""
        bottleneck = self.adapters.bottleneck(self.place)
        if bottleneck is None:
            return None
        if isinstance(output, tuple):
            return (self._adapted(bottleneck, output[0]), *output[1:])
        return self._adapted(bottleneck, output)

    def _adapted(self, bottleneck: Bottleneck, base: Tensor) -> Tensor:
        name, stack, config = self.place.name, self.stack, self.adapters.configs[self.adapters.active]
        inputs = stack.inputs.pop(name) if config.placement == "parallel" else base
        width = bottleneck.down.in_features
        if inputs.shape[-1] != width or (bottleneck.mixer is not None and inputs.dim() != 3):
            raise InputError(f"{name}: its tokens are {tuple(inputs.shape)}, but the adapter needs (B, T, {width})")
        if not self.place.batch_first:
            inputs = inputs.transpose(0, 1)
        tokens = stack.current()
        layout, state, key = None, None, (self.adapters.active, name)
        if bottleneck.mixer is not None:
            layout = tokens.layout(self.place, inputs)
            state = tokens.state(key) if self.place.causal else None
        branch = bottleneck(inputs, layout, state, tokens.keep and self.place.causal)
        if branch.state is not None:
            stack.new_states[key] = branch.state
        if self.adapters.record_narrow and not recomputing():
            stack.narrow[name] = branch.narrow
        delta = branch.delta if self.place.batch_first else branch.delta.transpose(0, 1)
        return base + config.scale * delta.to(base.dtype)


def recomputing() -> bool:
    """Whether this runs inside a backward pass, as a checkpointed layer does when it is computed again."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    return first is second or (first is not None and second is not None and torch.equal(first, second))
