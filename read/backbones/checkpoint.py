"""Public checkpoints: read without running anything in them."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from read.errors import InputError

STATES = ("model", "state_dict")  # under which the public training scripts store the weights


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the options of a published checkpoint, `{"model" or "state_dict": ..., "opt": options, ...}`.

    Nothing in the file is executed: beside tensors and plain containers only `argparse.Namespace` is allowed, as which
    the public training scripts store their options.

    Raises:
        InputError: the file is absent, is no such checkpoint, or holds objects of other types.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: no checkpoint that loads without running code from it ({reason})") from None
    states = [content[key] for key in STATES if isinstance(content.get(key), dict)] if isinstance(content, dict) else []
    if not states:
        raise InputError(
            f'{path}: not a published checkpoint, which is a dict with the weights under "model" or "state_dict"'
        )
    state = {key.removeprefix("module."): value for key, value in states[0].items()}
    options = content.get("opt", {})
    return state, vars(options) if isinstance(options, argparse.Namespace) else dict(options)
