"""Parts that several backbones are made of; their state dicts have the keys of the public checkpoints.

Symbols: B samples, N clips, M words, L tokens, d width. Masks are True at real tokens.
"""

import itertools
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SubBlock(nn.Module):
    """A part of `layer` as a module, so that it can be hooked; its weights stay under the layer's published keys.

    `parts` names the modules of the layer that it runs.
    """

    parts: ClassVar[tuple[str, ...]]

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._layer = (layer,)  # in a tuple, or torch would register the layer as its own grandchild


class AttentionBlock(SubBlock):
    """The layer's `self_attn` up to the residual."""

    parts = ("self_attn",)

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d), with positions (B, L, d) on queries and keys -> what is added to the tokens."""
        located = tokens + position
        attend = self._layer[0].self_attn
        return attend(located, located, tokens, key_padding_mask=~mask, need_weights=False)[0]


class FeedForwardBlock(SubBlock):
    """The layer's `linear1`, `activation`, `dropout` and `linear2`, up to the residual."""

    parts = ("linear1", "activation", "linear2")

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, d) -> what is added to the tokens."""
        layer = self._layer[0]
        return layer.linear2(layer.dropout(layer.activation(layer.linear1(tokens))))


class EncoderLayer(nn.Module):
    """A post-norm layer: x = Norm(x + drop(attention(x))), x = Norm(x + drop(feed_forward(x))).

    Args:
        d: width.
        heads: of the attention.
        feed_forward: inner width of the feed-forward block.
        attention_dropout: on attention weights.
        activation: inside the feed-forward block.
        dropout: inside the feed-forward block, after the activation.
        drop: what either branch goes through before it joins the residual.
    """

    def __init__(
        self, d: int, heads: int, feed_forward: int, attention_dropout: float, activation: nn.Module, dropout: float,
        drop: nn.Module,
    ) -> None:  # fmt: skip
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d, heads, dropout=attention_dropout, batch_first=True)
        self.linear1 = nn.Linear(d, feed_forward)
        self.linear2 = nn.Linear(feed_forward, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.drop = drop
        self.attention = AttentionBlock(self)
        self.feed_forward = FeedForwardBlock(self)

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d), positions (B, L, d), mask (B, L) -> (B, L, d)."""
        tokens = self.norm1(tokens + self.drop(self.attention(tokens, position, mask)))
        return self.norm2(tokens + self.drop(self.feed_forward(tokens)))


class InputLayer(nn.Module):
    """LayerNorm, dropout, linear and, but for the last one, ReLU."""

    def __init__(self, inputs: int, outputs: int, dropout: float, relu: bool) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(inputs)
        self.net = nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, outputs))
        self.relu = relu

    def forward(self, features: Tensor) -> Tensor:
        """(B, L, inputs) -> (B, L, outputs)."""
        projected = self.net(self.LayerNorm(features))
        return F.relu(projected) if self.relu else projected


def input_projection(inputs: int, hidden: int, layers: int, dropout: float) -> nn.Sequential:
    """`layers` input layers, from the features' width to the model's."""
    widths = [inputs] + [hidden] * (layers - 1)
    return nn.Sequential(*(InputLayer(width, hidden, dropout, i < layers - 1) for i, width in enumerate(widths)))


def linear_layers(model: nn.Module, *parts: str) -> dict[str, nn.Module]:
    """The linear layers in the named parts of a model, under their dotted names."""
    return {
        name: module
        for part in parts
        for name, module in model.get_submodule(part).named_modules(prefix=part)
        if isinstance(module, nn.Linear)
    }


class MLP(nn.Module):
    """`layers` linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (layers - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(width, after) for width, after in itertools.pairwise(widths))

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        for index, layer in enumerate(self.layers):
            tokens = layer(F.relu(tokens) if index else tokens)
        return tokens


def sine_positions(mask: Tensor, hidden: int) -> Tensor:
    """(B, N, hidden) sine embedding of each clip's number, scaled so that the last real clip stands at 2 pi."""
    place = mask.cumsum(1, dtype=torch.float32)
    place = place / (place[:, -1:] + 1e-6) * (2 * torch.pi)
    period = 10000 ** (2 * torch.arange(hidden // 2, device=mask.device) / hidden)
    angle = place[..., None] / period
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(2)


def with_ends(video: Tensor, mask: Tensor) -> Tensor:
    """(B, N, dim + 2): each clip's start and end, as shares of the real clips' total length, behind its features."""
    index = torch.arange(video.shape[1], device=video.device)[:, None]
    ends = torch.cat((index, index + 1), dim=1) / mask.sum(1)[:, None, None] * mask[..., None]
    return torch.cat((video, ends.to(video.dtype)), dim=-1)
