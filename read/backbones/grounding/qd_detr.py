"""QD-DETR (Moon et al., "Query-Dependent Video Representation for Moment Retrieval and Highlight Detection", 2023).

Clips attend to the words, a global token joins them in an encoder, and a decoder turns moment queries, each with a
reference span that its layers refine, into a set of windows. Videos are also run with another sample's sentence, by
which the losses teach what does not belong together. The state dict has the keys of the public checkpoints.

Symbols: B samples, N clips, M words, K moment queries, D decoder layers, d width. Masks are True at real tokens.
Spans are shares of the clips' total length, references are spans as centre and width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.backbones.base import Segment
from read.backbones.blocks import MLP, EncoderLayer, sine_positions, with_ends
from read.backbones.dense_losses import MASKED
from read.backbones.grounding.moment_detr import MomentDETR, MomentDETRConfig
from read.backbones.qd_detr_layers import QDDecoderLayer, WordsToVideoLayer, inverse_sigmoid, sine_embedding
from read.backbones.set_losses import margin_loss, moment_losses, negative_pair_loss, rank_loss, set_outputs
from read.errors import InputError
from read.ranks import gathered, own


@dataclass(frozen=True)
class QDDETRConfig(MomentDETRConfig):
    """The defaults are the published ones.

    Attributes:
        audio_dim: width of the audio features that stand beside the clips' own; 0 for a model that does not listen.
    """

    audio_dim: int = 0

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = (*MomentDETRConfig.MAY_BE_ZERO, "audio_dim")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden % 4:
            raise InputError(f"qddetr: hidden {self.hidden} must be a multiple of 4")

    @property
    def clip_width(self) -> int:
        """Width of what the clips' projection reads; beside audio features the clips' ends stand once more."""
        return super().clip_width + (self.audio_dim and self.audio_dim + 2 * self.tef)


class QDDETR(MomentDETR):
    """The model. `states` are the encoder's clips and the projected words, which its encoder does not keep.

    A video's negative is the same video with the sentence of the next sample of the batch; a batch of one has none, and
    the terms that need one are without it. Padding never changes a result; in the public code the words that late clips
    see in some heads depend on the batch, so outputs for padded batches differ slightly.
    """

    config_class = QDDETRConfig
    stacks: ClassVar[tuple[str, ...]] = ("t2v_encoder", "encoder", "decoder")

    def _build(self) -> None:
        """The layers, the moment queries and the saliency head."""
        config, d, dropout = self.config, self.config.hidden, self.config.dropout
        sizes = (d, config.heads, config.feed_forward, dropout)
        for stack, kind in (("t2v_encoder", WordsToVideoLayer), ("encoder", EncoderLayer)):
            self.transformer.get_submodule(stack).layers = nn.ModuleList(
                kind(*sizes, nn.PReLU(), dropout, nn.Dropout(dropout)) for _ in range(config.layers)
            )
        decoder = self.transformer.decoder
        decoder.layers = nn.ModuleList(QDDecoderLayer(*sizes, first=i == 0) for i in range(config.layers))
        decoder.norm = nn.LayerNorm(d)
        decoder.query_scale = MLP(d, d, d, 2)
        decoder.ref_point_head = MLP(d, d, d, 2)
        decoder.ref_anchor_head = MLP(d, d, 1, 2)
        decoder.bbox_embed = MLP(d, d, 2, 3)
        nn.init.zeros_(decoder.bbox_embed.layers[-1].bias)  # the weights become Xavier's, as in the public code
        self.query_embed = nn.Embedding(config.queries, 2)
        self.global_rep_token = nn.Parameter(torch.randn(d))
        self.global_rep_pos = nn.Parameter(torch.randn(d))
        self.saliency_proj1 = nn.Linear(d, d)
        self.saliency_proj2 = nn.Linear(d, d)

    def heads(self) -> list[str]:
        """The span, foreground and saliency heads."""
        return ["span_embed", "class_embed", "saliency_proj1", "saliency_proj2"]

    def segments(self, video_mask: Tensor, text_mask: Tensor) -> dict[str, list[Segment]]:
        """Clips or words; the global token and clips in the encoder; the moment queries in the decoder."""
        (batch, clips), words, queries = video_mask.shape, text_mask.shape[1], self.config.queries
        return {
            "input_vid_proj": [Segment("video", 0, clips, video_mask)],
            "input_txt_proj": [Segment("text", 0, words, text_mask)],
            "transformer.t2v_encoder": [Segment("video", 0, clips, video_mask)],
            "transformer.encoder": [
                Segment("global", 0, 1, video_mask.new_ones(batch, 1)),
                Segment("video", 1, 1 + clips, video_mask),
            ],
            "transformer.decoder": [Segment("queries", 0, queries, video_mask.new_ones(batch, queries))],
        }

    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """As `Backbone.forward`; besides what `set_outputs` gives, `negative` (B, N), the saliency of the negatives.

        `negative` is None for a batch of one.
        """
        parts = [video]
        if self.config.audio_dim:
            parts.append(video.new_zeros(*video.shape[:2], self.config.audio_dim) if audio is None else audio)
        if self.config.tef:
            parts = [with_ends(part, video_mask) for part in parts]
        video = torch.cat(parts, dim=-1)
        clips, words = self.input_vid_proj(video), self.input_txt_proj(text)
        position = sine_positions(video_mask, self.config.hidden).to(clips.dtype)
        negative = None
        others, others_mask = gathered(words), gathered(text_mask)
        if len(others) > 1:  # before the positives, so that what hooks keep is of these
            others, others_mask = own(others.roll(-1, 0)), own(others_mask.roll(-1, 0))
            _, negative = self._encode(clips, video_mask, others, others_mask, position)
        encoded, saliency = self._encode(clips, video_mask, words, text_mask, position)
        decoded, references = self._decode(encoded, position, video_mask)
        return {
            **set_outputs(
                self.class_embed(decoded).float(), self.span_embed(decoded).float() + inverse_sigmoid(references)
            ),
            "saliency": saliency,
            "negative": negative,
            "states": {"video": encoded, "text": words},
        }

    def _encode(
        self, clips: Tensor, video_mask: Tensor, words: Tensor, text_mask: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Clips (B, N, d) with positions, words (B, M, d), and masks -> encoded clips (B, N, d), saliency (B, N)."""
        for layer in self.transformer.t2v_encoder.layers:
            clips = layer(clips, position, words, text_mask)
        first = self.global_rep_token.to(clips.dtype).expand(len(clips), 1, -1)
        tokens = torch.cat((first, clips), dim=1)
        position = torch.cat((self.global_rep_pos.to(position.dtype).expand_as(first), position), dim=1)
        mask = F.pad(video_mask, (1, 0), value=True)
        for layer in self.transformer.encoder.layers:
            tokens = layer(tokens, position, mask)
        encoded = tokens[:, 1:].contiguous()  # or frozen projections of it would be slow
        whole = self.saliency_proj2(tokens[:, 0]).float()
        saliency = (self.saliency_proj1(encoded).float() * whole[:, None]).sum(-1) / math.sqrt(self.config.hidden)
        return encoded, saliency.masked_fill(~video_mask, MASKED)

    def _decode(self, clips: Tensor, position: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Clips and positions (B, N, d), mask (B, N) -> what layers make of the queries, and of which references.

        These are (D, B, K, d) and (D, B, K, 2).
        """
        decoder, d = self.transformer.decoder, self.config.hidden
        reference = self.query_embed.weight.float().sigmoid().expand(len(clips), -1, -1)
        queries = clips.new_zeros(*reference.shape[:2], d)
        decoded, references = [], [reference]
        for index, layer in enumerate(decoder.layers):
            sine = sine_embedding(reference, d)
            query_position = decoder.ref_point_head(sine.to(clips.dtype))
            if index:
                sine = sine * decoder.query_scale(queries)
            sine = sine * (decoder.ref_anchor_head(queries).float().sigmoid() / reference[..., 1:])
            queries = layer(queries, query_position, sine.to(clips.dtype), clips, position, mask)
            decoded.append(decoder.norm(queries))
            if index + 1 < len(decoder.layers):
                refined = (decoder.bbox_embed(queries).float() + inverse_sigmoid(reference)).sigmoid()
                references.append(refined)
                reference = refined.detach()
        return torch.stack(decoded), torch.stack(references)

    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """The terms of Moment-DETR, and two more for the saliency: see `rank_loss` and `negative_pair_loss`."""
        saliency, negative = outputs["saliency"], outputs["negative"]
        return {
            **moment_losses(outputs, targets),
            "saliency": margin_loss(saliency, targets, self.training),
            "saliency_rank": rank_loss(saliency, negative, targets),
            "saliency_negative": negative_pair_loss(negative, targets),
        }

    @classmethod
    def published(cls, state: dict[str, Tensor], options: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict]:
        """As `MomentDETR.published`; the options count the ends among the audio features."""
        state, sizes = super().published(state, options)
        if not options.get("a_feat_dir"):
            return state, sizes
        audio = options["a_feat_dim"]
        return state, sizes | {"video_dim": sizes["video_dim"] - audio, "audio_dim": audio - 2 * sizes["tef"]}


BACKBONE = QDDETR
