"""What models share that predict a set of moments: its form, the matching with the windows, and the losses.

The matching and the terms `span`, `giou`, `label` are those of DETR in time, `saliency` is the margin loss of Lei et
al. 2021 ("QVHighlights: Detecting Moments and Highlights in Videos via Natural Language Queries", section 4.2). The
terms that contrast with another sample's sentence are those of Moon et al. 2023 ("Query-Dependent Video Representation
for Moment Retrieval and Highlight Detection").

Symbols: B samples, N clips, W windows, K moment queries, D decoder layers, P pairs of a query and a window. Class 0 is
the foreground. Spans are shares of the clips' total length.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from read.backbones.spans import generalized_iou, to_centre_width, to_start_end

WEIGHTS = {"span": 10.0, "giou": 1.0, "label": 4.0}  # of the losses and of the matching's costs alike
BACKGROUND_WEIGHT = 0.1
MARGIN = 0.2
TEMPERATURE = 0.5
TOP_RANK = 12  # the sum of three annotators' scores of 0 to 4
TOLERANCE = 1e-3  # of ranks, which are recovered from means


def set_outputs(logits: Tensor, regressed: Tensor) -> dict[str, Tensor]:
    """The moments of the last decoder layer, and what the losses need of all of them.

    Args:
        logits: (D, B, K, 2).
        regressed: (D, B, K, 2) logits of centre and width.

    Returns:
        `spans` (B, K, 2) start and end, `scores` (B, K) the foreground's probability, and of all layers `logits` and
        `centre_width` (B, D, K, 2).
    """
    centre_width = regressed.sigmoid()
    return {
        "spans": to_start_end(centre_width[-1]),
        "scores": logits[-1].softmax(-1)[..., 0],
        "logits": logits.transpose(0, 1),
        "centre_width": centre_width.transpose(0, 1),
    }


@torch.no_grad()
def match(logits: Tensor, centre_width: Tensor, windows: Tensor, mask: Tensor) -> Tensor:
    """The cheapest pairing of moment queries with windows, per sample and decoder layer (Hungarian algorithm).

    Args:
        logits: (B, D, K, 2).
        centre_width: (B, D, K, 2).
        windows: (B, W, 2) start and end.
        mask: (B, W) True at real windows.

    Returns:
        (D, 3, P) sample, query and window of each pair, min(K, its windows) pairs per sample.
    """
    from scipy.optimize import linear_sum_assignment  # half a second that other models need not wait

    logits, centre_width = logits.transpose(0, 1), centre_width.transpose(0, 1)
    distance = (centre_width[..., None, :] - to_centre_width(windows)[:, None]).abs().sum(-1)
    overlap = generalized_iou(to_start_end(centre_width)[..., None, :], windows[:, None])
    foreground = logits.softmax(-1)[..., :1]
    costs = WEIGHTS["span"] * distance - WEIGHTS["giou"] * overlap - WEIGHTS["label"] * foreground
    costs = costs.nan_to_num().cpu().numpy()  # outputs that are not finite show in the losses
    columns = [np.flatnonzero(real) for real in mask.cpu().numpy()]
    pairs = np.zeros((len(costs), 3, sum(min(logits.shape[2], len(real)) for real in columns)), dtype=np.int64)
    for layer, per_sample in enumerate(costs):
        stop = 0
        for sample, (cost, real) in enumerate(zip(per_sample, columns, strict=True)):
            queries, chosen = linear_sum_assignment(cost[:, real])
            start, stop = stop, stop + len(queries)
            pairs[layer, 0, start:stop] = sample
            pairs[layer, 1:, start:stop] = queries, real[chosen]
    return torch.from_numpy(pairs).to(logits.device)


def moment_losses(outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
    """`span`, `giou` and `label` of the last decoder layer, and `span_0`, ... of those before it, all weighted.

    L1 of centre and width and 1 - gIoU are means over the pairs, the cross-entropy one over all moment queries. Queries
    without a window are background. Without any window the first two are 0.
    """
    windows = targets["windows"]
    pairs = match(outputs["logits"], outputs["centre_width"], windows, targets["windows_mask"])
    logits, centre_width = outputs["logits"].transpose(0, 1), outputs["centre_width"].transpose(0, 1)
    class_weights = logits.new_tensor((1.0, BACKGROUND_WEIGHT))
    terms = {}
    for layer, (samples, queries, chosen) in enumerate(pairs):
        matched, wanted = centre_width[layer, samples, queries], windows[samples, chosen]
        distance = (matched - to_centre_width(wanted)).abs()
        count = max(1, len(samples))
        labels = torch.ones_like(logits[layer, ..., 0], dtype=torch.long)
        labels[samples, queries] = 0
        suffix = f"_{layer}" if layer < len(pairs) - 1 else ""
        for name, value in {
            "span": distance.sum() / (2 * count),
            "giou": (1 - generalized_iou(to_start_end(matched), wanted)).sum() / count,
            "label": F.cross_entropy(logits[layer].mT, labels, class_weights, reduction="none").mean(),
        }.items():
            terms[name + suffix] = WEIGHTS[name] * value
    return terms


def saliency_pairs(targets: Mapping[str, Any], training: bool) -> tuple[Tensor, Tensor]:
    """Clips that should differ in saliency: (B, 2) the higher ones, (B, 2) the lower ones.

    First the most and the least salient of the relevant clips (the same clip where all are equally salient), then a
    relevant and an irrelevant one: any in training, the first ones in evaluation. Without an irrelevant clip the first
    pair stands for the second. `targets` may hold the pairs itself, as `positive` and `negative`.
    """
    if "negative" in targets:
        return targets["positive"], targets["negative"]
    saliency, relevant = targets["saliency"], targets["relevant"]
    others = targets["video_mask"] & ~relevant
    best, worst = saliency.masked_fill(~relevant, -1).argmax(1), saliency.masked_fill(~relevant, 2).argmin(1)
    chance = torch.rand_like(saliency) if training else torch.ones_like(saliency)
    some, other = (chance.masked_fill(~clips, -1).argmax(1) for clips in (relevant, others))
    both = others.any(1)
    return torch.stack((best, some.where(both, best)), 1), torch.stack((worst, other.where(both, worst)), 1)


def margin_loss(saliency: Tensor, targets: Mapping[str, Any], training: bool) -> Tensor:
    """How much the lower clips of `saliency_pairs` come too near to the higher ones, from saliency (B, N).

    A mean over the samples that have relevant clips, times 2 as in the public code; the others take no part.
    """
    higher, lower = (saliency.gather(1, clips) for clips in saliency_pairs(targets, training))
    counted = targets["relevant"].any(1)
    lack = (MARGIN + lower - higher).clamp(min=0).mean(1)
    return 2 * (lack * counted).sum() / counted.sum().clamp(min=1)


def rank_loss(saliency: Tensor, negative: Tensor | None, targets: Mapping[str, Any]) -> Tensor:
    """Contrast, rank by rank, of the clips that reach a rank with all other clips of the video.

    With `negative` (B, N), the saliency of the same clips under another sentence, these are among the others. As in the
    public code, ranks are the annotators' scores as a sum of three, 1 to 11 of 12, and what a video without a clip of a
    rank adds to that rank's mean over the batch is 0.
    """
    mask, ranks = targets["video_mask"], TOP_RANK * targets["saliency"] * targets["video_mask"]
    if negative is not None:
        saliency, mask = torch.cat((saliency, negative), 1), torch.cat((mask, mask), 1)
        ranks = torch.cat((ranks, torch.zeros_like(ranks)), 1)
    logs = (saliency / TEMPERATURE).masked_fill(~mask, -torch.inf).log_softmax(1).masked_fill(~mask, 0)
    steps = torch.arange(1, TOP_RANK, device=ranks.device)[:, None, None]
    reached = (ranks >= steps - TOLERANCE).float()  # (ranks, B, N)
    means = (reached * logs).sum(2) / reached.sum(2).clamp(min=1)
    return -means.mean(1).sum() / TOP_RANK


def negative_pair_loss(negative: Tensor | None, targets: Mapping[str, Any]) -> Tensor:
    """-log(1 - sigmoid) of the saliency (B, N) under another sentence: a sum over clips, a mean over samples."""
    mask = targets["video_mask"]
    if negative is None:
        return torch.zeros((), device=mask.device)
    return (F.softplus(negative) * mask).sum(1).mean()
