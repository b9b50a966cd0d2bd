"""Where encoders' weights come from, and the folders in which they are kept."""

import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from read.errors import InputError
from read.files import atomic_path, read_json, write_json
from read.weights import first_line, save_tensors

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_folder(folder: str | Path, state: Mapping[str, Tensor], config: dict[str, Any]) -> None:
    """Write the weights and the config into `folder`, both or neither."""
    with atomic_path(folder) as draft:
        draft.mkdir()
        save_tensors(state, draft / WEIGHTS)
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
        raise InputError(f"{path}: no encoder's config can be read here ({first_line(error)})") from None


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
            raise InputError(f"{url}: cannot be downloaded ({first_line(error)}); name a local file instead") from None
    return path
