"""Recurrent states that follow a key-value cache, so that a recurrence goes on where cached generation left off.

Beam search reorders the cache between two forward calls, and a decoder sees the result only. So the states are kept
on the cache itself: `remember` gives it a class of its own that does to the states what is done to the keys and values.
"""

from typing import Any

from torch import Tensor

from read.adapters.layer import State
from read.errors import InputError

_Cache: Any = object  # what it is mixed into has the methods that are called below
States = dict[tuple[str, str], State]  # by the names of the adapter and the adapted sub-block


class _Recurrent(_Cache):
    """Mixed into a cache's class."""

    recurrent_states: States

    def reorder_cache(self, beam_idx: Tensor) -> None:
        super().reorder_cache(beam_idx)
        self._pick(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._pick(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self.recurrent_states = {
            name: tuple(part.repeat_interleave(repeats, dim=0) for part in state)
            for name, state in self.recurrent_states.items()
        }

    def reset(self) -> None:
        super().reset()
        self.recurrent_states = {}

    def crop(self, *args: Any, **kwargs: Any) -> None:
        raise InputError("a recurrent adapter cannot take back tokens: assisted generation is not possible with it")

    def _pick(self, index: Tensor) -> None:
        self.recurrent_states = {
            name: tuple(part.index_select(0, index.to(part.device)) for part in state)
            for name, state in self.recurrent_states.items()
        }


def remember(cache: Any, states: States) -> None:
    """Keep `states` on `cache`, in place of those that it had."""
    if not isinstance(cache, _Recurrent):
        kind = type(cache)
        cache.__class__ = type(f"Recurrent{kind.__name__}", (_Recurrent, kind), {})
    cache.recurrent_states = states


def recall(cache: Any) -> States:
    """The states on `cache`."""
    return getattr(cache, "recurrent_states", {})


def cached_tokens(cache: Any) -> int:
    """How many tokens `cache` holds; None holds none. Raises InputError for what is no cache of transformers."""
    if cache is None:
        return 0
    if not hasattr(cache, "get_seq_length"):
        raise InputError(
            f"past_key_values: a {type(cache).__name__} is no cache of transformers, which adapters can read"
        )
    return int(cache.get_seq_length())
