"""Layers of QD-DETR: clips that attend to words, and a decoder whose moment queries carry reference spans.

Symbols: B samples, N clips, M words, K moment queries, L tokens that are attended to, d width. Masks are True at real
tokens. References are spans as centre and width, in shares of the clips' total length.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.backbones.blocks import EncoderLayer, FeedForwardBlock, SubBlock


def sine_embedding(references: Tensor, d: int) -> Tensor:
    """(B, K, 2) -> (B, K, d): the centre's sine embedding, then the width's."""
    period = 10000 ** (4 * torch.arange(d // 4, device=references.device) / d)
    angle = 2 * math.pi * references[..., None] / period
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(2)


def inverse_sigmoid(share: Tensor, least: float = 1e-3) -> Tensor:
    """log(x / (1 - x)), both sides at least `least`."""
    return (share.clamp(min=least) / (1 - share).clamp(min=least)).log()


class WordAttentionBlock(SubBlock):
    """The layer's `self_attn`, in which clips attend to words, up to the residual."""

    parts = ("self_attn",)

    def forward(self, clips: Tensor, position: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Clips and positions (B, N, d), words (B, M, d), their mask (B, M) -> (B, N, d)."""
        attend = self._layer[0].self_attn
        return attend(clips + position, words, words, key_padding_mask=~mask, need_weights=False)[0]


class WordsToVideoLayer(EncoderLayer):
    """Clips attend to words: x = x + drop(attention(x)), x = Norm(x + drop(feed_forward(Norm(x))))."""

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.attention = WordAttentionBlock(self)

    def forward(self, clips: Tensor, position: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """As `WordAttentionBlock`."""
        clips = clips + self.drop(self.attention(clips, position, words, mask))
        return self.norm2(clips + self.drop(self.feed_forward(self.norm1(clips))))


class OutputAttention(nn.Module):
    """Attention over what was projected before; of its own it has the output's projection."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.out_proj = nn.Linear(d, d)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, queries: Sequence[Tensor], keys: Sequence[Tensor], values: Tensor, mask: Tensor | None) -> Tensor:
        """Attend with logits that are summed over parts.

        Args:
            queries: parts (B, K, d).
            keys: as many parts (B, L, d).
            values: (B, L, d).
            mask: (B, L), None where all are real.

        Returns:
            (B, K, d).
        """
        query, key, value = (
            torch.cat([part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts], dim=-1)
            for parts in (queries, keys, (values,))
        )
        seen = None if mask is None else mask[:, None, None]
        rate = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=rate)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class QueryAttentionBlock(SubBlock):
    """The layer's `sa_*` projections and `self_attn`, up to the residual."""

    parts = ("sa_qcontent_proj", "sa_qpos_proj", "sa_kcontent_proj", "sa_kpos_proj", "sa_v_proj", "self_attn")

    def forward(self, queries: Tensor, position: Tensor) -> Tensor:
        """(B, K, d), positions (B, K, d) -> (B, K, d)."""
        layer = self._layer[0]
        query = layer.sa_qcontent_proj(queries) + layer.sa_qpos_proj(position)
        key = layer.sa_kcontent_proj(queries) + layer.sa_kpos_proj(position)
        return layer.self_attn((query,), (key,), layer.sa_v_proj(queries), None)


class ClipAttentionBlock(SubBlock):
    """The layer's `ca_*` projections and `cross_attn`, up to the residual."""

    parts = (
        "ca_qcontent_proj", "ca_kcontent_proj", "ca_kpos_proj", "ca_v_proj", "ca_qpos_sine_proj", "ca_qpos_proj",
        "cross_attn",
    )  # fmt: skip

    def forward(
        self, queries: Tensor, position: Tensor, sine: Tensor, clips: Tensor, clip_position: Tensor, mask: Tensor
    ) -> Tensor:
        """Queries, positions and sine embeddings (B, K, d), clips and positions (B, N, d), mask (B, N) -> (B, K, d)."""
        layer = self._layer[0]
        query, key = layer.ca_qcontent_proj(queries), layer.ca_kcontent_proj(clips)
        key_position = layer.ca_kpos_proj(clip_position)
        if layer.ca_qpos_proj is not None:
            query, key = query + layer.ca_qpos_proj(position), key + key_position
        parts = (query, layer.ca_qpos_sine_proj(sine)), (key, key_position)
        return layer.cross_attn(*parts, layer.ca_v_proj(clips), mask)


class QDDecoderLayer(nn.Module):
    """A post-norm layer of conditional attention: among the moment queries, to the clips, feed-forward block."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float, first: bool) -> None:
        super().__init__()
        for name in ("sa_qcontent", "sa_qpos", "sa_kcontent", "sa_kpos", "sa_v",
                     "ca_qcontent", "ca_kcontent", "ca_kpos", "ca_v", "ca_qpos_sine"):  # fmt: skip
            self.add_module(f"{name}_proj", nn.Linear(d, d))
        self.ca_qpos_proj = nn.Linear(d, d) if first else None
        self.self_attn = OutputAttention(d, heads, dropout)
        self.cross_attn = OutputAttention(d, heads, dropout)
        self.linear1 = nn.Linear(d, feed_forward)
        self.linear2 = nn.Linear(feed_forward, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.norm3 = nn.LayerNorm(d)
        self.activation = nn.PReLU()
        self.dropout = nn.Dropout(dropout)
        self.attention = QueryAttentionBlock(self)
        self.cross_attention = ClipAttentionBlock(self)
        self.feed_forward = FeedForwardBlock(self)

    def forward(self, queries: Tensor, position: Tensor, *context: Tensor) -> Tensor:
        """As `ClipAttentionBlock`."""
        queries = self.norm1(queries + self.dropout(self.attention(queries, position)))
        queries = self.norm2(queries + self.dropout(self.cross_attention(queries, position, *context)))
        return self.norm3(queries + self.dropout(self.feed_forward(queries)))
