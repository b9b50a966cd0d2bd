"""Whether weights of a bundle fit what its configs describe, found out before any memory is taken for them.

A model is first made without memory, on torch's device "meta", and its shapes are compared with the header of the file
of weights. So whatever a config says, no more is built than the file has bytes for.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from read.adapters import AdapterConfig, apply_strategy, get_strategy, inject
from read.adapters.inject import applied, tensors_of
from read.backbones import build_backbone
from read.backbones.visual_guidance import VisualGuidance
from read.bundle import accepted
from read.bundle.folder import ADAPTER, MODEL
from read.bundle.schema import Check, plain, read_document, record
from read.encoders.base import kind_of
from read.encoders.tokens import TENSOR, document
from read.errors import InputError
from read.plugins import ENCODERS
from read.weights import check_fit, first_line, shapes_in, without_memory


def check_model(task: str, folder: Path) -> nn.Module:
    """Check the folder of a task's backbone, and give back its model without memory.

    Raises:
        InputError: a file is absent or damaged, or the config and the weights do not describe one model.
    """
    path = folder / MODEL[1]
    values = read_document(path, accepted.MODELS[task])
    shapes = _header(folder / MODEL[0], path, values)
    with without_memory(path):
        if task == "grounding":
            model = build_backbone(values.pop("backbone"), **values)
            ties = {}
        else:
            model = VisualGuidance.from_config(values, path)
            ties = model._ties()
    own = {key: value for key, value in model.state_dict().items() if key not in ties}
    check_fit(shapes, own, folder / MODEL[0], f"what {MODEL[1]} describes")
    return model


def check_adapter(task: str, backbone: Path, folder: Path) -> None:
    """Check the folder of an adapter, for the model in the folder `backbone`. Raises InputError as `check_model`."""
    path = folder / ADAPTER[1]
    values = read_document(path, accepted.ADAPTER)
    model, shapes = check_model(task, backbone), _header(folder / ADAPTER[0], path, {})
    strategy = values["strategy"]
    with without_memory(path):
        if strategy is not None and not get_strategy(strategy).of(values["options"]).weightless:
            raise InputError(f"{path}: such an adapter takes memory before it can be checked, so no bundle holds one")
        if strategy is None:
            inject(model, AdapterConfig.from_dict(values["options"]))
        else:
            apply_strategy(strategy, model, **values["options"])
        saved = applied(model)["default"].saved
    tensors = tensors_of(model)
    wanted = {key.replace("adapters.default.", "adapters.", 1): tensors[key] for key in saved}
    check_fit(shapes, wanted, folder / ADAPTER[0], f"what {ADAPTER[1]} describes")


def check_encoder(name: str, folder: Path) -> None:
    """Check the folder of an encoder. Raises InputError as `check_model`."""
    path = folder / MODEL[1]
    kind = kind_of(name, read_document(path, record({}, rest=plain)))
    ENCODERS.check(kind)
    values = read_document(path, accepted.ENCODERS.get(kind, record({}, rest=plain)))
    shapes = _header(folder / MODEL[0], path, values)
    if kind in _ENCODERS:
        with without_memory(path):
            model = _ENCODERS[kind](values)
        if shapes.pop(TENSOR, None) is not None:
            _check_kept_tokenizer(folder / MODEL[0])
        check_fit(shapes, model.state_dict(), folder / MODEL[0], f"what {MODEL[1]} describes")


def check_tokenizer(folder: Path) -> None:
    """Check the JSON of a tokenizer. Raises InputError where it names code or lets texts grow."""
    checks: dict[str, Check] = {
        "tokenizer_config.json": accepted.tokenizer_config, "tokenizer.json": accepted.tokenizer,
    }  # fmt: skip
    for path in sorted(folder.glob("*.json")):
        read_document(path, checks.get(path.name, plain))


def _check_kept_tokenizer(path: Path) -> None:
    """As `check_tokenizer`, of one that is kept among weights."""
    with safe_open(path, framework="pt") as file:
        content = file.get_tensor(TENSOR)
    try:
        value = document(content)
    except (ValueError, TypeError, RuntimeError, RecursionError) as error:
        raise InputError(f"{path}: {TENSOR}: no JSON ({first_line(error)[:200]})") from None
    faults = ["not an object"] if not isinstance(value, dict) else list(islice(accepted.tokenizer(value, ""), 5))
    if faults:
        raise InputError(f"{path}: {TENSOR}: {'; '.join(faults)}")


def _clip(values: Mapping[str, Any]) -> nn.Module:
    from read.encoders.towers import build

    return build(values)


def _slowfast(values: Mapping[str, Any]) -> nn.Module:
    from read.encoders.kinds.slowfast import _build

    return _build(dict(values))


def _pann(values: Mapping[str, Any]) -> nn.Module:
    from read.encoders.kinds.pann import Cnn14

    return Cnn14(values["width"])


def _ast(values: Mapping[str, Any]) -> nn.Module:
    from read.encoders.hub import weightless
    from read.encoders.kinds.ast import ASTModel

    return weightless(ASTModel, values["model"])


def _clap(values: Mapping[str, Any]) -> nn.Module:
    from read.encoders.hub import weightless
    from read.encoders.kinds.clap import ClapModel

    return weightless(ClapModel, values["model"])


def _hf_video(values: Mapping[str, Any]) -> nn.Module:
    from read.encoders.kinds.hf_video import build

    return build(values)


def _xclip(values: Mapping[str, Any]) -> nn.Module:
    from read.encoders.hub import weightless
    from read.encoders.kinds.xclip import XCLIPModel

    return weightless(XCLIPModel, values["model"])


_ENCODERS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "clip": _clip, "slowfast": _slowfast, "hf_video": _hf_video, "xclip": _xclip, "pann": _pann, "ast": _ast,
    "clap": _clap,
}  # fmt: skip


def _header(path: Path, config: Path, values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors in a file of weights, without their content; it has one at least for each layer of its config."""
    shapes = shapes_in(path)
    layers = max((value for key, value in _numbers(values) if "layers" in key), default=0)
    if layers > len(shapes):
        raise InputError(f"{config}: {layers} layers, but {path.name} holds {len(shapes)} tensors")
    return shapes


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif type(value) is int:
            yield key, value
