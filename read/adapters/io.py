"""Save what a run made, and load it into the backbone that it was trained with.

A folder holds `adapter.safetensors`, the parameters by name that trained or were fitted for the run, and
`adapter.json`: the strategy, its options, and the digest of the other weights. Nothing is unpickled.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from read.adapters.config import AdapterConfig
from read.adapters.inject import activate, applied, deactivate, inject, remove, tensors_of
from read.adapters.registry import apply_strategy
from read.adapters.runtime import Adapters
from read.adapters.stranger import check_stranger
from read.adapters.sub_blocks import OWN, fitted_parameters
from read.adapters.wrapped import (
    added_by_peft,
    at_work,
    is_sharded,
    is_within,
    original,
    part_here,
    peft_layers,
    plain,
    unwrap,
    unwrap_to_change,
    whole,
)
from read.errors import InputError
from read.files import atomic_path, read_json, write_json
from read.hub import brought
from read.weights import check_fit, load_tensors, parts_of_tensors, save_tensors, state_digest

WEIGHTS, CONFIG = "adapter.safetensors", "adapter.json"
PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


def save_adapter(
    model: nn.Module, folder: str | Path, *, adapter: str | None = None, extra: dict[str, Any] | None = None
) -> None:
    """Write what trains in `model`, and what was fitted before, to `folder`, whole or not at all.

    Args:
        model: one to which a strategy was applied or an adapter injected, wrapped for training or not. Where it is
            in shards, all processes have to call this.
        folder: made, or replaced.
        adapter: which one, where there are several; by default the active one.
        extra: anything that JSON can hold, kept beside the strategy.

    Raises:
        InputError: nothing was applied, or parameters train that are not the strategy's and would be lost.
    """
    given, model = model, unwrap(model)
    name = adapter or _active(model)
    if name not in applied(model):
        raise InputError(f"nothing to save: no strategy or adapter {name!r} was applied to {type(model).__name__}")
    record = applied(model)[name]
    parameters = dict(model.named_parameters())
    around = peft_layers(model)  # whose parameters peft saves
    strays = [
        key for key, value in parameters.items()
        if value.requires_grad and key not in record.trained and not is_within(key, around)
    ]  # fmt: skip
    if name == _active(model) and strays:
        raise InputError(f"{', '.join(strays)} train but are not part of {record.strategy or name}, so would be lost")
    tensors = tensors_of(model)
    if lost := sorted(record.saved - tensors.keys()):
        raise InputError(f"{', '.join(lost)} are no parameters of the model any more; was it changed, as by peft?")
    if any("_fsdp_wrapped_module" in key for key in parameters) or "FullyShardedDataParallel" in str(type(given)):
        raise InputError("FullyShardedDataParallel holds shards only; shard by torch.distributed.fsdp.fully_shard")
    held = {} if name == _active(model) else record.values
    weights = {plain(key): whole(held.get(key, tensors[key])) for key in sorted(record.saved)}
    values = {
        "strategy": record.strategy,
        "options": record.options,
        "backbone": backbone_digest(model, record.trained),
        "extra": extra or {},
    }
    if any(is_sharded(value) for value in parameters.values()) and torch.distributed.get_rank() > 0:
        return  # all take part in putting shards together, one writes
    with atomic_path(folder) as draft:
        draft.mkdir()
        save_tensors({_portable(key, name): value for key, value in weights.items()}, draft / WEIGHTS)
        write_json(draft / CONFIG, values)


def load_adapter(
    model: nn.Module, folder: str | Path, *, adapter: str = "default", other_precision: bool = False
) -> nn.Module:
    """Apply the strategy recorded in `folder` to `model`, in place, and load its weights.

    Args:
        model: the backbone that the adapter was trained with; it may hold other adapters.
        folder: as written by `save_adapter`; where there is none, a place on the Hugging Face hub, `owner/name` or
            `owner/name@revision`.
        adapter: a name for switching.
        other_precision: the backbone is that one in a lower precision, which its digest cannot tell; on your word. In a
            higher one than it was trained in, it is known by being rounded.

    Raises:
        InputError: a file is absent or broken, the backbone is another one, or a key is missing, unexpected or of
            another shape.
    """
    given, model = model, unwrap_to_change(model, "load an adapter")
    source, folder = folder, brought(folder, CONFIG, lambda _: {WEIGHTS})
    values = adapter_config(folder)
    if folder != Path(source):
        check_stranger(model, folder / WEIGHTS, folder / CONFIG, values)
    weights = {_local(key, adapter): value for key, value in load_tensors(folder / WEIGHTS).items()}
    before = _active(model)
    try:
        _load(model, folder, values, weights, adapter, other_precision)
    except InputError:
        if before in getattr(model, "adapters", ()):
            activate(model, before)
        raise
    return given


def _load(
    model: nn.Module,
    folder: Path,
    values: dict[str, Any],
    weights: dict[str, Tensor],
    adapter: str,
    other_precision: bool,
) -> None:
    if isinstance(getattr(model, "adapters", None), Adapters):
        deactivate(model)
    if not other_precision and not _is_backbone(model, weights, values["backbone"]):
        raise InputError(
            f"{folder}: trained with another backbone, with this one in a higher precision, or beside other adapters "
            f"of peft: the digest of the frozen weights is not {values['backbone'][:12]}...; if it is this one, say "
            "other_precision=True"
        )
    if values["strategy"] is None:
        inject(model, AdapterConfig.from_dict(values["options"]), adapter)
    else:
        apply_strategy(values["strategy"], model, adapter=adapter, **values["options"])
    tensors = tensors_of(model)
    expected = {plain(key): tensors[key] for key in applied(model)[adapter].saved}
    try:
        check_fit(weights, expected, folder / WEIGHTS, "this adapter")
    except InputError:
        if isinstance(getattr(model, "adapters", None), Adapters):
            remove(model, adapter)
        raise
    with torch.no_grad():
        for key, tensor in expected.items():
            tensor.copy_(weights[key])


def adapter_config(folder: str | Path) -> dict[str, Any]:
    """What `adapter.json` says: `strategy`, `options`, `backbone` and `extra`. Raises InputError where it cannot."""
    path = Path(folder) / CONFIG
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    wanted = ("strategy", "options", "backbone", "extra")
    if not isinstance(values, dict) or not all(key in values for key in wanted):
        raise InputError(f"{path}: lacks one of {', '.join(wanted)}")
    return values


def backbone_digest(model: nn.Module, trained: Collection[str] = ()) -> str:
    """SHA-256 over names, types, shapes and bytes of a model's own weights.

    Those named in `trained` are left out, under whatever other names they are tied to, and those that are fitted. Of
    adapters of peft, those count that are switched on, unless a strategy here has put them in.
    The digest is kept on the model and taken again where a weight has been written to since.
    """
    model = unwrap(model)
    state = _frozen(model, trained)
    stamp = tuple((key, *_stamp(value)) for key, value in state.items())
    kept = model.__dict__.setdefault("backbone_digests", {})
    if stamp not in kept:
        kept.clear()
        kept[stamp] = state_digest({key: whole(value) for key, value in state.items()})
    return kept[stamp]


def _frozen(model: nn.Module, trained: Collection[str]) -> dict[str, Tensor]:
    added, tensors = added_by_peft(model), tensors_of(model)
    everything = model.state_dict(keep_vars=True).items()
    state = {original(key): value for key, value in everything if key.split(".")[0] not in OWN and key not in added}
    owned = {id(tensors[name]) for record in applied(model).values() for name in record.saved if name in tensors}
    state |= {f"{original(key)} of peft": value for key, value in at_work(model).items() if id(value) not in owned}
    changed = {id(state[key]) for key in map(original, [*trained, *fitted_parameters(model)]) if key in state}
    return dict(parts_of_tensors((key, value) for key, value in sorted(state.items()) if id(value) not in changed))


def _is_backbone(model: nn.Module, trained: Collection[str], digest: str) -> bool:
    """Whether `digest` is of a model's frozen weights, as they are or rounded to a precision."""
    if backbone_digest(model, trained) == digest:
        return True
    state = _frozen(model, trained)
    for kind in PRECISIONS:
        cast = {key: value.to(kind) if value.is_floating_point() else value for key, value in state.items()}
        if state_digest(cast) == digest:
            return True
    return False


def _stamp(value: Tensor) -> tuple:
    """Changes when the tensor is written to or replaced; a few values, because memory is used again."""
    value = part_here(value)
    version = 0 if value.is_inference() else value._version
    return value.data_ptr(), version, *value.detach().flatten()[:: max(1, value.numel() // 4)].tolist()


def _portable(key: str, adapter: str) -> str:
    return key.replace(f"adapters.{adapter}.", "adapters.", 1) if key.startswith("adapters.") else key


def _local(key: str, adapter: str) -> str:
    return key.replace("adapters.", f"adapters.{adapter}.", 1) if key.startswith("adapters.") else key


def _active(model: nn.Module) -> str:
    adapters = getattr(model, "adapters", None)
    return (adapters.active or "") if isinstance(adapters, Adapters) else "default"
