"""UniVTG (Lin et al., "UniVTG: Towards Unified Video-Language Temporal Grounding", ICCV 2023).

An encoder over [video; words] and three dense heads: per clip a foreground score, the two offsets to the boundaries of
its window, and the saliency, which is the cosine of the projected clip with the attention-pooled projected sentence.
The state dict has the keys of the public checkpoints.

Symbols: B samples, N clips, M words, L = N + M tokens, d width. Masks are True at real tokens. Spans, anchors and
offsets are shares of the clips' total length (N real clips times the clip's seconds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.backbones.base import Backbone, Segment, TransformerConfig
from read.backbones.blocks import EncoderLayer, input_projection, linear_layers, sine_positions, with_ends
from read.backbones.dense_losses import MASKED, listwise_loss, saliency_losses, window_losses
from read.errors import InputError

LOSS_WEIGHTS = {"span": 10.0, "giou": 1.0, "foreground": 10.0, "saliency_intra": 0.05, "saliency_inter": 0.01}
UNUSED_KEYS = "txt_position_embed."


@dataclass(frozen=True)
class UniVTGConfig(TransformerConfig):
    """The defaults are the published ones, but for `anchor` and `masked_heads`.

    Attributes:
        dropout: on attention weights.
        drop_path: chance by which a training sample skips a residual branch.
        tef: append each clip's start and end, as shares, to its features.
        anchor: where in a clip, 0 to 1, its offsets start. The centre; public checkpoints of 2 s clips took the end, 1.
        masked_heads: keep padded clips out of the heads' convolutions, so that padding never changes a result. The
            public code lets them in.
        listwise: weight of `listwise_loss` beside the published terms; 0: without it, as published.
    """

    hidden: int = 1024
    layers: int = 4
    feed_forward: int = 1024
    dropout: float = 0.0
    projection_layers: int = 2
    drop_path: float = 0.1
    tef: bool = True
    anchor: float = 0.5
    masked_heads: bool = True
    listwise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.listwise < float("inf"):
            raise InputError(f"univtg: listwise {self.listwise} must be at least 0")


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): each sample skips a residual branch with chance `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """(B, L, d), zero in some samples and scaled up in the others."""
        if not self.training or self.rate == 0:
            return branch
        keep = branch.new_empty(len(branch), 1, 1).bernoulli_(1 - self.rate)
        return branch * keep / (1 - self.rate)


class ConvHead(nn.Module):
    """Three convolutions of width 3 over the clips."""

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(hidden, width, 3, padding=1) for width in (hidden, hidden, outputs))

    def forward(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, d) -> (B, N, outputs); a mask (B, N) keeps padded clips out."""
        channels = clips.transpose(1, 2)
        for index, layer in enumerate(self.layers):
            if mask is not None:
                channels = channels * mask[:, None]
            channels = layer(F.relu(channels) if index else channels)
        return channels.transpose(1, 2)


class WeightedPool(nn.Module):
    """Attention pooling of words into a sentence."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(hidden, 1)))

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """(B, M, d), mask (B, M) -> (B, d)."""
        logits = words @ self.weight
        logits = logits.masked_fill(~mask[..., None], torch.finfo(logits.dtype).min)  # no one number fits fp16 and fp32
        return (words * logits.softmax(dim=1)).sum(dim=1)


class UniVTG(Backbone):
    """The model. `states` are the encoder's outputs; `audio` is not used."""

    config_class = UniVTGConfig

    def __init__(self, config: UniVTGConfig) -> None:
        super().__init__(config)
        d = config.hidden
        self.transformer = nn.Module()
        self.transformer.encoder = nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(
            EncoderLayer(
                d, config.heads, config.feed_forward, config.dropout, nn.GELU(), 0.0, DropPath(config.drop_path)
            )
            for _ in range(config.layers)
        )
        self.token_type_embeddings = nn.Embedding(2, d)  # 0 words, 1 video
        self.span_embed = ConvHead(d, 2)
        self.class_embed = ConvHead(d, 1)
        shape = (d, config.projection_layers, config.input_dropout)
        self.input_txt_proj = input_projection(config.text_dim, *shape)
        self.input_vid_proj = input_projection(config.video_dim + 2 * config.tef, *shape)
        self.weightedpool = WeightedPool(d)
        for parameter in self.transformer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.normal_(self.token_type_embeddings.weight, std=0.02)

    @property
    def layers(self) -> dict[str, EncoderLayer]:
        """The encoder's layers under their dotted names."""
        return {f"transformer.encoder.layers.{i}": layer for i, layer in enumerate(self.transformer.encoder.layers)}

    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """`transformer.encoder.layers.N.feed_forward`; weights stay with the layer."""
        return {f"{name}.feed_forward": layer.feed_forward for name, layer in self.layers.items()}

    def attention_blocks(self) -> dict[str, nn.Module]:
        """`transformer.encoder.layers.N.attention`; weights stay with the layer."""
        return {f"{name}.attention": layer.attention for name, layer in self.layers.items()}

    def projection_blocks(self) -> dict[str, nn.Module]:
        """`input_vid_proj.N.net.1` and `input_txt_proj.N.net.1`."""
        return linear_layers(self, "input_vid_proj", "input_txt_proj")

    def heads(self) -> list[str]:
        """The boundary, foreground and saliency heads."""
        return ["span_embed", "class_embed", "weightedpool"]

    def segments(self, video_mask: Tensor, text_mask: Tensor) -> dict[str, list[Segment]]:
        """Clips and words apart in the projections; clips first, then words in the encoder."""
        clips, words = video_mask.shape[1], text_mask.shape[1]
        return {
            "input_vid_proj": [Segment("video", 0, clips, video_mask)],
            "input_txt_proj": [Segment("text", 0, words, text_mask)],
            "transformer.encoder": [
                Segment("video", 0, clips, video_mask),
                Segment("text", clips, clips + words, text_mask),
            ],
        }

    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """As `Backbone.forward`; besides `logits` and `cosine` (B, N), `clips` (B, N, d), `sentence` (B, d)."""
        if self.config.tef:
            video = with_ends(video, video_mask)
        clips = self.input_vid_proj(video) + self.token_type_embeddings.weight[1]
        words = self.input_txt_proj(text) + self.token_type_embeddings.weight[0]

        tokens, mask = torch.cat((clips, words), dim=1), torch.cat((video_mask, text_mask), dim=1)
        position = sine_positions(video_mask, self.config.hidden).to(words.dtype)
        position = F.pad(position, (0, 0, 0, words.shape[1]))
        for layer in self.transformer.encoder.layers:
            tokens = layer(tokens, position, mask)
        encoded = tokens[:, : clips.shape[1]]

        seen = video_mask if self.config.masked_heads else None
        logits = self.class_embed(encoded, seen).squeeze(-1).float()
        offsets = self.span_embed(encoded, seen).float().sigmoid() * encoded.new_tensor((-1.0, 1.0))
        index = torch.arange(video.shape[1], device=video.device)[:, None]
        length = video_mask.sum(1)[:, None, None]
        clips, sentence = clips.float(), self.weightedpool(words, text_mask).float()
        cosine = F.cosine_similarity(clips, sentence[:, None], dim=-1)
        return {
            "spans": (index + self.config.anchor) / length + offsets,
            "scores": logits.sigmoid(),
            "saliency": cosine + MASKED * ~video_mask,
            "states": {"video": encoded, "text": tokens[:, clips.shape[1] :]},
            "logits": logits,
            "cosine": cosine,
            "clips": clips,
            "sentence": sentence,
        }

    def clip_scores(self, outputs: Mapping[str, Any]) -> Tensor:
        """Saliency plus foreground probability, as the public evaluation ranks highlights."""
        return outputs["saliency"] + outputs["scores"]

    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """The five terms of section 3.4 of the paper, and the list-wise one where it has a weight.

        `targets` may name the clip that stands for each sample in the saliency terms, `positive` (B,); else it is drawn
        from the salient clips in training, and is the most salient one in evaluation.
        """
        terms = window_losses(outputs, targets) | saliency_losses(outputs, targets, self.training)
        found = {name: weight * terms[name] for name, weight in LOSS_WEIGHTS.items()}
        if self.config.listwise:
            found["listwise"] = self.config.listwise * listwise_loss(outputs, targets)
        return found

    @classmethod
    def published(cls, state: dict[str, Tensor], options: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict]:
        """As `Backbone.published`; leaves out the word positions, which the public forward does not use."""
        state = {key: value for key, value in state.items() if not key.startswith(UNUSED_KEYS)}
        tef = "tef" in options.get("ctx_mode", "video_tef")
        return state, {
            "video_dim": len(state["input_vid_proj.0.LayerNorm.weight"]) - 2 * tef,
            "text_dim": len(state["input_txt_proj.0.LayerNorm.weight"]),
            "hidden": state["token_type_embeddings.weight"].shape[1],
            "layers": sum(key.endswith("self_attn.in_proj_weight") for key in state),
            "heads": options.get("nheads", 8),
            "feed_forward": len(state["transformer.encoder.layers.0.linear1.weight"]),
            "projection_layers": sum(key.startswith("input_vid_proj.") for key in state) // 4,
            "tef": tef,
            "anchor": options.get("clip_length", 2) / 2,
        }


BACKBONE = UniVTG
