"""What every backbone offers, and how one is found by its name.

Symbols: B samples, N clips, M words, d width. Masks are True at real tokens.
"""

import argparse
import dataclasses
import hashlib
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from read.errors import InputError
from read.files import atomic_path, read_json, write_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_registry: dict[str, type["Backbone"]] = {}


class Segment(NamedTuple):
    """Where one modality's tokens stand in a layer: tokens start:stop, and their (B, stop - start) mask."""

    modality: str
    start: int
    stop: int
    mask: Tensor


class Backbone(nn.Module, ABC):
    """A grounding model: strategies, trainer and predictor know no more of it than this.

    A subclass names itself, `class UniVTG(Backbone, name="univtg")`, and its config dataclass.
    """

    name: ClassVar[str]
    config_class: ClassVar[type]
    dense: ClassVar[bool] = True  # one window and one score per clip

    def __init_subclass__(cls, name: str, **kwargs: Any) -> None:
        """Register the subclass under `name`."""
        super().__init_subclass__(**kwargs)
        cls.name = name
        _registry[name] = cls

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """Ground a sentence in a video.

        Args:
            video: (B, N, video_dim) clip features.
            video_mask: (B, N).
            text: (B, M, text_dim) word features.
            text_mask: (B, M).
            audio: (B, N, audio_dim), for backbones that listen.

        Returns:
            `spans` (B, K, 2) start and end as shares of the clips' total length, `scores` (B, K) in [0, 1], `saliency`
            (B, N), and `states` {"video": (B, N, d), "text": (B, M, d)}. K = N where `dense`.
        """

    @abstractmethod
    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """Named terms, already weighted: the task's loss is their sum. `targets` is a batch of `read.data.collate`."""

    def clip_scores(self, outputs: Mapping[str, Any]) -> Tensor:
        """(B, N) scores that rank the clips of a video as highlights."""
        return outputs["saliency"]

    @abstractmethod
    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """Dotted names of the feed-forward sub-blocks: (B, tokens, d) -> what is added to the residual."""

    @abstractmethod
    def attention_blocks(self) -> dict[str, nn.Module]:
        """Dotted names of the attention sub-blocks: (B, tokens, d), ... -> what is added to the residual."""

    @abstractmethod
    def heads(self) -> list[str]:
        """Dotted prefixes of the task heads' parameters."""

    @abstractmethod
    def segments(self, video_mask: Tensor, text_mask: Tensor) -> list[Segment]:
        """The modalities of a layer's tokens, in the tokens' order."""

    def digest(self) -> str:
        """SHA-256 over the names, types, shapes and bytes of the weights."""
        digest = hashlib.sha256()
        for key, value in sorted(self.state_dict().items()):
            value = value.detach().cpu().contiguous()
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` to a folder, whole or not at all."""
        with atomic_path(folder) as draft:
            draft.mkdir()
            save_file({key: value.contiguous() for key, value in self.state_dict().items()}, draft / WEIGHTS)
            write_json(draft / CONFIG, {"backbone": self.name, **dataclasses.asdict(self.config)})

    def load_weights(self, state: Mapping[str, Tensor], source: str | Path) -> Self:
        """Take over a state dict with exactly the model's keys and shapes.

        Raises:
            InputError: listing every missing key, unexpected key and differing shape of `source`.
        """
        own = self.state_dict()
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
            detail = "; ".join(f"{name}: {', '.join(keys)}" for name, keys in faults.items() if keys)
            raise InputError(f"{source}: these are not the weights of this {self.name}; {detail}")
        self.load_state_dict(state)
        return self


def backbone_names() -> list[str]:
    """Names of the backbones there are."""
    return sorted(_registry)


def build_backbone(name: str, **settings: Any) -> Backbone:
    """A freshly initialised backbone. Raises InputError for an unknown name or setting."""
    if name not in _registry:
        raise InputError(f"backbone {name!r} is unknown; there are {', '.join(backbone_names())}")
    kind = _registry[name]
    known = {field.name for field in dataclasses.fields(kind.config_class)}
    if unknown := sorted(settings.keys() - known):
        raise InputError(f"backbone {name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return kind(kind.config_class(**settings))


def load_backbone(folder: str | Path) -> Backbone:
    """The backbone that `Backbone.save` wrote. Raises InputError for files that are missing or do not fit."""
    folder = Path(folder)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise InputError(f"{folder / file}: no such file; a backbone's folder holds {CONFIG} and {WEIGHTS}")
    settings = read_json(folder / CONFIG)
    model = build_backbone(settings.pop("backbone"), **settings)
    return model.load_weights(load_file(folder / WEIGHTS), folder / WEIGHTS)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the options of a published checkpoint, `{"model": state dict, "opt": options, ...}`.

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
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InputError(f'{path}: not a published checkpoint, which is a dict with the state dict under "model"')
    state = {key.removeprefix("module."): value for key, value in content["model"].items()}
    options = content.get("opt", {})
    return state, vars(options) if isinstance(options, argparse.Namespace) else dict(options)
