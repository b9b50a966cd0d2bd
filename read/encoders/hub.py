"""Models of transformers as encoders keep them: taken from a folder or the hub once, made without it ever after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from read.encoders.weights import CONFIG, WEIGHTS, read_config
from read.errors import InputError, optional_imports
from read.weights import first_line, load_tensors

with optional_imports():
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.utils import logging

_PROVENANCE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label", "label2id")


def from_hub(kind: Any, source: str | Path, **settings: Any) -> Any:
    """`kind.from_pretrained` of a folder, or of a name on the hub with its revision after an @; nothing in it is run.

    Raises:
        InputError: there is none, or it cannot be had.
    """
    name, _, revision = str(source).partition("@")
    here = Path(source).exists() or not revision
    where = {"pretrained_model_name_or_path": str(source)} if here else {
        "pretrained_model_name_or_path": name, "revision": revision
    }  # fmt: skip
    try:
        return kind.from_pretrained(**where, **settings)
    except Exception as error:  # files, requests, versions and keys fail each in their own way
        raise InputError(f"{source}: no {kind.__name__} can be read here ({first_line(error)})") from None


def model_from_hub(kind: type[PreTrainedModel], source: str | Path) -> Any:
    """As `from_hub`, a model in float32 all of whose weights are there; heads that it has no use for are left out.

    Raises:
        InputError: as `from_hub`, or it is a model of another kind, whose place weights by chance would take.
    """
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # of a table of the weights that are left out
    try:
        model, told = from_hub(kind, source, output_loading_info=True, dtype=torch.float32)
    finally:
        logging.set_verbosity(level)
    if lacking := sorted(map(str, [*told["missing_keys"], *told["mismatched_keys"]])):
        shown = ", ".join(lacking[:3])
        raise InputError(f"{source}: not the weights of {kind.__name__}; {len(lacking)} are missing, such as {shown}")
    return model


def kept_config(config: PretrainedConfig) -> dict[str, Any]:
    """A model's configuration as JSON, without what says where it is from."""
    return {key: value for key, value in config.to_diff_dict().items() if key not in _PROVENANCE}


def name_of(source: str | Path) -> str:
    """The name of a model in a folder or on the hub, without its revision."""
    return Path(source if Path(source).exists() else str(source).partition("@")[0]).name


def hub_source(config: PretrainedConfig) -> dict[str, str]:
    """The revision on the hub that a configuration is of; nothing of one from elsewhere."""
    commit = getattr(config, "_commit_hash", None)
    return {"commit": commit} if commit else {}


def public_name(source: str | None) -> str | None:
    """A name on the hub with its revision, by which anybody has the same; None: of a folder, or without one."""
    return source if "@" in (source or "") and not Path(source).exists() else None


def weightless(kind: type[PreTrainedModel], config: Mapping[str, Any]) -> Any:
    """The model that `kept_config` describes, with weights by chance."""
    return kind(kind.config_class.from_dict(dict(config)))


def loaded(kind: type[PreTrainedModel], listener: Any, folder: str | Path) -> tuple[Any, Any, dict[str, Tensor]]:
    """What an encoder's folder holds: the model of its "model", what its "listener" makes of sound, all its weights.

    Raises:
        InputError: a file is missing or damaged, or the config describes no such things.
    """
    config, state = read_config(folder), load_tensors(Path(folder) / WEIGHTS)
    try:
        return weightless(kind, config["model"]), listener.from_dict(config["listener"]), state
    except Exception as error:  # each model checks its configuration in its own way
        told = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{Path(folder) / CONFIG}: describes no {kind.__name__} ({told})") from None
