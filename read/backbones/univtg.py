"""UniVTG (Lin et al., "UniVTG: Towards Unified Video-Language Temporal Grounding", ICCV 2023).

An encoder over [video; words] and three dense heads: per clip a foreground score, the two offsets to the boundaries of
its window, and the saliency, which is the cosine of the projected clip with the attention-pooled projected sentence.
The state dict has the keys of the public checkpoints.

Symbols: B samples, N clips, M words, L = N + M tokens, d width. Masks are True at real tokens. Spans, anchors and
offsets are shares of the clips' total length (N real clips times the clip's seconds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.backbones.base import Backbone, Segment, read_checkpoint
from read.backbones.dense_losses import MASKED, saliency_losses, window_losses
from read.errors import InputError

LOSS_WEIGHTS = {"span": 10.0, "giou": 1.0, "foreground": 10.0, "saliency_intra": 0.05, "saliency_inter": 0.01}
UNUSED_KEYS = "txt_position_embed."  # in the public files; the public forward leaves word positions out


@dataclass(frozen=True)
class UniVTGConfig:
    """Sizes and rates; the defaults are the published ones, but for `anchor` and `masked_heads`.

    Attributes:
        video_dim: width of the clip features, without the two position channels of `tef`.
        text_dim: width of the word features.
        feed_forward: inner width of the feed-forward blocks.
        dropout: on attention weights.
        input_dropout: before each linear layer of the input projections.
        drop_path: chance by which a training sample skips a residual branch.
        tef: append each clip's start and end, as shares, to its features.
        anchor: where in a clip, 0 to 1, its offsets start. The centre; public checkpoints of 2 s clips took the end, 1.
        masked_heads: keep padded clips out of the heads' convolutions, so that padding never changes a result. The
            public code lets them in.
    """

    video_dim: int
    text_dim: int
    hidden: int = 1024
    layers: int = 4
    heads: int = 8
    feed_forward: int = 1024
    projection_layers: int = 2
    dropout: float = 0.0
    input_dropout: float = 0.5
    drop_path: float = 0.1
    tef: bool = True
    anchor: float = 0.5
    masked_heads: bool = True

    def __post_init__(self) -> None:
        sizes = ("video_dim", "text_dim", "hidden", "layers", "heads", "feed_forward", "projection_layers")
        if wrong := [name for name in sizes if getattr(self, name) < 1]:
            raise InputError(f"univtg: {', '.join(wrong)} must be at least 1")
        if wrong := [name for name in ("dropout", "input_dropout", "drop_path") if not 0 <= getattr(self, name) < 1]:
            raise InputError(f"univtg: {', '.join(wrong)} must lie in [0, 1)")
        if self.hidden % self.heads or self.hidden % 2:
            raise InputError(f"univtg: hidden {self.hidden} must be even and a multiple of heads {self.heads}")


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


class SubBlock(nn.Module):
    """A part of `layer` as a module, so that it can be hooked; its weights stay under the layer's published keys."""

    def __init__(self, layer: "EncoderLayer") -> None:
        super().__init__()
        self._layer = (layer,)  # in a tuple, or torch would register the layer as its own grandchild


class AttentionBlock(SubBlock):
    """Self-attention up to the residual."""

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d), with positions (B, L, d) on queries and keys -> what is added to the tokens."""
        located = tokens + position
        attend = self._layer[0].self_attn
        return attend(located, located, tokens, key_padding_mask=~mask, need_weights=False)[0]


class FeedForwardBlock(SubBlock):
    """The feed-forward part up to the residual."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, d) -> what is added to the tokens."""
        layer = self._layer[0]
        return layer.linear2(F.gelu(layer.linear1(tokens)))


class EncoderLayer(nn.Module):
    """A post-norm layer: x = Norm(x + DropPath(attention(x))), x = Norm(x + DropPath(feed_forward(x)))."""

    def __init__(self, config: UniVTGConfig) -> None:
        super().__init__()
        d = config.hidden
        self.self_attn = nn.MultiheadAttention(d, config.heads, dropout=config.dropout, batch_first=True)
        self.linear1 = nn.Linear(d, config.feed_forward)
        self.linear2 = nn.Linear(config.feed_forward, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.drop_path = DropPath(config.drop_path)
        self.attention = AttentionBlock(self)
        self.feed_forward = FeedForwardBlock(self)

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d), positions (B, L, d), mask (B, L) -> (B, L, d)."""
        tokens = self.norm1(tokens + self.drop_path(self.attention(tokens, position, mask)))
        return self.norm2(tokens + self.drop_path(self.feed_forward(tokens)))


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


def sine_positions(mask: Tensor, hidden: int) -> Tensor:
    """(B, N, hidden) sine embedding of each clip's number, scaled so that the last real clip stands at 2 pi."""
    place = mask.cumsum(1, dtype=torch.float32)
    place = place / (place[:, -1:] + 1e-6) * (2 * torch.pi)
    period = 10000 ** (2 * torch.arange(hidden // 2, device=mask.device) / hidden)
    angle = place[..., None] / period
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(2)


class UniVTG(Backbone, name="univtg"):
    """The model. `states` are the encoder's outputs; `audio` is not used."""

    config_class = UniVTGConfig

    def __init__(self, config: UniVTGConfig) -> None:
        super().__init__(config)
        d = config.hidden
        self.transformer = nn.Module()
        self.transformer.encoder = nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.token_type_embeddings = nn.Embedding(2, d)  # 0 words, 1 video
        self.span_embed = ConvHead(d, 2)
        self.class_embed = ConvHead(d, 1)
        self.input_txt_proj = self._projection(config.text_dim)
        self.input_vid_proj = self._projection(config.video_dim + 2 * config.tef)
        self.weightedpool = WeightedPool(d)
        for parameter in self.transformer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.normal_(self.token_type_embeddings.weight, std=0.02)

    def _projection(self, inputs: int) -> nn.Sequential:
        config = self.config
        widths = [inputs] + [config.hidden] * (config.projection_layers - 1)
        last = len(widths) - 1
        layers = (InputLayer(w, config.hidden, config.input_dropout, i < last) for i, w in enumerate(widths))
        return nn.Sequential(*layers)

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

    def heads(self) -> list[str]:
        """The boundary, foreground and saliency heads."""
        return ["span_embed", "class_embed", "weightedpool"]

    def segments(self, video_mask: Tensor, text_mask: Tensor) -> list[Segment]:
        """Clips first, then words."""
        clips, words = video_mask.shape[1], text_mask.shape[1]
        return [Segment("video", 0, clips, video_mask), Segment("text", clips, clips + words, text_mask)]

    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """As `Backbone.forward`; besides `logits` and `cosine` (B, N), `clips` (B, N, d), `sentence` (B, d)."""
        index = torch.arange(video.shape[1], device=video.device)[:, None]
        length = video_mask.sum(1)[:, None, None]
        if self.config.tef:
            ends = torch.cat((index, index + 1), dim=1) / length * video_mask[..., None]
            video = torch.cat((video, ends.to(video.dtype)), dim=-1)
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
        """The five terms of section 3.4 of the paper.

        `targets` may name the clip that stands for each sample in the saliency terms, `positive` (B,); else it is drawn
        from the salient clips in training, and is the most salient one in evaluation.
        """
        terms = window_losses(outputs, targets) | saliency_losses(outputs, targets, self.training)
        return {name: weight * terms[name] for name, weight in LOSS_WEIGHTS.items()}

    @classmethod
    def load_published(cls, path: str | Path, **settings: Any) -> Self:
        """A model from a public checkpoint; sizes come from its shapes and the options stored in it.

        Args:
            path: the file.
            settings: fields of the config that differ from what the file says.

        Raises:
            InputError: as `read_checkpoint` and `load_weights`, which lists missing and unexpected keys.
        """
        state, options = read_checkpoint(path)
        state = {key: value for key, value in state.items() if not key.startswith(UNUSED_KEYS)}
        config = UniVTGConfig(**(_published_sizes(state, options, path) | settings))
        return cls(config).load_weights(state, path)


def _published_sizes(state: Mapping[str, Tensor], options: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    tef = "tef" in options.get("ctx_mode", "video_tef")
    try:
        return {
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
    except KeyError as error:
        raise InputError(f"{path}: not UniVTG's weights; missing keys: {error.args[0]}") from None
