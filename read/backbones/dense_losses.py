"""Losses of dense grounding, per clip: windows, foreground and saliency (Lin et al. 2023, section 3.4).

Symbols: B samples, N clips, d width, R samples that have a salient clip. Spans are shares of the clips' total length.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from read.backbones.spans import generalized_iou

BACKGROUND_WEIGHT = 0.1
TEMPERATURE = 0.07
MASKED = -149 * math.log(2)  # log of the smallest float32: what the public code adds to a score that does not count


def window_losses(outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
    """Smooth L1 and 1 - gIoU of the foreground clips' windows, and the foreground's cross-entropy, as means."""
    foreground, mask = targets["foreground"], targets["video_mask"]
    count = foreground.sum().clamp(min=1)
    distance = F.smooth_l1_loss(outputs["spans"], targets["spans"], reduction="none").sum(-1)
    weight = torch.where(foreground > 0, 1.0, BACKGROUND_WEIGHT) * mask
    entropy = F.binary_cross_entropy_with_logits(outputs["logits"], foreground, weight=weight, reduction="none")
    return {
        "span": (distance * foreground).sum() / count,
        "giou": ((1 - generalized_iou(outputs["spans"], targets["spans"])) * foreground).sum() / count,
        "foreground": entropy.sum() / mask.sum(),
    }


def listwise_loss(outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> Tensor:
    """-log of the share that the foreground's clips have of the softmax over a video's, as a mean over samples.

    It ranks a video's clips against each other, as reading windows off them does, where the cross-entropy asks of each
    clip alone. A sample without foreground takes no part. The form is that of ListNet's top one (Cao et al. 2007).
    """
    foreground, mask = targets["foreground"] > 0, targets["video_mask"]
    rows = foreground.any(dim=1)
    if not rows.any():
        return outputs["logits"].sum() * 0
    logits, lowest = outputs["logits"][rows], torch.finfo(outputs["logits"].dtype).min
    every = logits.masked_fill(~mask[rows], lowest).logsumexp(dim=1)
    return (every - logits.masked_fill(~foreground[rows], lowest).logsumexp(dim=1)).mean()


def saliency_losses(outputs: Mapping[str, Any], targets: Mapping[str, Any], training: bool) -> dict[str, Tensor]:
    """Contrast of one salient clip per sample with the sample's less salient clips, and with the batch's sentences.

    Each in both directions: the second of the terms within a video contrasts the clip with those that stand at the same
    place in the batch's other videos, as the public code does. A sample without a salient clip takes no part.
    """
    saliency, mask = targets["saliency"] * targets["video_mask"], targets["video_mask"]
    rows = (saliency > 0).any(dim=1).nonzero().squeeze(1)
    if len(rows) == 0:
        return {"saliency_intra": saliency.sum(), "saliency_inter": saliency.sum()}
    saliency, mask, cosine = saliency[rows], mask[rows], outputs["cosine"][rows]
    if "positive" in targets:
        positive = targets["positive"][rows]
    elif training:
        positive = torch.multinomial((saliency > 0).float(), 1).squeeze(1)
    else:
        positive = saliency.argmax(dim=1)
    each = torch.arange(len(rows), device=rows.device)
    clips = F.normalize(outputs["clips"][rows, positive], dim=-1)
    across = clips @ F.normalize(outputs["sentence"][rows], dim=-1).T / TEMPERATURE
    counts = (saliency < saliency[each, positive][:, None]) & mask
    counts[each, positive] = True
    within = (cosine + MASKED * ~counts) / TEMPERATURE
    return {
        "saliency_intra": F.cross_entropy(within, positive) - within.log_softmax(dim=0)[each, positive].mean(),
        "saliency_inter": F.cross_entropy(across, each) + F.cross_entropy(across.T, each),
    }
