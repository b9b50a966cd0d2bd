"""Tokenizers of the hub, kept beside weights as one more tensor, so that an encoder is two files and needs no hub.

Symbols: n sentences, L tokens of each with padding, M of them real.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from read.errors import InputError, optional_imports
from read.weights import first_line

TENSOR = "tokenizer.json"  # its name among the weights: the bytes of the file that transformers calls so


class Tokens(NamedTuple):
    """Numbers (n, L), and which of them stand for something of the sentence (n, L)."""

    ids: Tensor
    real: Tensor


class Tokenizer:
    """Sentences to tokens, all padded and cut to one length.

    Args:
        content: a `tokenizer.json`, uint8.
        length: L.
        rows: tokens that the model knows.
        clean: what is done to a sentence first.
        without: a token in whose place the model wants a 0.

    Raises:
        InputError: the content is no tokenizer, or does not say how it pads.
    """

    def __init__(
        self, content: Tensor, length: int, rows: int, clean: Callable[[str], str] = str, without: str | None = None
    ) -> None:
        self.content, self._rows, self._clean = content, rows, clean
        try:
            self._tokenizer = _read(bytes(content.numpy()).decode())
            padding, cut = self._tokenizer.padding, self._tokenizer.truncation
            self._tokenizer.enable_padding(**padding | {"length": length, "pad_to_multiple_of": None})
            self._tokenizer.enable_truncation(**cut | {"max_length": length})
            self._without = -1 if without is None else self._tokenizer.token_to_id(without)
        except Exception as error:  # tokenizers, which is no Python, knows no kinds of errors
            raise InputError(f"{TENSOR}: no tokenizer that pads ({first_line(error)})") from None

    @classmethod
    def of(cls, tokenizer: Any, length: int, rows: int, **rest: Any) -> Self:
        """One of transformers'; `rest` as the class takes it.

        Raises:
            InputError: it does not run on the package tokenizers, or has no token to pad with.
        """
        if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
            raise InputError(f"{type(tokenizer).__name__}: has no {TENSOR}, or no token to pad with")
        own = _read(tokenizer.backend_tokenizer.to_str())
        own.enable_padding(
            direction=tokenizer.padding_side, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token
        )
        own.enable_truncation(length, direction=tokenizer.truncation_side)
        return cls(torch.frombuffer(bytearray(own.to_str().encode()), dtype=torch.uint8), length, rows, **rest)

    def __call__(self, sentences: list[str]) -> Tokens:
        """Tokens of sentences. Raises InputError for one that has none, or one that the model does not know."""
        found = self._tokenizer.encode_batch([self._clean(sentence) for sentence in sentences])
        ids = torch.tensor([each.ids for each in found]).view(len(found), -1)
        real = torch.tensor([each.attention_mask for each in found]).view(len(found), -1).bool()
        real &= ids != self._without
        ids = ids.masked_fill(ids == self._without, 0)
        if empty := [number for number, row in enumerate(real) if not row.any()]:
            raise InputError(f"sentences {empty[:5]} of {len(sentences)} hold nothing that the tokenizer knows")
        if len(ids) and int(ids.max()) >= self._rows:
            raise InputError(f"{TENSOR}: gives token {int(ids.max())}, but the model knows {self._rows}")
        return Tokens(ids, real)

    def labels(self, ids: Tensor) -> list[str]:
        """What each of some tokens stands for."""
        return [self._tokenizer.decode([number], skip_special_tokens=False).strip() for number in ids.tolist()]


def document(content: Tensor) -> Any:
    """What a `tokenizer.json` holds. Raises ValueError where it is no JSON."""
    return json.loads(bytes(content.numpy()).decode())


def _read(content: str) -> Any:
    with optional_imports():  # here, as CLIP's own tokenizer does without
        from tokenizers import Tokenizer

    return Tokenizer.from_str(content)
