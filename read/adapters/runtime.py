"""What happens in a forward pass: stacks tell which tokens are real, hooks on sub-blocks add the adapters' branches.

Symbols: B samples, T tokens of a layer, d width, r bottleneck.
"""

import sys
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from read.adapters.config import AdapterConfig
from read.adapters.layer import Bottleneck
from read.adapters.modalities import teller_of
from read.adapters.stacks import Stack, recomputing
from read.adapters.standing import Standing
from read.adapters.sub_blocks import Place
from read.adapters.wrapped import peft_layer
from read.errors import InputError

CAUSAL = "say so by AdapterConfig(causal=True), or generate with use_cache=False"

_HOOKING = threading.Lock()


class _Here(threading.local):
    """Which replica of a model's adapters a thread works with; None: the model's own."""

    replica: "Adapters | None" = None

    def __reduce__(self) -> tuple:
        return _Here, ()


class Adapters(nn.ModuleDict):
    """All adapters of one model, by name: one bottleneck per adapted sub-block, or per width where shared.

    At most one adapter is active. `model.adapters` is where a model keeps this.
    """

    of_peft = False  # peft adds, switches and removes them

    def __init__(self) -> None:
        super().__init__()
        self.active: str | None = None
        self.record_narrow = False
        self.configs: dict[str, AdapterConfig] = {}
        self.keys_of: dict[str, dict[str, str]] = {}  # adapter -> key of a place -> key of its bottleneck
        self.places: dict[str, Place] = {}  # by key: two adapters may take modules of one name in different ways
        self.stacks: dict[str, Stack] = {}
        self.handles: dict[str, list[Any]] = {}  # of the hooks, by place and by stack
        self.standing = Standing()
        self.thread = _Here()

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        """As a module's. Whoever walks over the model comes by here, as peft does before it freezes what it sees."""
        if type(self) is Adapters and "peft" in sys.modules and (kind := _beside_peft()):
            self.__class__ = kind
        yield from super().named_modules(*args, **kwargs)

    def hook(self, model: nn.Module, place: Place) -> None:
        """Hook a place, its stack and the model itself, unless an adapter has done so."""
        if not self.stacks:
            self.handles["model"] = [
                model.register_forward_pre_hook(self.begin),
                model.register_forward_hook(self.end, always_call=True),
            ]
        self._hook_stack(model, "")  # since the model's outputs may hold what is to be aligned
        self._hook_stack(model, place.stack)
        if place.key not in self.places:
            self.places[place.key] = place
            self._hook_place(model, place)

    def _hook_place(self, model: nn.Module, place: Place) -> None:
        hook = Hook(place, self.stacks[place.stack], self)
        self.handles[place.key] = [
            self.standing.remember(model, place.entry).register_forward_pre_hook(hook.enter, with_kwargs=True),
            self.standing.remember(model, place.name).register_forward_hook(hook.leave),
        ]

    def _hook_again(self, model: nn.Module) -> None:
        """Move the hooks of all places to the modules that have come to stand there."""
        if name := peft_layer(self):
            raise InputError(
                f"peft stands around a part of READ (adapters.{name}): name its target_modules, or exclude "
                r"exclude_modules=r'(.*\.)?adapters\..*'"
            )
        self.standing = Standing()
        for place in self.places.values():
            for handle in self.handles.pop(place.key):
                handle.remove()
            self._hook_place(model, place)

    def _hook_stack(self, model: nn.Module, name: str) -> Stack:
        if name in self.stacks:
            return self.stacks[name]
        module = model.get_submodule(name)
        stack = self.stacks[name] = Stack(name, module, self)
        self.handles[f"stack {name}"] = [
            module.register_forward_pre_hook(stack.begin, with_kwargs=True),
            module.register_forward_hook(stack.end, always_call=True),
        ]
        if (teller := teller_of(model, name)) is not None:
            stack.teller = self._hook_stack(model, teller)
        return stack

    def begin(self, module: Any, args: tuple) -> None:
        """Forward pre-hook of the model: what layers recorded that do not run in this pass is not of this pass."""
        if module.adapters is not self:
            self.thread.replica = module.adapters
        elif not torch.compiler.is_compiling() and self.standing.moved():
            with _HOOKING:
                if self.standing.moved():
                    self._hook_again(module)
        if self.active is not None and module.training and torch.is_grad_enabled():
            self._check_trains(module, self.active)
        if not recomputing():
            for stack in self.stacks.values():
                stack.thread.narrow, stack.thread.outputs = {}, {}

    def _check_trains(self, model: nn.Module, active: str) -> None:
        first = next(self[active].parameters(), None)  # a replica has none
        if first is None or first.requires_grad or torch.compiler.is_compiling():
            return
        if name := peft_layer(model):
            raise InputError(
                f"peft ({name}) has frozen adapter {active!r}: both train after read.activate(model, {active!r})"
            )

    def end(self, module: Any, args: tuple, output: Any) -> None:
        """Forward hook of the model."""
        if module.adapters is not self:
            self.thread.replica = None

    def here(self) -> "Adapters":
        """These adapters, or those of the replica that this thread computes with."""
        return self.thread.replica or self

    @property
    def looks(self) -> bool:
        """Whether the active adapter has to know which token is which."""
        return self.active is not None and (self.record_narrow or self.configs[self.active].mixer != "none")

    def unhook(self) -> None:
        """Remove the hooks that no adapter needs any more."""
        used = {place for keys in self.keys_of.values() for place in keys}
        self.places = {key: place for key, place in self.places.items() if key in used}
        needed = {place.stack for place in self.places.values()} | ({""} if used else set())
        needed |= {teller.name for name in needed if (teller := self.stacks[name].teller)}
        self.stacks = {name: stack for name, stack in self.stacks.items() if name in needed}
        kept = used | {f"stack {name}" for name in needed} | ({"model"} if used else set())
        for name in self.handles.keys() - kept:
            for handle in self.handles.pop(name):
                handle.remove()

    def bottleneck(self, place: str) -> Bottleneck | None:
        """The active adapter's bottleneck at the place of this key."""
        if self.active is None or (key := self.keys_of[self.active].get(place)) is None:
            return None
        layers: Any = self[self.active]
        return layers[key]


@cache
def _beside_peft() -> type[Adapters] | None:
    """The class by which peft leaves adapters alone; None where it is too old to have such."""
    try:
        from read.adapters.beside_peft import AdaptersBesidePeft
    except ImportError:
        return None
    return AdaptersBesidePeft


class Hook:
    """Adds the active adapter's branch to what a sub-block gives."""

    def __init__(self, place: Place, stack: Stack, adapters: Adapters) -> None:
        self.place, self.stack, self.adapters = place, stack, adapters
        self.key = place.key

    def enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Forward pre-hook: hold the sub-block's input for a parallel branch."""
        if self.adapters.bottleneck(self.key) is not None and self._is_parallel():
            tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
            self.stack.thread.inputs[self.place.name] = next(tensors)

    def leave(self, module: nn.Module, args: tuple, output: Any) -> Any:
        """Forward hook: base + scale * branch, for the output or the first of several."""
        if self.adapters.bottleneck(self.key) is None:
            return None
        if isinstance(output, tuple):
            return (self._adapted(output[0]), *output[1:])
        if isinstance(output, list):
            return [self._adapted(output[0]), *output[1:]]
        return self._adapted(output)

    def _is_parallel(self) -> bool:
        """Whether the branch reads what the place takes, not what it gives."""
        return self.place.linear or self.adapters.configs[self.adapters.active or ""].placement == "parallel"

    def _adapted(self, base: Tensor) -> Tensor:
        name, thread, adapters = self.place.name, self.stack.thread, self.adapters
        assert adapters.active is not None, "or there is no bottleneck"
        config = adapters.configs[adapters.active]
        inputs = thread.inputs.pop(name) if self._is_parallel() else base
        recurs, records = config.mixer != "none", adapters.record_narrow and not recomputing()
        call = self.stack.current(name, inputs) if recurs or records else None
        bottleneck = (adapters.here() if call is None else call.adapters or adapters).bottleneck(self.key)
        assert bottleneck is not None, "`leave` has seen it"
        inputs = inputs if call is None else call.arranged(self.place, inputs)
        width = bottleneck.down.in_features
        if inputs.shape[-1] != width or (recurs and inputs.dim() != 3):
            raise InputError(f"{name}: its tokens are {tuple(inputs.shape)}, but the adapter needs (B, T, {width})")
        if inputs.dtype != (needed := bottleneck.up.weight.dtype) and not torch.is_autocast_enabled(inputs.device.type):
            inputs = inputs.to(needed)
        if not self.place.batch_first:
            inputs = inputs.transpose(0, 1)
        layout, state, key = None, None, (adapters.active, name)
        if recurs and call is not None:
            if call.past and not self.place.causal:
                raise InputError(f"{name} recurs and reads on from a cache; its layers are causal: {CAUSAL}")
            layout = call.layout(self.place, inputs)
            state = call.state(key) if self.place.causal else None
        keep = recurs and call is not None and call.keep and self.place.causal
        branch = bottleneck(inputs, layout, state, keep)
        if call is not None and branch.state is not None and not recomputing():
            call.new_states[key] = branch.state
        if records and call is not None:
            thread.narrow[name] = call, branch.narrow
        delta = branch.delta if self.place.batch_first else branch.delta.transpose(0, 1)
        return base + config.scale * delta.to(base.dtype).view_as(base)
