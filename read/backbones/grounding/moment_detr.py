"""Moment-DETR: an encoder and a decoder that predict a set of moments.

Lei et al., "QVHighlights: Detecting Moments and Highlights in Videos via Natural Language Queries", 2021. The encoder,
over [video; words], gives the saliency of each clip; the decoder turns moment queries into windows, each with the
probability that it is one. The state dict has the keys of the public checkpoints.

Symbols: B samples, N clips, M words, L = N + M tokens, K moment queries, D decoder layers, d width. Masks are True at
real tokens. Spans are shares of the clips' total length.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.backbones.base import Backbone, Segment, TransformerConfig
from read.backbones.blocks import (
    MLP,
    AttentionBlock,
    EncoderLayer,
    FeedForwardBlock,
    SubBlock,
    input_projection,
    linear_layers,
    sine_positions,
    with_ends,
)
from read.backbones.dense_losses import MASKED
from read.backbones.set_losses import margin_loss, moment_losses, set_outputs

UNUSED_KEYS = "txt_position_embed."


@dataclass(frozen=True)
class MomentDETRConfig(TransformerConfig):
    """The defaults are the published ones.

    Attributes:
        queries: K.
        projection_layers: of each input projection.
        tef: append each clip's start and end, as shares, to its features.
    """

    queries: int = 10
    projection_layers: int = 2
    tef: bool = True

    @property
    def clip_width(self) -> int:
        """Width of what the clips' projection reads."""
        return self.seen_dim + 2 * self.tef


class CrossAttentionBlock(SubBlock):
    """The layer's `multihead_attn` up to the residual."""

    parts = ("multihead_attn",)

    def forward(self, queries: Tensor, query_position: Tensor, tokens: Tensor, located: Tensor, mask: Tensor) -> Tensor:
        """Queries (B, K, d) look at tokens (B, L, d), which are `located` with their positions -> (B, K, d)."""
        attend = self._layer[0].multihead_attn
        return attend(queries + query_position, located, tokens, key_padding_mask=~mask, need_weights=False)[0]


class DecoderLayer(nn.Module):
    """A post-norm layer: attention among the moment queries, attention to the encoder's tokens, feed-forward block."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(d, heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(d, feed_forward)
        self.linear2 = nn.Linear(feed_forward, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.norm3 = nn.LayerNorm(d)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.attention = AttentionBlock(self)
        self.cross_attention = CrossAttentionBlock(self)
        self.feed_forward = FeedForwardBlock(self)

    def forward(
        self, queries: Tensor, query_position: Tensor, query_mask: Tensor, tokens: Tensor, located: Tensor, mask: Tensor
    ) -> Tensor:
        """Queries (B, K, d), all real by their mask (B, K); the rest as `CrossAttentionBlock` -> (B, K, d)."""
        queries = self.norm1(queries + self.dropout(self.attention(queries, query_position, query_mask)))
        seen = self.cross_attention(queries, query_position, tokens, located, mask)
        queries = self.norm2(queries + self.dropout(seen))
        return self.norm3(queries + self.dropout(self.feed_forward(queries)))


class MomentDETR(Backbone):
    """The model. `states` are the encoder's outputs; `audio` is not used."""

    config_class = MomentDETRConfig
    dense = False
    stacks: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    def __init__(self, config: MomentDETRConfig) -> None:
        super().__init__(config)
        d, shape = config.hidden, (config.hidden, config.projection_layers, config.input_dropout)
        self.input_txt_proj = input_projection(config.text_dim, *shape)
        self.input_vid_proj = input_projection(config.clip_width, *shape)
        self.span_embed = MLP(d, d, 2, 3)
        self.class_embed = nn.Linear(d, 2)
        self.transformer = nn.Module()
        for stack in self.stacks:
            self.transformer.add_module(stack, nn.Module())
        self._build()
        for parameter in self.transformer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def _build(self) -> None:
        """The layers, the moment queries and the saliency head."""
        config, d, dropout = self.config, self.config.hidden, self.config.dropout
        sizes = (d, config.heads, config.feed_forward, dropout)
        self.transformer.encoder.layers = nn.ModuleList(
            EncoderLayer(*sizes, nn.ReLU(), dropout, nn.Dropout(dropout)) for _ in range(config.layers)
        )
        self.transformer.decoder.layers = nn.ModuleList(DecoderLayer(*sizes) for _ in range(config.layers))
        self.transformer.decoder.norm = nn.LayerNorm(d)
        self.query_embed = nn.Embedding(config.queries, d)
        self.saliency_proj = nn.Linear(d, 1)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The layers of all stacks under their dotted names."""
        return {
            f"transformer.{stack}.layers.{i}": layer
            for stack in self.stacks
            for i, layer in enumerate(self.transformer.get_submodule(stack).layers)
        }

    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """`transformer.<stack>.layers.N.feed_forward`; weights stay with the layer."""
        return {f"{name}.feed_forward": layer.feed_forward for name, layer in self.layers.items()}

    def attention_blocks(self) -> dict[str, nn.Module]:
        """`transformer.<stack>.layers.N.attention` and the decoder's `.cross_attention`."""
        return {
            f"{name}.{block}": getattr(layer, block)
            for name, layer in self.layers.items()
            for block in ("attention", "cross_attention")
            if hasattr(layer, block)
        }

    def projection_blocks(self) -> dict[str, nn.Module]:
        """`input_vid_proj.N.net.1` and `input_txt_proj.N.net.1`."""
        return linear_layers(self, "input_vid_proj", "input_txt_proj")

    def heads(self) -> list[str]:
        """The span, foreground and saliency heads."""
        return ["span_embed", "class_embed", "saliency_proj"]

    def segments(self, video_mask: Tensor, text_mask: Tensor) -> dict[str, list[Segment]]:
        """Clips and words apart in the projections, clips first in the encoder; the moment queries in the decoder."""
        (batch, clips), words, queries = video_mask.shape, text_mask.shape[1], self.config.queries
        return {
            "input_vid_proj": [Segment("video", 0, clips, video_mask)],
            "input_txt_proj": [Segment("text", 0, words, text_mask)],
            "transformer.encoder": [
                Segment("video", 0, clips, video_mask),
                Segment("text", clips, clips + words, text_mask),
            ],
            "transformer.decoder": [Segment("queries", 0, queries, video_mask.new_ones(batch, queries))],
        }

    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """As `Backbone.forward`; besides `logits` and `centre_width` (B, D, K, 2), see `set_outputs`."""
        if self.config.tef:
            video = with_ends(video, video_mask)
        clips, words = self.input_vid_proj(video), self.input_txt_proj(text)
        tokens, mask = torch.cat((clips, words), dim=1), torch.cat((video_mask, text_mask), dim=1)
        position = sine_positions(video_mask, self.config.hidden).to(tokens.dtype)
        position = F.pad(position, (0, 0, 0, words.shape[1]))
        for layer in self.transformer.encoder.layers:
            tokens = layer(tokens, position, mask)

        decoded = self._decode(tokens, position, mask)
        encoded, words = tokens.split((clips.shape[1], words.shape[1]), dim=1)
        encoded = encoded.contiguous()  # or a frozen head would be slow
        saliency = self.saliency_proj(encoded).squeeze(-1).float()
        return {
            **set_outputs(self.class_embed(decoded).float(), self.span_embed(decoded).float()),
            "saliency": saliency.masked_fill(~video_mask, MASKED),
            "states": {"video": encoded, "text": words},
        }

    def _decode(self, tokens: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """Tokens and positions (B, L, d), mask (B, L) -> the moment queries after each layer, (D, B, K, d)."""
        located = tokens + position
        query_position = self.query_embed.weight.to(tokens.dtype).expand(len(tokens), -1, -1)
        query_mask = mask.new_ones(query_position.shape[:2])
        queries, decoded = torch.zeros_like(query_position), []
        for layer in self.transformer.decoder.layers:
            queries = layer(queries, query_position, query_mask, tokens, located, mask)
            decoded.append(self.transformer.decoder.norm(queries))
        return torch.stack(decoded)

    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """The terms of section 4.2 of the paper; see `moment_losses` and `margin_loss`.

        `targets` may fix the clips of the saliency term, which are drawn in training, see `saliency_pairs`.
        """
        return {
            **moment_losses(outputs, targets),
            "saliency": margin_loss(outputs["saliency"], targets, self.training),
        }

    @classmethod
    def published(cls, state: dict[str, Tensor], options: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict]:
        """As `Backbone.published`; leaves out the word positions, unless the options say that they were used."""
        if not options.get("use_txt_pos"):
            state = {key: value for key, value in state.items() if not key.startswith(UNUSED_KEYS)}
        tef = "tef" in options.get("ctx_mode", "video_tef")
        encoder = "transformer.encoder.layers."
        return state, {
            "video_dim": len(state["input_vid_proj.0.LayerNorm.weight"]) - 2 * tef,
            "text_dim": len(state["input_txt_proj.0.LayerNorm.weight"]),
            "hidden": state["class_embed.weight"].shape[1],
            "layers": sum(key.startswith(encoder) and key.endswith(".in_proj_weight") for key in state),
            "heads": options.get("nheads", 8),
            "feed_forward": len(state[f"{encoder}0.linear1.weight"]),
            "queries": len(state["query_embed.weight"]),
            "projection_layers": sum(key.startswith("input_vid_proj.") for key in state) // 4,
            "tef": tef,
        }


BACKBONE = MomentDETR
