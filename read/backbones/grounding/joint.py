"""The joint space of an image-text encoder as a grounding model: no source, no checkpoint, seconds of training.

A clip's score is the cosine of its embedding v' = norm(v + norm(R x + branch(x))) with the sentence's, both centred. R
is fitted by ridge regression; the branch is where strategies go, beside the map: `lora` is a low-rank one, `adapter` a
plain bottleneck, `read` a recurrent one over the clips; `full` trains the map itself.

Symbols: B samples, N clips, M words, e width of the joint space. Masks are True at real tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.backbones.base import Backbone, GroundingConfig, Segment
from read.backbones.joint_space import JointSpace
from read.errors import InputError

ALIGNS = False  # a sentence is read as it is: there are no states of its words for an alignment to train
SCALE = 20.0  # of cosines in the loss, the inverse of a temperature of .05
SMOOTHED = 3  # clips over which saliency is averaged; windows are read off what is not smoothed


@dataclass(frozen=True)
class JointConfig(GroundingConfig):
    """Clips are compared one by one, so that a video of any usual length is one piece.

    Raises:
        InputError: the features have no joint space.
    """

    max_clips: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.joint_dim:
            raise InputError(
                "joint: the features have no joint space of pictures and sentences; take an encoder that has one, such "
                "as clip, or name the package's by `joint` in the card"
            )


class JointBackbone(Backbone):
    """The model. Words and sound are not used, the sentence is; `states` are v' (B, N, e) and s (B, 1, e)."""

    config_class = JointConfig
    reads_sentence = True
    regresses = False
    rate_scale = 1 / 4  # what adds to embeddings of length 1 wants smaller steps than a transformer's layers
    windows = "ladder"

    def __init__(self, config: JointConfig) -> None:
        super().__init__(config)
        self.space = JointSpace(config.video_dim, config.joint_start, config.joint_dim)

    @property
    def joint_space(self) -> JointSpace:
        """Its own."""
        return self.space

    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None,
        sentence: Tensor | None = None, correction: Tensor | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """As `Backbone.forward`, of sentences (B, e), and corrections (B, N, e) of R x; besides `cosine` (B, N)."""
        assert sentence is not None, "`read.grounding.inference.run` gives it"
        clips, sentence = self.space.clips(video, correction), self.space.sentence(sentence)
        cosine = (clips * sentence[:, None]).sum(-1)
        places = torch.arange(video.shape[1], device=video.device)[:, None] + cosine.new_tensor([0.0, 1.0])
        return {
            "spans": places / video_mask.sum(1)[:, None, None],
            "scores": (1 + cosine) / 2,
            "saliency": _smooth(cosine, video_mask),
            "states": {"video": clips, "text": sentence[:, None]},
            "masks": {"text": torch.ones_like(sentence[:, :1], dtype=torch.bool)},  # of the sentence, not of its words
            "cosine": cosine,
        }

    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """How little of each sentence's softmax over the batch's clips its own moment gets, as -log.

        Clips of other videos are among them, so that a score says something beyond its own video. Pieces without a
        moment have no term of their own.
        """
        clips, sentence = outputs["states"]["video"], outputs["states"]["text"][:, 0]
        vids = [annotation.vid for annotation in targets["annotations"]]
        own = torch.eye(len(vids), dtype=torch.bool, device=clips.device)
        other = torch.tensor([[one != two for two in vids] for one in vids], device=clips.device)
        real = (own | other)[..., None] & targets["video_mask"]
        with torch.autocast(clips.device.type, enabled=False):
            cosines = torch.einsum("be,cne->bcn", sentence, clips)
        logits = (SCALE * cosines).masked_fill(~real, -torch.inf)
        inside = own[..., None] & (targets["foreground"] > 0) & targets["video_mask"]
        there = inside.flatten(1).any(1)
        if not there.any():
            return {"moment": logits.new_zeros(()) * clips.sum()}
        whole = logits[there].flatten(1).logsumexp(1)
        moment = logits[there].masked_fill(~inside[there], -torch.inf).flatten(1).logsumexp(1)
        return {"moment": (whole - moment).mean()}

    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def attention_blocks(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def joint_blocks(self) -> dict[str, nn.Module]:
        """The map."""
        return {"space.map": self.space.map}

    def heads(self) -> list[str]:
        """None: the cosine has no weights."""
        return []

    def segments(self, video_mask: Tensor, text_mask: Tensor) -> list[Segment]:
        """The clips, which are all that the map sees."""
        return [Segment("video", 0, video_mask.shape[1], video_mask)]

    @classmethod
    def published(cls, state: dict[str, Tensor], options: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict]:
        """There are none: the weights are those of the encoder."""
        raise InputError("joint: has no published checkpoints; its weights are the encoder's")


def _smooth(scores: Tensor, mask: Tensor) -> Tensor:
    """(B, N) means over SMOOTHED neighbours, those that are real."""
    ends = (SMOOTHED // 2, SMOOTHED // 2)
    sums, counts = (F.pad(part, ends).unfold(1, SMOOTHED, 1).sum(-1) for part in (scores * mask, mask))
    return sums / counts.clamp(min=1)


BACKBONE = JointBackbone
