"""Backward passes that are written out by hand, and have no derivative of their own."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _NoDerivative(torch.autograd.Function):
    """The identity, whose own backward pass is an error."""

    @staticmethod
    def forward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in gradients)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise RuntimeError(
            "second derivatives were asked for through a backward pass that is written out by hand and has none"
        )


def once_differentiable(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., tuple[Tensor | None, ...]]:
    """For the `backward` of a torch.autograd.Function: differentiating its gradients is an error.

    torch's decorator of this name sees only gradients that want a gradient themselves, which those of a plain loss do
    not: with `create_graph=True` what the forward pass kept would be taken for constants, without a word.
    """

    @functools.wraps(backward)
    def guarded(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            results = backward(ctx, *gradients)
        if not torch.is_grad_enabled():  # no graph of this pass was asked for
            return results
        guards = iter(_NoDerivative.apply(*(each.requires_grad_() for each in results if each is not None)))
        return tuple(None if each is None else next(guards) for each in results)

    return guarded
