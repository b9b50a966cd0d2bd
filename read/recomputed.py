"""Gradient checkpointing: transformer layers keep their inputs alone, and are computed again in the backward pass.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016. A layer's forward is wrapped, not the
module: hooks on the layer, as the one by which a text model sees a video, run once, those on what is inside it twice,
which adapters know of.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from read.adapters.sub_blocks import sub_blocks
from read.adapters.wrapped import unwrap
from read.errors import InputError


@contextmanager
def recomputed(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """While the block runs, where `wanted`, a model's layers are checkpointed in training.

    Layers are what holds feed-forward or attention blocks: of the backbones here, and of the families that adapters
    know. Sequence-to-sequence models have to be called with `use_cache=False`.

    Raises:
        InputError: the model's layers are not known.
    """
    layers = _layers(unwrap(model)) if wanted else []
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = partial(_run, layer, layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            del layer.forward
            if forward is not None:  # not the class' own
                layer.forward = forward


def _layers(model: Any) -> list[nn.Module]:
    places = sub_blocks(model, "attention", "feed_forward")
    if not places and not hasattr(model, "feed_forward_blocks"):
        raise InputError(
            f"train: gradient_checkpointing: the layers of {type(model).__name__} are not known; let it offer "
            "feed_forward_blocks(), or train without"
        )
    return [model.get_submodule(name) for name in dict.fromkeys(place.layer for place in places)]


def _run(layer: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if layer.training and torch.is_grad_enabled():
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)
    return forward(*args, **kwargs)
