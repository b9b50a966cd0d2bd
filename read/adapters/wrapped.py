"""Models inside what others put around them, or into them: torch's parallel wrappers and compiler, peft."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from read.errors import InputError

# Classes that hold a model, by package and name, so that nothing has to be imported: where they hold it, and whether
# they took note of its parameters and hooks when they were made.
WRAPPERS = {
    "torch.DataParallel": ("module", False),
    "torch.DistributedDataParallel": ("module", True),
    "torch.FullyShardedDataParallel": ("module", True),
    "torch.OptimizedModule": ("_orig_mod", False),
    "peft.PeftModel": ("base_model", False),
    "peft.BaseTuner": ("model", False),
}
PARTS = ("_orig_mod", "_checkpoint_wrapped_module")  # in names, of wrappers that are inside a model
INNER = ("base_layer", "original_module", "base_model", "model")  # of what is peft's: the part that it stands around


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself."""
    for _, inner, _ in _layers(model):
        model = inner
    return model


def unwrap_to_change(model: nn.Module, doing: str) -> nn.Module:
    """As `unwrap`, for one whose parameters are about to be added to, or to train where they did not.

    Raises:
        InputError: what is around it has taken note of its parameters, and would not notice; `doing` says what.
    """
    for wrapper, _, noted in _layers(model):
        if noted:
            raise InputError(f"{wrapper} has taken note of the model's parameters; {doing} before it is put around it")
    model = unwrap(model)
    if any(is_sharded(parameter) for parameter in model.parameters()):
        raise InputError(f"the parameters of {type(model).__name__} are in shards; {doing} before they are")
    return model


def refuse_peft(model: nn.Module, strategy: str) -> None:
    """Raise an InputError where a model holds layers of peft, which a strategy would freeze without a word."""
    if name := peft_layer(model):
        raise InputError(
            f"strategy {strategy}: {type(model).__name__} holds adapters of peft ({name}), which would not train any "
            "more; merge them (merge_and_unload) or take them out (unload) first, or take one of READ's family"
        )


def peft_layer(model: nn.Module) -> str | None:
    """The name of the first module that is of peft, where there is one."""
    return next((name for name, module in model.named_modules() if is_peft(module)), None)


def peft_layers(model: nn.Module) -> set[str]:
    """Names of the modules of peft that stand around others."""
    return {name for name, module in model.named_modules() if is_peft(module) and inner_of(module) is not None}


def is_within(name: str, modules: set[str]) -> bool:
    """Whether what has this name is in one of these modules."""
    while name and modules:
        name = name.rpartition(".")[0]
        if name in modules:
            return True
    return False


def is_peft(module: nn.Module) -> bool:
    """Whether a module's class is of peft."""
    return type(module).__module__.startswith("peft.")


def added_by_peft(model: nn.Module) -> frozenset[str]:
    """Names of the parameters and buffers that layers of peft hold beside what they stand around."""
    if not (around := peft_layers(model)):
        return frozenset()
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return frozenset(name for name, _ in tensors if _is_beside(name, around))


@contextmanager
def without_peft(model: nn.Module) -> Iterator[None]:
    """A model whose layers stand where peft has put its own, for who looks at its structure; no forward pass is run."""
    swapped = []
    for parent in list(model.modules()):
        if is_peft(parent):
            continue
        for name, child in parent._modules.items():
            inner = child
            while inner is not None and is_peft(inner):
                inner = inner_of(inner)
            if inner is not None and inner is not child:
                swapped.append((parent, name, child))
                parent._modules[name] = inner
    try:
        yield
    finally:
        for parent, name, child in swapped:
            parent._modules[name] = child


def inner_of(module: nn.Module) -> nn.Module | None:
    """What a module of peft stands around; None: nothing."""
    return next((module._modules[name] for name in INNER if module._modules.get(name) is not None), None)


def at_work(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of peft's adapters that are switched on, by name without that of the adapter."""
    found, added = {}, added_by_peft(model)
    state = model.state_dict(keep_vars=True) if added else {}
    for name, module in model.named_modules():
        if is_peft(module) and not getattr(module, "disable_adapters", False):
            active = {*getattr(module, "active_adapters", ())}
            for key in (key for key in state if key in added and key.startswith(f"{name}.")):
                parts = key.split(".")
                if active & {*parts}:
                    found[".".join(part for part in parts if part not in active)] = state[key]
    return found


def _is_beside(name: str, around: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:end]) in around and parts[end] not in INNER for end in range(len(parts)))


def plain(name: str) -> str:
    """A parameter's name without the wrappers inside the model."""
    return ".".join(part for part in name.split(".") if part not in PARTS)


def original(name: str) -> str:
    """A parameter's name before a layer of peft was put around the module that holds it."""
    return plain(name.replace(".base_layer", "").replace(".original_module", ""))


def is_sharded(value: Tensor) -> bool:
    """Whether a tensor is spread over processes, as FSDP2 (`fully_shard`) leaves it."""
    return hasattr(value, "full_tensor")


def whole(value: Any) -> Tensor:
    """A tensor, put together where it is spread over processes, which all have to ask for it."""
    return value.full_tensor() if is_sharded(value) else value


def part_here(value: Any) -> Tensor:
    """A tensor, or what this process has of it."""
    return value.to_local() if is_sharded(value) else value


class SavePretrained:
    """`save_pretrained` of an adapted model: it writes the backbone, as `from_pretrained` expects it.

    A Trainer's checkpoints hold all, or training could not be resumed; it passes a `state_dict`. Who trains by
    accelerate passes a `save_function` beside it, and means the model.
    """

    def __init__(self, model: nn.Module, own: tuple[str, ...]) -> None:
        self.model, self.own = model, own

    def __call__(self, folder: Any, *args: Any, **kwargs: Any) -> Any:
        """As the method of this name."""
        if not args and ("state_dict" not in kwargs or "save_function" in kwargs):
            added, state = added_by_peft(self.model), kwargs.get("state_dict")
            state = (self.model.state_dict() if state is None else state).items()
            own = {key: value for key, value in state if key.split(".")[0] not in self.own and key not in added}
            kwargs["state_dict"] = {original(key): value for key, value in own.items()}
        kind: Any = type(self.model)
        return kind.save_pretrained(self.model, folder, *args, **kwargs)


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """What is around a model, from the outside: its name, what it holds, and whether it took note of that."""
    while found := next((kind for kind in map(_kind, type(model).__mro__) if kind in WRAPPERS), None):
        attribute, noted = WRAPPERS[found]
        if not isinstance(inner := getattr(model, attribute), nn.Module):
            return
        yield found.rpartition(".")[2], inner, noted
        model = inner


def _kind(kind: type) -> str:
    return f"{kind.__module__.split('.')[0]}.{kind.__name__}"
