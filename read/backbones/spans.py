"""Spans (..., 2) of time, as shares of a video's clips: [start, end], or [centre, width] as DETR regresses them."""

import torch
from torch import Tensor


def to_centre_width(spans: Tensor) -> Tensor:
    """[start, end] -> [centre, width]."""
    start, end = spans.unbind(-1)
    return torch.stack(((start + end) / 2, end - start), dim=-1)


def to_start_end(spans: Tensor) -> Tensor:
    """[centre, width] -> [start, end]."""
    centre, width = spans.unbind(-1)
    return torch.stack((centre - width / 2, centre + width / 2), dim=-1)


def generalized_iou(one: Tensor, other: Tensor) -> Tensor:
    """Generalised IoU of [start, end] spans with [start, end] spans, in [-1, 1] (Rezatofighi et al. 2019).

    The shapes broadcast: (P, 1, 2) with (1, Q, 2) gives (P, Q).
    """
    (start, end), (start_other, end_other) = one.unbind(-1), other.unbind(-1)
    overlap = (torch.minimum(end, end_other) - torch.maximum(start, start_other)).clamp(min=0)
    union = (end - start) + (end_other - start_other) - overlap
    hull = (torch.maximum(end, end_other) - torch.minimum(start, start_other)).clamp(min=1e-9)
    return overlap / union.clamp(min=1e-9) - (hull - union) / hull
