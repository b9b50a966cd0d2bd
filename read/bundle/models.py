"""A bundle's models: a backbone of each task, and its adapters."""

from pathlib import Path
from typing import Any

from torch import nn

from read.adapters import activate, get_strategy, load_adapter
from read.adapters.io import adapter_config
from read.backbones import load_backbone
from read.backbones.tokenizer import load_tokenizer
from read.backbones.visual_guidance import VisualGuidance
from read.bundle.folder import Bundle
from read.bundle.shapes import check_adapter, check_model, check_tokenizer
from read.errors import InputError


def load_model(task: str, folder: str | Path) -> nn.Module:
    """A task's backbone. Raises InputError for files that are missing or do not fit."""
    return load_backbone(folder) if task == "grounding" else VisualGuidance.load(folder)


class Models:
    """A task's models: one that holds every adapter that can be switched, and one for each adapter that cannot.

    All are loaded when first asked for, and kept.
    """

    def __init__(self, bundle: Bundle, task: str, device: str) -> None:
        self.bundle, self.task, self.device = bundle, task, device
        self._of: dict[str, nn.Module] = {}
        self._shared: nn.Module | None = None
        self._tokenizer: Any = None

    def get(self, name: str) -> nn.Module:
        """The model with this adapter active."""
        folder = self.bundle.adapter(self.task, name)
        if name not in self._of:
            check_adapter(self.task, self.bundle.model(self.task), folder)
        strategy = adapter_config(folder)["strategy"]
        if strategy is not None and not get_strategy(strategy).switchable:
            if name not in self._of:
                self._of[name] = load_adapter(self._load(), folder)
        elif name in self._of:
            activate(self._of[name], name)
        else:
            self._shared = self._load() if self._shared is None else self._shared
            self._of[name] = load_adapter(self._shared, folder, adapter=name)
        return self._of[name]

    @property
    def tokenizer(self) -> Any:
        """The text model's."""
        if self._tokenizer is None:
            folder = self.bundle.model(self.task)
            check_tokenizer(folder / "tokenizer")
            self._tokenizer = tokenizer = load_tokenizer(folder / "tokenizer")
            rows = check_model(self.task, folder).seq2seq.get_input_embeddings().num_embeddings
            if tokenizer.pad_token_id is None or len(tokenizer) > rows:
                raise InputError(f"{folder / 'tokenizer'}: lacks a padding token, or has more tokens than the model")
        return self._tokenizer

    def _load(self) -> nn.Module:
        return load_model(self.task, self.bundle.model(self.task)).to(self.device).eval()
