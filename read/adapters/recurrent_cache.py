"""Recurrent states that follow a key-value cache, so that a recurrence goes on where cached generation left off.

Beam search reorders the cache between two forward calls, and a decoder sees the result only. So the states are kept
on the cache itself: `remember` gives it methods of its own, which do to the states what is done to the keys and values.
They are partial functions, which torch.compile can make, and which go along with a deep copy.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from read.adapters.cells import State
from read.errors import InputError

States = dict[tuple[str, str], State]  # by the names of the adapter and the adapted sub-block


# Arguments of models of transformers that hold what earlier tokens left, and are not `past_key_values`.
OTHER_CACHES = ("cache", "cache_params", "mems", "state")


def remember(cache: Any, states: States) -> None:
    """Keep `states` on `cache`, in place of those that it had."""
    if not hasattr(cache, "adapter_states"):
        for name, method in METHODS.items():
            setattr(cache, name, partial(method, cache))
    cache.adapter_states = states


def recall(cache: Any) -> States:
    """The states on `cache`."""
    return getattr(cache, "adapter_states", {})


def refuse_others(given: Mapping[str, Any]) -> None:
    """Raise InputError where a call of a model of transformers goes on from a cache that holds no keys and values."""
    if found := next((name for name in OTHER_CACHES if given.get(name) is not None), None):
        raise InputError(
            f"{found}: a {type(given[found]).__name__} holds no states of recurrences, which would start again at each "
            "token; set use_cache=False"
        )


def cached_tokens(cache: Any) -> int:
    """How many tokens `cache` holds; None holds none. Raises InputError for what is no cache of transformers."""
    if cache is None:
        return 0
    if not hasattr(cache, "get_seq_length"):
        raise InputError(
            f"past_key_values: a {type(cache).__name__} is no cache of transformers, which adapters can read"
        )
    tokens = int(cache.get_seq_length())
    for layer in () if tokens else getattr(cache, "layers", ()):  # whose first may be one that keeps no keys
        tokens = tokens or int(layer.get_seq_length() if hasattr(layer, "get_seq_length") else 0)
    return tokens


def _reorder_cache(cache: Any, beam_idx: Tensor) -> None:
    type(cache).reorder_cache(cache, beam_idx)
    _pick(cache, beam_idx)


def _batch_select_indices(cache: Any, indices: Tensor) -> None:
    type(cache).batch_select_indices(cache, indices)
    _pick(cache, indices)


def _batch_repeat_interleave(cache: Any, repeats: int) -> None:
    type(cache).batch_repeat_interleave(cache, repeats)
    cache.adapter_states = {
        name: tuple(part.repeat_interleave(repeats, dim=0) for part in state)
        for name, state in cache.adapter_states.items()
    }


def _reset(cache: Any) -> None:
    type(cache).reset(cache)
    cache.adapter_states = {}


def _crop(cache: Any, *args: Any, **kwargs: Any) -> None:
    raise InputError("a recurrent adapter cannot take back tokens: assisted generation is not possible with it")


def _pick(cache: Any, index: Tensor) -> None:
    cache.adapter_states = {
        name: tuple(part.index_select(0, index.to(part.device)) for part in state)
        for name, state in cache.adapter_states.items()
    }


METHODS: dict[str, Callable[..., None]] = {
    "reorder_cache": _reorder_cache,
    "batch_select_indices": _batch_select_indices,
    "batch_repeat_interleave": _batch_repeat_interleave,
    "reset": _reset,
    "crop": _crop,
}
