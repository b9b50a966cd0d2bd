"""The Audio Spectrogram Transformer through transformers: one feature of sound per clip (Gong et al. 2021).

Symbols: n clips, L samples in a clip, d width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from read.encoders.base import Hears, Material
from read.encoders.hub import from_hub, hub_source, kept_config, loaded, model_from_hub, name_of
from read.encoders.of_hub import OfHub
from read.encoders.weights import read_config, save_folder
from read.errors import optional_imports
from read.weights import check_fit, state_digest

with optional_imports():
    from transformers import ASTFeatureExtractor, ASTModel

READS = ("sound",)
OPTIONS = {
    "model": "MIT/ast-finetuned-audioset-10-10-0.4593"
}  # a name on the hub, with its revision after an @; a folder
HOP = 0.010  # seconds from one frame of the spectrum to the next


class AST(OfHub):
    """The model, and how its input is made of sound: what is shorter than its spectrum is filled up with silence.

    Args:
        model: gives `pooler_output` (n, d).
        listener: makes its input of sound.
        config: "name", and "model" and "listener", the settings of both.
        device: where it runs.
    """

    reads = READS

    def __init__(
        self, model: ASTModel, listener: ASTFeatureExtractor, config: dict[str, Any], device: str | torch.device = "cpu"
    ) -> None:
        self.model, self.listener, self.config = model.to(device).eval(), listener, config
        self.device, self.dim = torch.device(device), model.config.hidden_size
        self.hears = Hears(listener.sampling_rate, least=0.025, most=listener.max_length * HOP)
        told = {key: value for key, value in config.items() if key != "commit"}
        self.identity = {**told, "weights": state_digest(model.state_dict()), "dim": self.dim}

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """The model of a folder or of the hub; nothing is trained here."""
        model = model_from_hub(ASTModel, options["model"])
        listener = from_hub(ASTFeatureExtractor, options["model"])
        settings = {"model": kept_config(model.config), "listener": listener.to_dict()}
        config = {"name": name_of(options["model"]), **settings, **hub_source(model.config)}
        return cls(model, listener, config, material.device)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        model, listener, state = loaded(ASTModel, ASTFeatureExtractor, folder)
        check_fit(state, model.state_dict(), folder, "this ASTModel")
        model.load_state_dict(state)
        return cls(model, listener, read_config(folder), device)

    def save(self, folder: str | Path) -> None:
        """Write weights and config into `folder`."""
        save_folder(folder, self.model.state_dict(), self.config)

    @torch.inference_mode()
    def sound(self, waves: np.ndarray) -> np.ndarray:
        """Features of clips' sound, float32 (n, L) -> float32 (n, d)."""
        heard = self.listener([*waves], sampling_rate=self.hears.rate, return_tensors="pt")["input_values"]
        return self.model(heard.to(self.device)).pooler_output.float().cpu().numpy()


ENCODER = AST
