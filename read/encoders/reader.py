"""What encoders that read sentences have in common: sentences go through them in batches, padding stays out.

Symbols: n sentences, L tokens of each with padding, M of them real, d width.
"""

import numpy as np
import torch
from torch import Tensor

from read.encoders.base import Encoder
from read.encoders.tokens import Tokenizer, Tokens
from read.errors import InputError

TEXT_BATCH = 256


class SentenceReader(Encoder):
    """An encoder that reads. A kind says how it encodes tokens and, where it has no `Tokenizer`, makes them.

    Attributes:
        device: where it runs.
    """

    device: torch.device
    _tokenizer: Tokenizer

    def text(self, sentences: list[str]) -> list[np.ndarray]:
        """Features of tokens, float32 (M, d) for each sentence: those of its words and the special ones, not padding.

        They are the last layer's, after its norm. Sentences longer than the model's context are cut to it.

        Raises:
            InputError: a sentence is empty.
        """
        return self.read(sentences)[0]

    def sentences(self, sentences: list[str]) -> np.ndarray:
        """See `Encoder`. Raises InputError as `text`."""
        if (found := self.read(sentences)[1]) is None:
            raise NotImplementedError
        return found

    @torch.inference_mode()
    def read(self, sentences: list[str]) -> tuple[list[np.ndarray], np.ndarray | None]:
        """`text` and, of those that are `joint`, `sentences`, in one pass."""
        if empty := [number for number, sentence in enumerate(sentences) if not sentence.strip()]:
            raise InputError(f"sentences {empty[:5]} of {len(sentences)} are empty")
        features, pooled = [], [torch.empty(0, self.dim)]
        for start in range(0, len(sentences), TEXT_BATCH):
            tokens = self._tokens(sentences[start : start + TEXT_BATCH])
            states, found = self._encoded(tokens.ids.to(self.device), tokens.real.to(self.device))
            features += [row[real].numpy() for row, real in zip(states.float().cpu(), tokens.real, strict=True)]
            if found is not None:
                pooled.append(found.float().cpu())
        return features, torch.cat(pooled).numpy() if self.joint else None

    def words(self, sentence: str) -> list[str]:
        """What each of the M tokens of `text` stands for."""
        tokens = self._tokens([sentence])
        return self._tokenizer.labels(tokens.ids[tokens.real])

    def _tokens(self, sentences: list[str]) -> Tokens:
        return self._tokenizer(sentences)

    def _encoded(self, ids: Tensor, real: Tensor) -> tuple[Tensor, Tensor | None]:
        """States (n, L, d) and, of those that are `joint`, the sentences among the pictures (n, `dim`)."""
        raise NotImplementedError
