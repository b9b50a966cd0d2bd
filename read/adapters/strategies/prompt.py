"""Prompt tokens in front of every layer's tokens (Jia et al., "Visual Prompt Tuning", 2022, the deep form).

A layer drops its prompts again, so all they do is to be attended to: they are added to the keys and values only, and
the number of tokens that the layers hand on does not change.
"""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.adapters.inject import parameter_near
from read.adapters.registry import Strategy
from read.adapters.sub_blocks import called_like_torchs, self_attentions
from read.errors import InputError


class Prompt(nn.Module):
    """P prompt tokens of width d, and the hooks that put them before the tokens of one attention module."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        bound = (6 / (count + width)) ** 0.5  # Xavier's, as in the paper
        self.tokens = nn.Parameter(torch.empty(count, width).uniform_(-bound, bound))

    def join_keys(self, module: nn.MultiheadAttention, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Forward pre-hook of torch's attention and its like: more keys and values, masks that let them be seen."""
        names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
        given = dict(zip(names, args, strict=False)) | kwargs
        for name in ("key", "value"):
            given[name] = self._before(given[name], 1 if module.batch_first else 0)
        for name in ("key_padding_mask", "attn_mask"):
            if given.get(name) is not None:
                given[name] = F.pad(given[name], (len(self.tokens), 0))  # False or 0: attended to
        return (), given

    def join_tokens(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Forward pre-hook of a self-attention (B, T, d), mask -> (B, T, d)."""
        given = dict(zip(inspect.signature(module.forward).parameters, args, strict=False)) | kwargs
        given["hidden_states"] = self._before(given["hidden_states"], 1)
        count = len(self.tokens)
        for name in ("attention_mask", "mask"):
            if (mask := given.get(name)) is not None:  # (B, 1, 1 or T, T), or (B, T) in flash attention
                seen = 0 if mask.is_floating_point() else 1  # a float mask is added to the logits
                rows = count if mask.dim() == 4 and mask.shape[2] > 1 else 0
                given[name] = F.pad(mask, (count, 0, rows, 0), value=seen)
        return (), given

    def leave(self, module: nn.Module, args: tuple, output: Any) -> Any:
        """Forward hook that drops what the prompts themselves have become."""
        count = len(self.tokens)
        return (output[0][:, count:], *output[1:]) if isinstance(output, tuple) else output[:, count:]

    def _before(self, tokens: Tensor, dim: int) -> Tensor:
        prompts = self.tokens.to(tokens.dtype).unsqueeze(1 - dim)
        return torch.cat((prompts.expand(*(tokens.shape[:dim]), -1, *tokens.shape[dim + 1 :]), tokens), dim=dim)


def _apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    places = self_attentions(model)
    if not places:
        raise InputError(f"strategy prompt: {type(model).__name__} has no attention that is known to take prompts")
    model.prompts = nn.ModuleDict()
    for name, width in places.items():
        module, like = model.get_submodule(name), parameter_near(model, name)
        prompt = Prompt(options["tokens"], width).to(like.device, like.dtype)
        model.prompts[name.replace(".", "/")] = prompt
        if called_like_torchs(module):
            module.register_forward_pre_hook(prompt.join_keys, with_kwargs=True)
        else:
            module.register_forward_pre_hook(prompt.join_tokens, with_kwargs=True)
            module.register_forward_hook(prompt.leave)
    return [name for name, _ in model.named_parameters() if name.startswith("prompts.")]


STRATEGY = Strategy(
    "prompt tokens in front of every layer's",
    "Jia et al. 2022 (VPT), Huang et al. 2023 (VoP)",
    _apply,
    {"tokens": 8},
    budget="tokens",
)
