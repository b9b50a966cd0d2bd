"""Where encoders' weights come from, and the folders in which they are kept."""

import http.client
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from read.addresses import leads_inside
from read.errors import InputError
from read.files import atomic_path, read_json, write_json
from read.weights import first_line, save_tensors, state_digest

WEIGHTS, CONFIG = "model.safetensors", "config.json"
DIGEST = "digest"  # in the header of the weights: of their content, by which damage shows
TIMEOUT = 60.0  # seconds without a byte


def save_folder(folder: str | Path, state: Mapping[str, Tensor], config: dict[str, Any]) -> None:
    """Write the weights and the config into `folder`, both or neither."""
    with atomic_path(folder) as draft:
        draft.mkdir()
        save_tensors(state, draft / WEIGHTS, {DIGEST: state_digest(state)})
        write_json(draft / CONFIG, config)


def check_content(folder: str | Path, digest: str) -> None:
    """Raise InputError where the weights in a folder are not those that `save_folder` wrote, whose digest they tell."""
    path = Path(folder) / WEIGHTS
    with safe_open(path, framework="pt") as file:
        told = (file.metadata() or {}).get(DIGEST, digest)
    if told != digest:
        raise InputError(f"{path}: is damaged: its content is not what was written; remove the folder and run again")


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


class _PublicRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects of a public address to public places only."""

    def redirect_request(self, request, file, code, message, headers, target):
        if leads_inside(target) and not leads_inside(request.full_url):
            raise InputError(f"{request.full_url}: leads to {target}, on this machine or in a private net")
        return super().redirect_request(request, file, code, message, headers, target)


def download(url: str, path: str | Path) -> Path:
    """Fetch `url` to `path` unless it is there; the file appears only when complete.

    Raises:
        InputError: it cannot be had, ends early, or leads to a place that is not public.
    """
    path = Path(path)
    if not path.exists():
        try:
            with atomic_path(path) as draft, draft.open("wb") as file:
                with urllib.request.build_opener(_PublicRedirects).open(url, timeout=TIMEOUT) as answer:
                    stated = answer.headers.get("Content-Length", "")
                    shutil.copyfileobj(answer, file, 1 << 20)
                if stated.isdecimal() and file.tell() != int(stated[:18]):
                    raise OSError(f"the connection ended after {file.tell()} of {stated[:18]} bytes")
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{url}: cannot be downloaded ({first_line(error)}); name a local file instead") from None
    return path
