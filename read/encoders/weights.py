"""Where encoders' weights come from, how they are kept, and what identifies them."""

import hashlib
import urllib.error
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from read.errors import InputError
from read.files import atomic_path, read_json, write_json

State = dict[str, torch.Tensor]
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def state_digest(state: State) -> str:
    """The SHA-256 over names, types, shapes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save_folder(folder: str | Path, state: State, config: dict[str, Any]) -> None:
    """Write the weights and the config into `folder`, both or neither."""
    with atomic_path(folder) as draft:
        draft.mkdir()
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, draft / WEIGHTS)
        write_json(draft / CONFIG, config)


def read_config(folder: str | Path) -> dict[str, Any]:
    """The config that `save_folder` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    path = Path(folder) / CONFIG
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no encoder's config can be read here ({_first_line(error)})") from None


def load_tensors(path: str | Path) -> State:
    """The weights that `save_folder` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: no weights can be read here ({_first_line(error)})") from None


def load_state(model: torch.nn.Module, state: State, source: str | Path) -> None:
    """Load exactly the model's keys and shapes.

    Raises:
        InputError: naming `source` and the first keys that do not fit.
    """
    own = model.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [name for name in own if own[name].shape != state[name].shape]
    if wrong:
        raise InputError(f"{source}: the weights do not fit the model: {len(wrong)} keys, such as {wrong[:3]}")
    model.load_state_dict(state)


def read_checkpoint(path: str | Path) -> State:
    """The state dict in a `torch.save` file, taken out of its "model_state" where it has one (pytorchvideo's layout).

    Raises:
        InputError: the file is missing, is not a checkpoint of plain tensors, or holds no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, unpickling and file errors all mean the same to the reader
        raise InputError(f"{path}: not a checkpoint that can be read ({_first_line(error)})") from None
    state = content.get("model_state", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state dict of tensors")
    return state


def download(url: str, path: str | Path) -> Path:
    """Fetch `url` to `path` unless it is there; the file appears only when complete.

    Raises:
        InputError: it cannot be had.
    """
    path = Path(path)
    if not path.exists():
        try:
            with atomic_path(path) as draft:
                torch.hub.download_url_to_file(url, str(draft))
        except (urllib.error.URLError, OSError) as error:
            raise InputError(f"{url}: cannot be downloaded ({_first_line(error)}); name a local file instead") from None
    return path


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
