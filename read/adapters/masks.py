"""Which tokens are real, as the attention masks of a stack's call say it.

Symbols: B samples, T tokens of the call, P tokens before them that a cache holds, S >= P + T places to attend to.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from read.errors import InputError

SEVERAL = "adapters: a row holds several sequences, which a graph cannot tell apart; call the model uncompiled"
BLOCKED = -1e4  # what is added to a logit that is not to count: this, its type's lowest number, or minus infinity


def real_tokens(mask: Any, past: int, batch: int, length: int, where: str) -> Tensor | None:
    """(B, T) True at the real ones of a call's tokens; None where all are.

    Args:
        mask: None; (B, P + T), nonzero at real tokens; (B, heads, T, S) or (B, T, S), of which token is attended to by
            which, bool or added to the logits; or several of these by the kind of their layers.
        past: P.
        batch: B.
        length: T.
        where: what an error is about.

    Raises:
        InputError: a mask of another shape or kind, or one that does not tell padding from real tokens.
    """
    if isinstance(mask, Mapping):  # all see the same padding, a windowed one not all of it
        mask = mask["full_attention"] if "full_attention" in mask else next(iter(mask.values()), None)
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        raise InputError(
            f"{where}: a mask of type {type(mask).__name__} does not tell which tokens are real; give a tensor, "
            f"({batch}, {past + length}) with 1 at real tokens"
        )
    if mask.dim() in (3, 4):
        return _of_pairs(mask, past, batch, length, where)
    if tuple(mask.shape) != (batch, past + length):
        raise InputError(
            f"mask {tuple(mask.shape)} of {where}: must be ({batch}, {past + length}), True or 1 at real tokens"
        )
    real = mask != 0
    if mask.is_floating_point():  # 0 and 1, or added to the logits: 0 and some low number
        real = torch.where((mask < 0).any(), mask > BLOCKED, real)
    return real[:, past:]


def numbered(mask: Any, real: Tensor) -> Tensor | None:
    """(B, T) which of several sequences in its row each token is of, by a mask of pairs; None where a row is one.

    One ends where, of two real tokens beside each other, neither attends to the other. A graph of torch.compile cannot
    know whether one does: it is run for rows of one sequence, and ends with a RuntimeError where there are several.
    """
    if not isinstance(mask, Tensor) or mask.dim() < 3 or torch.compiler.is_exporting():
        return None
    pairs = mask > BLOCKED if mask.is_floating_point() else mask != 0
    pairs = pairs.any(1) if pairs.dim() == 4 else pairs
    if pairs.shape[1] != pairs.shape[2]:  # all see the same tokens, or a cache holds some
        return None
    beside = pairs.diagonal(1, 1, 2) | pairs.diagonal(-1, 1, 2)
    ends = real[:, 1:] & real[:, :-1] & ~beside
    if torch.compiler.is_compiling():
        torch._assert_async(~ends.any(), SEVERAL)
        return None
    return torch.nn.functional.pad(ends.cumsum(1), (1, 0)) if ends.any() else None


def begins_again(positions: Any) -> bool:
    """Whether the positions of a call's tokens, (B, T) or with those of axes (4, B, T), fall within a row.

    By that, where no mask is given, models know samples that are packed into one row. In a graph as `numbered`.
    """
    if not isinstance(positions, Tensor) or torch.compiler.is_exporting() or positions.dim() > 3:
        return False
    if positions.dim() == 3:
        if len(positions) != 4:
            return False  # of pictures, positions may well fall
        positions = positions[0]
    falls = (positions.diff(dim=-1) < 0).any()
    if torch.compiler.is_compiling():
        torch._assert_async(~falls, SEVERAL)
        return False
    return bool(falls)


def tensors(mask: Any) -> Iterator[Tensor | None]:
    """All tensors of a mask."""
    for part in mask.values() if isinstance(mask, Mapping) else [mask]:
        yield part if isinstance(part, Tensor) else None


def _of_pairs(mask: Tensor, past: int, batch: int, length: int, where: str) -> Tensor:
    """A token is real where it may attend to itself, and padding is what nobody attends to."""
    pairs = mask > BLOCKED if mask.is_floating_point() else mask != 0
    if pairs.dim() == 4:
        pairs = pairs.any(1)
    start = min(past, pairs.shape[2] - length)  # a window of the past may be all that there is
    if pairs.shape[0] not in (1, batch) or pairs.shape[1] not in (1, length) or start < 0:
        raise InputError(
            f"mask {tuple(mask.shape)} of {where}: must be ({batch}, 1, {length}, {past + length} or more places), "
            "True or 0 where a token is attended to"
        )
    pairs = pairs.expand(batch, length, -1)
    inner = pairs[:, :, start : start + length]
    real = inner.diagonal(dim1=1, dim2=2)
    if torch.compiler.is_compiling():
        return real
    among = inner & ~torch.eye(length, dtype=torch.bool, device=inner.device)
    alone = real & ~among.any(1) & (pairs.sum(2) == 1)  # attends to itself alone, and nobody else to it
    if ((inner.any(1) != real) | (alone & (real.sum(1, keepdim=True) > 1))).any():
        raise InputError(
            f"mask {tuple(mask.shape)} of {where}: tokens that are attended to by themselves alone, or by others but "
            f"not by themselves, may be padding or not; give ({batch}, {past + length}) with 1 at real tokens"
        )
    return real
