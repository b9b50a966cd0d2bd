"""X-CLIP through transformers: clips and sentences in one space (Ni et al. 2022).

The model's own classifier adds to each sentence a prompt that it makes of the video; sentences here are those without,
as they are to be one for all videos.

Symbols: n clips or sentences, T frames in a clip, S their side in pixels, M real tokens of a sentence, d width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from read.encoders.base import Material, Wants
from read.encoders.hub import from_hub, hub_source, kept_config, model_from_hub, name_of, weightless
from read.encoders.kinds.hf_video import pixels, scale_of, sight, wants_of
from read.encoders.of_hub import OfHub
from read.encoders.reader import SentenceReader
from read.encoders.tokens import TENSOR, Tokenizer
from read.encoders.weights import CONFIG, WEIGHTS, read_config, save_folder
from read.errors import InputError, optional_imports
from read.weights import check_fit, first_line, load_tensors, state_digest

with optional_imports():
    from transformers import AutoConfig, AutoTokenizer, XCLIPModel

READS = ("frames", "text")
JOINT = True
OPTIONS = {"model": "microsoft/xclip-base-patch32"}  # a hub's name, with its revision after an @; a folder


class XCLIP(SentenceReader, OfHub):
    """The model, its tokenizer and how clips are made into its input.

    Args:
        model: transformers'.
        tokenizer: its own.
        config: "name", "model" (transformers' configuration), and what `sight` gives.
        device: where it runs.
    """

    reads, joint = READS, JOINT

    def __init__(
        self, model: XCLIPModel, tokenizer: Tokenizer, config: dict[str, Any], device: str | torch.device = "cpu"
    ) -> None:
        self.model, self.config, self.device = model.to(device).eval(), config, torch.device(device)
        self.dim, self.text_dim = model.config.projection_dim, model.config.text_config.hidden_size
        self.wants, self._scale, self._tokenizer = wants_of(config), scale_of(config, device), tokenizer
        told = {key: value for key, value in config.items() if key != "commit"}
        sizes = {"dim": self.dim, "text_dim": self.text_dim}
        self.identity = {**told, "weights": state_digest(self._state()), **sizes}

    @classmethod
    def wanted(cls, options: Mapping[str, Any]) -> Wants:
        """Clips as the model takes them; its settings are read, not its weights. Raises InputError as `make`."""
        return wants_of(sight("VideoMAEVideoProcessor", _settings(options["model"]), options["model"]))

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """The model of a folder or of the hub; nothing is trained here.

        Raises:
            InputError: it cannot be had, or is no X-CLIP.
        """
        source = options["model"]
        found = _settings(source)
        model, tokenizer = model_from_hub(XCLIPModel, source), from_hub(AutoTokenizer, source)
        config = {
            "name": name_of(source), "model": kept_config(model.config),
            **sight("VideoMAEVideoProcessor", found, source), **hub_source(found),
        }  # fmt: skip
        return cls(model, Tokenizer.of(tokenizer, **_reading(model)), config, material.device)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        config, state = read_config(folder), load_tensors(Path(folder) / WEIGHTS)
        try:
            model = weightless(XCLIPModel, config["model"])
            tokenizer = Tokenizer(state.pop(TENSOR), **_reading(model))
        except Exception as error:  # each model checks its configuration in its own way
            told = f"{type(error).__name__}: {first_line(error)}"
            raise InputError(f"{Path(folder) / CONFIG}: describes no X-CLIP ({told})") from None
        check_fit(state, model.state_dict(), folder, "this XCLIPModel")
        model.load_state_dict(state)
        return cls(model, tokenizer, config, device)

    def save(self, folder: str | Path) -> None:
        """Write weights, the tokenizer among them, and config into `folder`."""
        save_folder(folder, self._state(), self.config)

    def _state(self) -> dict[str, Tensor]:
        return {**self.model.state_dict(), TENSOR: self._tokenizer.content}

    @torch.inference_mode()
    def video(self, clips: np.ndarray) -> np.ndarray:
        """Features of clips, uint8 (n, T, S, S, 3) -> float32 (n, d): those that are compared with sentences."""
        frames = pixels(clips, self.config["frames"], self._scale)
        return self.model.get_video_features(frames).pooler_output.float().cpu().numpy()

    def _encoded(self, ids: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """States after the last norm, and sentences among the clips, without the video's prompt."""
        found = self.model.get_text_features(ids, attention_mask=real.long())
        return found.last_hidden_state, found.pooler_output


def _settings(source: str) -> Any:
    found = from_hub(AutoConfig, source)
    if found.model_type != "xclip":
        raise InputError(f"{source}: is a {found.model_type}, no X-CLIP")
    return found


def _reading(model: XCLIPModel) -> dict[str, int]:
    text = model.config.text_config
    return {"length": text.max_position_embeddings, "rows": text.vocab_size}


ENCODER = XCLIP
