"""CLAP through transformers (Wu et al. 2023): a feature per clip of sound, and one per token of a sentence.

The space that both share is of sound and not of pictures, so it is no `joint` one: whatever compares queries with clips
there has frames in mind.

Symbols: n clips or sentences, L samples in a clip, M tokens of a sentence, d width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from read.encoders.base import Hears, Material
from read.encoders.hub import from_hub, hub_source, kept_config, loaded, model_from_hub, name_of
from read.encoders.of_hub import OfHub
from read.encoders.reader import SentenceReader
from read.encoders.tokens import TENSOR, Tokenizer, Tokens
from read.encoders.weights import WEIGHTS, read_config, save_folder
from read.errors import InputError, optional_imports
from read.weights import check_fit, state_digest

with optional_imports():
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

READS = ("sound", "text")
JOINT = False
OPTIONS = {"model": "laion/clap-htsat-unfused"}  # a folder, or a name on the hub, with its revision after an @


class Clap(SentenceReader, OfHub):
    """The model, how its input is made of sound, and its tokenizer.

    Args:
        model: gives features of sound, and of tokens through its text tower.
        listener: makes its input of sound; a clip that is shorter than that is repeated.
        tokenizer: cuts sentences to what the text tower takes.
        config: "name", and "model" and "listener", the settings of both.
        device: where it runs.
    """

    reads = READS

    def __init__(
        self,
        model: ClapModel,
        listener: ClapFeatureExtractor,
        tokenizer: Tokenizer,
        config: dict[str, Any],
        device: str | torch.device = "cpu",
    ) -> None:
        self.model, self.listener, self.config = model.to(device).eval(), listener, config
        self.device, self._tokenizer = torch.device(device), tokenizer
        self.dim, self.text_dim = model.config.projection_dim, model.config.text_config.hidden_size
        self.hears = Hears(listener.sampling_rate, most=listener.max_length_s)
        self.identity = {
            **{key: value for key, value in config.items() if key != "commit"},
            "weights": state_digest(self._state()),
            "dim": self.dim,
            "text_dim": self.text_dim,
        }

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """The model of a folder or of the hub; nothing is trained here."""
        source = options["model"]
        model, listener = model_from_hub(ClapModel, source), from_hub(ClapFeatureExtractor, source)
        tokenizer = Tokenizer.of(from_hub(AutoTokenizer, source, trust_remote_code=False), *_reading(model))
        settings = {"model": kept_config(model.config), "listener": _kept(listener)}
        config = {"name": name_of(source), **settings, **hub_source(model.config)}
        return cls(model, listener, tokenizer, config, material.device)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        model, listener, state = loaded(ClapModel, ClapFeatureExtractor, folder)
        content = state.pop(TENSOR, None)
        check_fit(state, model.state_dict(), folder, "this ClapModel")
        if content is None:
            raise InputError(f"{Path(folder) / WEIGHTS}: lacks {TENSOR}, the tokenizer")
        model.load_state_dict(state)
        return cls(model, listener, Tokenizer(content, *_reading(model)), read_config(folder), device)

    def save(self, folder: str | Path) -> None:
        """Write weights, the tokenizer among them, and config into `folder`."""
        save_folder(folder, self._state(), self.config)

    def _state(self) -> dict[str, Tensor]:
        return self.model.state_dict() | {TENSOR: self._tokenizer.content}

    @torch.inference_mode()
    def sound(self, waves: np.ndarray) -> np.ndarray:
        """Features of clips' sound, float32 (n, L) -> float32 (n, d), of length 1."""
        heard = self.listener([*waves], sampling_rate=self.hears.rate, return_tensors="pt")["input_features"]
        # No clip is longer than the model's input; transformers would call one of them longer, by chance.
        longer = torch.zeros(len(waves), 1, dtype=torch.bool, device=self.device)
        found = self.model.get_audio_features(heard.float().to(self.device), is_longer=longer)
        return found.pooler_output.float().cpu().numpy()

    def _tokens(self, sentences: list[str]) -> Tokens:
        ids, real = self._tokenizer(sentences)
        longest = int(real.sum(1).max())
        return Tokens(ids[:, :longest], real[:, :longest])

    def _encoded(self, ids: Tensor, real: Tensor) -> tuple[Tensor, None]:
        """States as the text tower leaves them."""
        return self.model.text_model(input_ids=ids, attention_mask=real.long()).last_hidden_state, None


def _reading(model: ClapModel) -> tuple[int, int]:
    """Tokens of a sentence at most, and tokens that there are; RoBERTa counts places from after its padding's."""
    text = model.config.text_config
    return text.max_position_embeddings - text.pad_token_id - 1, text.vocab_size


def _kept(listener: ClapFeatureExtractor) -> dict[str, Any]:
    """Its settings, without the banks of filters that follow from them."""
    return {key: value for key, value in listener.to_dict().items() if not key.startswith("mel_filters")}


ENCODER = Clap
