"""Weights: what tells them apart, whether they fit, and files of them, read without running anything in them."""

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from read.errors import InputError
from read.files import atomic_path, check_sha256

MAX_TENSORS = 100_000
SHOWN = 10  # keys that a message names; a wrong file differs in hundreds
STATES = ("model", "state_dict", "model_state")  # under which public training scripts store the weights


def state_digest(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 over names, types, shapes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def parts_of_tensors(state: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Named tensors, with those that are made of several, such as torchao's in 8 bits, as these."""
    for name, value in state:
        if hasattr(value, "__tensor_flatten__") and not hasattr(
            value, "device_mesh"
        ):  # a sharded one is one all the same
            names: list[str] = value.__tensor_flatten__()[0]
            parts = ((f"{name}.{part}", getattr(value, part)) for part in names)
            yield from parts_of_tensors((key, part) for key, part in parts if isinstance(part, Tensor))
        else:
            yield name, value


def check_fit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str | Path, of: str) -> None:
    """Check that weights are exactly a model's.

    Args:
        state: what was read.
        own: the model's, as its `state_dict()`.
        source: where they were read, for the message.
        of: whose they should be, for the message.

    Raises:
        InputError: naming the missing keys, the unexpected ones and those of other shapes.
    """
    faults = {
        "missing keys": sorted(own.keys() - state.keys()),
        "unexpected keys": sorted(state.keys() - own.keys()),
        "other shapes": [
            f"{key} {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
            for key in sorted(own.keys() & state.keys())
            if state[key].shape != own[key].shape
        ],
    }
    if any(faults.values()):
        detail = "; ".join(f"{fault}: {_some(keys)}" for fault, keys in faults.items() if keys)
        raise InputError(f"{source}: not the weights of {of}; {detail}")


def save_tensors(state: Mapping[str, Tensor], path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a file of safetensors, whole or not at all; `notes` stand in its header."""
    with atomic_path(path) as draft:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, draft, dict(notes or {})
        )


def shapes_in(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a file of safetensors, without their content, on torch's device "meta".

    Raises:
        InputError: the file is absent or damaged, or holds more than MAX_TENSORS.
    """
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            if len(keys) > MAX_TENSORS:
                raise InputError(f"{path}: {len(keys)} tensors; {MAX_TENSORS} are the most that are read")
            return {key: torch.empty(file.get_slice(key).get_shape(), device="meta") for key in keys}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a file of safetensors ({first_line(error)[:200]})") from None


def load_tensors(path: str | Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors in a file of safetensors.

    Args:
        path: the file.
        sha256: of its bytes, where that is known.

    Raises:
        InputError: the file is absent, damaged, or not the one that `sha256` tells.
    """
    try:
        check_sha256(path, sha256)
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a file of safetensors ({first_line(error)})") from None


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the options of a public checkpoint, written by `torch.save`.

    It is a state dict, or a dict with one under "model", "state_dict" or "model_state" and options under "opt".
    Nothing in the file is executed: beside tensors and plain containers only `argparse.Namespace` is allowed, as which
    public training scripts store their options.

    Returns:
        The weights, without the "module." that parallel training puts before each key, and the options; may be empty.

    Raises:
        InputError: the file is absent, is no checkpoint, or holds objects of other types.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # zip, pickle, unpickling and file errors all mean the same to the reader
        reason = first_line(error)
        raise InputError(f"{path}: not a checkpoint that loads without running code from it ({reason})") from None
    content = content if isinstance(content, dict) else {}
    states = [content[key] for key in STATES if isinstance(content.get(key), dict)]
    state = states[0] if states else content
    if not (states or state) or not all(isinstance(value, Tensor) for value in state.values()):
        wanted = " or ".join(f'"{key}"' for key in STATES)
        raise InputError(f"{path}: no state dict of tensors, nor one under {wanted}, as published files have")
    options = content.get("opt", {}) if states else {}
    options = vars(options) if isinstance(options, argparse.Namespace) else options
    if not isinstance(options, dict):
        raise InputError(f'{path}: "opt" is a {type(options).__name__}, not a dict of options')
    return {str(key).removeprefix("module."): value for key, value in state.items()}, dict(options)


def first_line(error: Exception) -> str:
    """What an error says in its first line, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _some(keys: list[str]) -> str:
    rest = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


@contextmanager
def without_memory(path: str | Path) -> Iterator[None]:
    """Make models without memory, drawing nothing by chance; what that makes of a strange config names the file."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            yield
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
    except Exception as error:  # every package checks, or fails to check, in its own way
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise InputError(f"{path}: describes no model ({reason})") from None
