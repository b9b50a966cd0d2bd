"""DemaFormer: attention over a damped moving average, and an energy of moments.

Nguyen et al., "DemaFormer: Damped Exponential Moving Average Transformer with Energy-Based Modeling for Temporal
Language Grounding", EMNLP Findings 2023.

An encoder over [video; words] and a decoder over the clips, whose attention reads its values off a damped moving
average, and four linear heads: per clip a salience and the centre, the offset and the width of its moment. The state
dict has the keys of the public code.

What the public code does otherwise, and what is right here:
* its average runs through padding, so that a sample's result depends on the batch it is in (`masked`);
* in training, offset - centre is how far the moment's centre lies from the clip's; for windows it adds centre and
  offset. Here windows are what was trained: the mean of the two readings of the centre;
* alpha falls from 1 to its floor in the first 18 of 200 epochs; here it is the floor from the start, as epochs of a few
  dozen samples are a step or two;
* its chain of K Langevin steps goes step by step, where the energy's slope is one and the same: see `energy.langevin`.

Symbols: B samples, N clips, M words, d width. Masks are True at real tokens. Centres, offsets and
widths are shares of the clips' total length.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from read.backbones.base import Backbone, Segment, TransformerConfig
from read.backbones.blocks import linear_layers
from read.backbones.demaformer_layers import AudioAttention, DemaFormerLayer, FeatureProjection, located
from read.backbones.dense_losses import MASKED, listwise_loss
from read.backbones.energy import contrastive_divergence, langevin
from read.errors import InputError

REGRESSION = {"centre": 1 / 3, "width": 0.01, "offset": 1 / 3}  # weights of equation 30, appendix B


@dataclass(frozen=True)
class DemaFormerConfig(TransformerConfig):
    """The defaults are those published for QVHighlights, but for `audio_dim`, which is 2048 there.

    Attributes:
        layers: of the encoder, and as many of the decoder.
        input_dropout: behind the input projections.
        audio_dim: width of the audio features; 0: the model hears nothing.
        energy: weight of the energy-based term.
        alpha: weight of the moments that are drawn.
        langevin_steps: K.
        langevin_size: gamma.
        salient: from which saliency on, a share of the highest, a clip is a moment of the energy-based term; of a
            sample without saliency the foreground is.
        listwise: weight of `listwise_loss`, which then stands for the published salience term. That one lifts the
            foreground's salience without bound, and all others' with it; this is its likelihood under exp(-E) over the
            video's clips. 0: as published.
        masked: keep padded clips out of the moving average, so that padding never changes a result.
    """

    input_dropout: float = 0.1
    audio_dim: int = 0
    energy: float = 0.1
    alpha: float = 0.1
    langevin_steps: int = 100
    langevin_size: float = 0.1
    salient: float = 1.0
    listwise: float = 0.0
    masked: bool = True

    MAY_BE_ZERO = (*TransformerConfig.MAY_BE_ZERO, "audio_dim")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("energy", "alpha", "langevin_size", "listwise"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"demaformer: {name} {getattr(self, name)} must be at least 0")


class DemaFormer(Backbone):
    """The model. `states` are the encoder's outputs; `audio` is heard where `audio_dim` says so, and given."""

    config_class = DemaFormerConfig

    def __init__(self, config: DemaFormerConfig) -> None:
        super().__init__(config)
        d = config.hidden
        self.video_proj = FeatureProjection(config.video_dim, d, config.input_dropout)
        self.text_proj = FeatureProjection(config.text_dim, d, config.input_dropout)
        if config.audio_dim:
            self.audio_proj = FeatureProjection(config.audio_dim, d, config.input_dropout)
            self.audio_xattn = AudioAttention(d, config.dropout)
        self.modality_emb = nn.Embedding(2, d)  # 0 video, 1 words
        sizes = (d, config.heads, config.feed_forward, config.dropout, config.masked)
        self.encoder = nn.ModuleList(DemaFormerLayer(*sizes) for _ in range(config.layers))
        self.decoder = nn.ModuleList(DemaFormerLayer(*sizes) for _ in range(config.layers))
        for head in self.heads():
            self.add_module(head, nn.Linear(d, 1))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The layers of encoder and decoder under their dotted names."""
        stacks = {"encoder": self.encoder, "decoder": self.decoder}
        return {f"{name}.{i}": layer for name, stack in stacks.items() for i, layer in enumerate(stack)}

    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """`encoder.N.ffn` and `decoder.N.ffn`."""
        return {f"{name}.ffn": layer.ffn for name, layer in self.layers.items()}

    def attention_blocks(self) -> dict[str, nn.Module]:
        """`encoder.N.attn` and `decoder.N.attn`."""
        return {f"{name}.attn": layer.attn for name, layer in self.layers.items()}

    def projection_blocks(self) -> dict[str, nn.Module]:
        """The linear layers of `video_proj`, `text_proj` and, where the model hears, `audio_proj`."""
        return linear_layers(self, "video_proj", "text_proj", *(["audio_proj"] if self.config.audio_dim else []))

    def heads(self) -> list[str]:
        """The salience, centre, offset and width heads."""
        return ["salience_head", "center_head", "offset_head", "width_head"]

    def segments(self, video_mask: Tensor, text_mask: Tensor) -> dict[str, list[Segment]]:
        """Clips and words apart in the projections, clips first in the encoder; clips alone in the decoder."""
        clips, words = video_mask.shape[1], text_mask.shape[1]
        video = Segment("video", 0, clips, video_mask)
        heard = {"audio_proj": [Segment("audio", 0, clips, video_mask)]} if self.config.audio_dim else {}
        return heard | {
            "video_proj": [video],
            "text_proj": [Segment("text", 0, words, text_mask)],
            "encoder": [video, Segment("text", clips, clips + words, text_mask)],
            "decoder": [video],
        }

    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """As `Backbone.forward`; besides `logits`, `centre`, `offset`, `width` (B, N) and `moments` (B, N, d).

        A score is a clip's share of exp(-E) over the video: saliences, the logits, know no bound, and a sigmoid of them
        would tell none apart.
        """
        clips = located(self.video_proj(video)) + self.modality_emb.weight[0]
        if self.config.audio_dim and audio is not None:
            clips = self.audio_xattn(clips, self.audio_proj(audio), video_mask)
        words = located(self.text_proj(text)) + self.modality_emb.weight[1]
        tokens, mask = torch.cat((clips, words), dim=1), torch.cat((video_mask, text_mask), dim=1)
        for layer in self.encoder:
            tokens = layer(tokens, mask)
        encoded, words = (part.contiguous() for part in tokens.split((clips.shape[1], words.shape[1]), dim=1))
        moments = encoded
        for layer in self.decoder:
            moments = layer(moments, video_mask)

        salience, centre, offset, width = (
            self.get_submodule(head)(moments).squeeze(-1).float() for head in self.heads()
        )
        saliency = salience.masked_fill(~video_mask, MASKED)
        centre, width = centre.sigmoid(), width.sigmoid()
        middle = (centre + _clip_centres(video_mask) + (offset - centre)) / 2
        return {
            "spans": torch.stack((middle - width / 2, middle + width / 2), dim=-1).clamp(0, 1),
            "scores": salience.masked_fill(~video_mask, torch.finfo(salience.dtype).min).softmax(-1),
            "saliency": saliency,
            "states": {"video": encoded, "text": words},
            "logits": salience,
            "centre": centre,
            "offset": offset,
            "width": width,
            "moments": moments.float(),
        }

    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """The terms of equation 30 over the foreground, and the energy-based one, equation 29.

        `targets` may fix the Langevin noise (B, N, d), which is drawn in training and left out in evaluation.
        """
        foreground, mask = targets["foreground"] > 0, targets["video_mask"]
        ends, count = targets["spans"], foreground.sum().clamp(min=1)
        centre, width = ends.mean(-1), ends[..., 1] - ends[..., 0]
        missed = {
            "centre": outputs["centre"] - centre,
            "width": outputs["width"] - width,
            "offset": centre - _clip_centres(mask) - (outputs["offset"] - outputs["centre"]),
        }
        terms = {name: REGRESSION[name] * (value.abs() * foreground).sum() / count for name, value in missed.items()}
        if self.config.listwise:
            terms["listwise"] = self.config.listwise * listwise_loss(outputs, targets)
        else:
            terms["salience"] = -(outputs["logits"] * foreground).sum() / count
        return terms | {"energy": self.config.energy * self._energy(outputs["moments"], targets, foreground, mask)}

    def _energy(self, moments: Tensor, targets: Mapping[str, Any], foreground: Tensor, mask: Tensor) -> Tensor:
        config, weight, bias = self.config, self.salience_head.weight, self.salience_head.bias
        scored = (targets["saliency"] > 0).any(1, keepdim=True)
        positive = torch.where(scored, targets["saliency"] >= config.salient, foreground) & mask
        noise = targets.get("noise")
        if noise is None:
            noise = torch.randn_like(moments) if self.training else torch.zeros_like(moments)
        drawn = langevin(moments, weight, config.langevin_steps, config.langevin_size, noise)
        return contrastive_divergence(moments, drawn, weight, bias, positive, mask, config.alpha)

    @classmethod
    def published(cls, state: dict[str, Tensor], options: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict]:
        """As `Backbone.published`; the public trainer stores no sizes beside the weights."""
        heard = "audio_proj.proj.0.weight"
        return state, {
            "video_dim": len(state["video_proj.proj.0.weight"]),
            "text_dim": len(state["text_proj.proj.0.weight"]),
            "audio_dim": len(state[heard]) if heard in state else 0,
            "hidden": state["modality_emb.weight"].shape[1],
            "layers": sum(key.startswith("encoder.") and key.endswith(".norm1.weight") for key in state),
            "heads": options.get("n_heads", 8),
            "feed_forward": len(state["encoder.0.ffn.0.weight"]),
        }


def _clip_centres(mask: Tensor) -> Tensor:
    """(B, N): the middle of each clip."""
    return (torch.arange(mask.shape[1], device=mask.device) + 0.5) / mask.sum(1, keepdim=True)


BACKBONE = DemaFormer
