"""Features that are read when they are asked for, and what was read last, up to a number of bytes.

A dataset's features may be larger than the memory. So a sample holds no tensor of them, but a `Lazy`, of which the
shape is known: it can be counted, cut and joined, and only a batch reads it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

KEPT = 2**27  # bytes that a cache holds


@dataclass(frozen=True, slots=True)
class Lazy:
    """A tensor of a known shape that is read when it is asked for, every time anew."""

    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> "Lazy":
        """Some of the rows; they are not read now either."""
        return Lazy((len(range(*part.indices(len(self)))), *self.shape[1:]), partial(_part, self, part))


Held = torch.Tensor | Lazy  # what a sample holds


def read(features: Held) -> torch.Tensor:
    """The tensor itself."""
    return features.read() if isinstance(features, Lazy) else features


def joined(parts: Sequence[Held]) -> Lazy:
    """Rows of one width, one part after the other; they are not read now."""
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    return Lazy(shape, partial(_joined, parts))


def _part(whole: Lazy, part: slice) -> torch.Tensor:
    return whole.read()[part]


def _joined(parts: Sequence[Held]) -> torch.Tensor:
    return torch.cat([read(part) for part in parts])


class Cache:
    """Tensors that were asked for last; of those that were not asked for longest, as many go as are too many.

    Args:
        limit: bytes that are held at most, if need be of the last one alone.
    """

    def __init__(self, limit: int = KEPT) -> None:
        self.limit, self.held = limit, 0
        self._tensors: OrderedDict[Hashable, torch.Tensor] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The tensor of a key; `make` gives it where it is not held."""
        if key in self._tensors:
            self._tensors.move_to_end(key)
            return self._tensors[key]
        tensor = self._tensors[key] = make()
        self.held += tensor.nbytes
        while self.held > self.limit and len(self._tensors) > 1:
            self.held -= self._tensors.popitem(last=False)[1].nbytes
        return tensor
