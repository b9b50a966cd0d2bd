"""UMT, the Unified Multi-modal Transformers for moment retrieval and highlight detection (Liu et al., CVPR 2022).

Encoders of video and audio, a cross-modal encoder with bottleneck tokens, a generator that turns clips and words into
one query per clip, a decoder, and heads: per clip the saliency, and the score of a moment's centre, its offset and its
width. The state dict has the keys of the public checkpoints.

Symbols: B samples, N clips, M words, d width. Masks are True at real tokens. Spans are shares of the clips' total
length; centres, offsets and widths are in clips, see `read.backbones.umt_losses`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from read.backbones.base import Backbone, Segment, TransformerConfig
from read.backbones.blocks import linear_layers
from read.backbones.dense_losses import MASKED
from read.backbones.umt_layers import (
    CrossModalEncoder,
    FeedForward,
    MultiheadAttention,
    Projection,
    QueryDecoder,
    QueryGenerator,
    UniModalEncoder,
)
from read.backbones.umt_losses import boundary_losses, saliency_loss
from read.errors import InputError

CROSS = "cross_enc.encoder.encoder.0"  # the layer whose blocks see video, audio or bottleneck tokens
CROSS_BLOCKS = {
    "bottleneck": ("att1", "att2"),
    "video": ("att3", "ffn1"),
    "audio": ("att4", "ffn2"),
}


@dataclass(frozen=True)
class UMTConfig(TransformerConfig):
    """The defaults are those published for QVHighlights, but for `audio_dim`, which is 2048 there.

    Attributes:
        text_dim: 0: no query generator, the clips themselves are the queries, as on YouTube Highlights.
        layers: of the query decoder; 1 in the small model, 3 in the base one.
        feed_forward: inner width of the feed-forward blocks; published 4 d.
        dropout: inside the layers and on positions.
        input_dropout: on video and audio features.
        text_dropout: on word features.
        audio_dim: width of the audio features; 0: no audio encoder and no cross-modal one.
        bottlenecks: tokens through which video and audio hear of each other.
        positions: learnt ones; where a video has more clips, they are stretched.
        saliency: whether there is a saliency head; published on all but Charades-STA.
        boundary: whether there is a boundary head; published on QVHighlights and Charades-STA.
        saliency_weight: of the saliency's loss; published 3 on QVHighlights, 1 elsewhere.
        regression_weight: of the losses of widths and offsets; published 1 on QVHighlights, .5 on Charades-STA.
        masked: keep padded clips out of the decoder's attention, the spans' limits and the mean of the saliency's loss,
            so that padding never changes a result. The public code lets them in.
    """

    layers: int = 3
    text_dropout: float = 0.3
    audio_dim: int = 0
    bottlenecks: int = 4
    positions: int = 5000
    saliency: bool = True
    boundary: bool = True
    saliency_weight: float = 3.0
    regression_weight: float = 1.0
    masked: bool = True

    MAY_BE_ZERO = (*TransformerConfig.MAY_BE_ZERO, "text_dim", "audio_dim")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.saliency or self.boundary):
            raise InputError("umt: saliency and boundary are both off; a model needs one of the heads")


class SaliencyHead(nn.Module):
    """A linear layer for the saliency."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.saliency_pred = Projection(d, 1)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """(B, N, d) -> `saliency_logits` (B, N), in float32."""
        return {"saliency_logits": self.saliency_pred(clips).squeeze(-1).float()}


class BoundaryHead(nn.Module):
    """Linear layers for a centre's score, its offset from the clip and its window's width."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.center_pred = Projection(d, 1)
        self.window_pred = Projection(d, 1)
        self.offset_pred = Projection(d, 1)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """(B, N, d) -> `centre_logits`, `window`, `offset` (B, N), in float32."""
        layers = {"centre_logits": self.center_pred, "window": self.window_pred, "offset": self.offset_pred}
        return {name: layer(clips).squeeze(-1).float() for name, layer in layers.items()}


class UMT(Backbone):
    """The model. `states` are the decoder's clips, and the words as the query generator maps them, where it has one."""

    config_class = UMTConfig

    def __init__(self, config: UMTConfig) -> None:
        super().__init__(config)
        d, layer = config.hidden, (config.hidden, config.heads, config.feed_forward, config.dropout)
        inputs = (config.input_dropout, config.positions)
        self.video_enc = UniModalEncoder(config.seen_dim, *layer, *inputs)
        self.audio_enc = self.cross_enc = self.query_gen = None
        if config.audio_dim:
            self.audio_enc = UniModalEncoder(config.audio_dim, *layer, *inputs)
            self.cross_enc = CrossModalEncoder(*layer, config.bottlenecks, config.positions)
        if config.text_dim:
            self.query_gen = QueryGenerator(config.text_dim, d, config.heads, config.dropout, config.text_dropout)
        self.query_dec = QueryDecoder(*layer, config.layers, config.positions)
        self.pred_head = nn.ModuleList([SaliencyHead(d)] * config.saliency + [BoundaryHead(d)] * config.boundary)
        if not config.boundary:
            self.regresses, self.windows = False, "ladder"  # there are no centres to read windows from
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """`...ffn` of the encoders and of the decoder's layers, `...ffn1` and `...ffn2` of the cross-modal encoder."""
        return {name: module for name, module in self.named_modules() if isinstance(module, FeedForward)}

    def attention_blocks(self) -> dict[str, nn.Module]:
        """`...att*` of the encoders and the decoder; the query generator's is none, for it has no residual."""
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, MultiheadAttention) and not name.startswith("query_gen.")
        }

    def projection_blocks(self) -> dict[str, nn.Module]:
        """`...mapping.linear` of the encoders and of the query generator."""
        parts = ("video_enc", "audio_enc", "query_gen")
        return linear_layers(self, *(f"{part}.mapping" for part in parts if getattr(self, part) is not None))

    def heads(self) -> list[str]:
        """All heads."""
        return ["pred_head"]

    def segments(self, video_mask: Tensor, text_mask: Tensor) -> dict[str, list[Segment]]:
        """Clips of video or audio, words, or bottleneck tokens; the decoder's queries are clips that read the words."""
        clips, words = video_mask.shape[1], text_mask.shape[1]
        count = self.config.bottlenecks
        every = {
            "video": [Segment("video", 0, clips, video_mask)],
            "audio": [Segment("audio", 0, clips, video_mask)],
            "bottleneck": [Segment("bottleneck", 0, count, video_mask.new_ones(len(video_mask), count))],
        }
        blocks = {f"{CROSS}.{name}": every[modality] for modality, names in CROSS_BLOCKS.items() for name in names}
        return {
            "video_enc": every["video"],
            "audio_enc": every["audio"],
            "query_gen.mapping": [Segment("text", 0, words, text_mask)],
            "query_dec": every["video"],
            **blocks,
        }

    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """As `Backbone.forward`, and what the heads give.

        Where no encoder heard, features are 0 for a model that listens. Without a boundary head `scores` are the
        saliency and `spans` the clips themselves; without a saliency head `saliency` are the scores.
        """
        config = self.config
        clips = self.video_enc(video, video_mask)
        if config.audio_dim:
            silence = video.new_zeros(*video.shape[:2], config.audio_dim)
            heard = self.audio_enc(silence if audio is None else audio, video_mask)
            clips = self.cross_enc(clips, heard, video_mask)
        queries, states = clips, {}
        if config.text_dim:
            queries, states["text"] = self.query_gen(clips, text, text_mask)
        states["video"] = self.query_dec(queries, clips, video_mask, ~video_mask if config.masked else None)

        given = {name: value for head in self.pred_head for name, value in head(states["video"]).items()}
        scores = given.get("centre_logits", given.get("saliency_logits")).sigmoid() * video_mask
        saliency = given.get("saliency_logits", given.get("centre_logits")).sigmoid()
        return {
            "spans": self._spans(given, video_mask),
            "scores": scores,
            "saliency": saliency.masked_fill(~video_mask, MASKED),
            "states": states,
            **given,
        }

    def _spans(self, given: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """(B, N, 2) from the clips' first to their last one, both included, as the public `get_boundary`."""
        clips = mask.sum(1)[:, None]
        index = torch.arange(mask.shape[1], device=mask.device)
        first = last = index.expand(mask.shape)
        if "window" in given:
            centre, reach = index + given["offset"].clamp(min=0), given["window"].clamp(min=0) / 2
            first, last = centre - reach, centre + reach
        final = clips - 1 if self.config.masked else torch.full_like(clips, mask.shape[1] - 1)
        first, last = (torch.minimum(end.clamp(min=0), final) for end in (first, last))
        return torch.stack((first, last + 1), dim=-1) / clips[..., None]

    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """`saliency`, and `centre`, `window`, `offset`: those of the heads that there are."""
        config, mask, terms = self.config, targets["video_mask"], {}
        if config.saliency:
            loss = saliency_loss(outputs["saliency_logits"], targets["saliency"], mask, config.masked)
            terms["saliency"] = config.saliency_weight * loss
        if config.boundary:
            terms |= boundary_losses(outputs, targets, config.regression_weight)
        return terms

    @classmethod
    def published(cls, state: dict[str, Tensor], options: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict]:
        """As `Backbone.published`; the files do not tell `heads`, 8 in all that there are."""
        mapping, query = state["video_enc.mapping.linear.weight"], state.get("query_gen.mapping.linear.weight")
        audio, token = state.get("audio_enc.mapping.linear.weight"), state.get("cross_enc.encoder.token")
        sizes = {
            "video_dim": mapping.shape[1],
            "text_dim": 0 if query is None else query.shape[1],
            "hidden": mapping.shape[0],
            "layers": sum(key.startswith("query_dec.") and key.endswith("norm1.weight") for key in state),
            "feed_forward": len(state["video_enc.encoder.ffn.mapping.0.weight"]),
            "audio_dim": 0 if audio is None else audio.shape[1],
            "positions": state["video_enc.pos_enc.pe"].shape[1],
            "saliency": any(key.endswith("saliency_pred.linear.weight") for key in state),
            "boundary": any(key.endswith("center_pred.linear.weight") for key in state),
        }
        if token is not None:
            sizes["bottlenecks"] = len(token)
        if not sizes["boundary"]:  # YouTube Highlights and TVSum
            sizes["saliency_weight"] = 1.0
        elif not sizes["saliency"]:  # Charades-STA
            sizes["regression_weight"] = 0.5
        return state, sizes


BACKBONE = UMT
