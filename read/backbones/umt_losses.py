"""Losses of UMT: the clips' saliency, and moments as centres with a width (Liu et al. 2022, section 3.5).

Symbols: B samples, N clips, W windows of the sample that has most. Centres, windows and offsets are in clips: clip n
stands at n, and a window from the clip n to the clip m, both included, has its centre at (n + m) / 2 and width m - n.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_WEIGHT = 0.1
RADIUS = 0.2  # of the heat around a centre, as a share of the window's width
SPREAD = 0.2  # standard deviation of the heat, as a share of its reach: the radius and the centre's own clip
EDGE = 1e-4  # shares are rounded, so that what is a whole number of clips may come a little short of it


class BoundaryTargets(NamedTuple):
    """What the boundary head should give.

    Attributes:
        centres: (B, N) heat, 1 at the centres.
        windows: (B, N) widths.
        offsets: (B, N) from a clip to the centre in it.
        peaks: (B, N) True at the clips that hold a centre: only there widths and offsets count.
        count: how many windows there are.
    """

    centres: Tensor
    windows: Tensor
    offsets: Tensor
    peaks: Tensor
    count: Tensor


def boundary_targets(windows: Tensor, windows_mask: Tensor, video_mask: Tensor) -> BoundaryTargets:
    """Targets from windows (B, W, 2), as shares of the real clips' total length, and the masks (B, W) and (B, N).

    The heat of a clip is that of the window which has most there. Where windows share their centre's clip, the last one
    counts. A window shorter than a clip is taken for its clip: no prediction can be shorter.
    """
    windows, real = F.pad(windows, (0, 0, 0, 1)), F.pad(windows_mask, (0, 1))  # so that there is one, if not a real one
    start, end = (windows * video_mask.sum(1)[:, None, None]).unbind(-1)
    width = (end - 1 - start).clamp(min=0)
    centre = ((start + end - 1) / 2).clamp(min=0)
    clip, radius = (centre + EDGE).floor(), (width * RADIUS + EDGE).floor()[..., None]

    distance = torch.arange(video_mask.shape[1], device=windows.device) - clip[..., None]  # (B, W, N)
    heat = torch.exp(-(distance**2) / (2 * ((radius + 1) * SPREAD) ** 2))
    heat = heat * (distance.abs() <= radius) * real[..., None]
    peaks = (distance == 0) & real[..., None]
    order = torch.arange(1, windows.shape[1] + 1, device=windows.device)[:, None]
    chosen = (peaks * order).argmax(dim=1)  # (B, N) the last window whose centre the clip holds
    return BoundaryTargets(
        heat.amax(dim=1), width.gather(1, chosen), (centre - clip).gather(1, chosen), peaks.any(dim=1), real.sum()
    )


def centre_entropy(logits: Tensor, heat: Tensor) -> Tensor:
    """(B, N) focal loss for targets that fall off around their peaks (Law and Deng 2018, equation 1)."""
    score = logits.sigmoid()
    peak = (1 - score) ** 2 * F.logsigmoid(logits)
    beside = (1 - heat) ** 4 * score**2 * F.logsigmoid(-logits)
    return -torch.where(heat == 1, peak, beside)


def boundary_losses(
    outputs: Mapping[str, Any], targets: Mapping[str, Any], regression_weight: float
) -> dict[str, Tensor]:
    """Focal loss of the centres, weighted L1 of widths and offsets at the peaks, each per window."""
    mask = targets["video_mask"]
    wanted = boundary_targets(targets["windows"], targets["windows_mask"], mask)
    count = wanted.count.clamp(min=1)
    centre = centre_entropy(outputs["centre_logits"], wanted.centres) * mask
    window = (outputs["window"] - wanted.windows).abs() * wanted.peaks
    offset = (outputs["offset"] - wanted.offsets).abs() * wanted.peaks
    return {
        "centre": centre.sum() / count,
        "window": regression_weight * WINDOW_WEIGHT * window.sum() / count,
        "offset": regression_weight * offset.sum() / count,
    }


def saliency_loss(logits: Tensor, saliency: Tensor, mask: Tensor, masked: bool) -> Tensor:
    """Cross-entropy with saliency between 0 and 1, all (B, N).

    The mean over the real clips; where not `masked`, over all clips, padded ones with 0.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, saliency, weight=mask.float(), reduction="sum")
    return entropy / (mask.sum() if masked else mask.numel())
