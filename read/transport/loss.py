"""Alignment losses between video and text tokens: PVLA and the baselines of its ablation.

Symbols: B samples, N video tokens, M words, d width. Masks are bool, True = real token.
"""

import torch
from torch import Tensor

from read.autograd import once_differentiable
from read.errors import InputError
from read.transport.plan import Solver, partial_distance

COSTS = ("cosine", "sqeuclidean", "l2")
REDUCTIONS = ("mean", "sum", "none")
SMALLEST_NORM = 1e-12


def pairwise_cost(
    video: Tensor,
    text: Tensor,
    cost: str = "cosine",
    video_mask: Tensor | None = None,
    text_mask: Tensor | None = None,
) -> Tensor:
    """Cost (B, N, M) between video (B, N, d) and text (B, M, d), in float32 at least.

    "cosine": 1 - cos, in [0, 2]; a zero vector is at 1 from everything, without gradient.
    "sqeuclidean": the squared distance. "l2": the distance.
    Where masks are given, padding counts as zero vectors, whatever it holds.

    Raises:
        InputError: an unknown cost.
    """
    if cost not in COSTS:
        raise InputError(f"cost: must be one of {', '.join(COSTS)}, not {cost!r}")
    dtype = torch.promote_types(torch.promote_types(video.dtype, text.dtype), torch.float32)
    # Autocast would bring the products back to half precision, where near neighbours are all alike.
    with torch.autocast(video.device.type, enabled=False):
        video, text = video.to(dtype), text.to(dtype)
        if cost == "cosine":
            return _CosineCost.apply(video, text, video_mask, text_mask)
        video, text = _zero_padding(video, video_mask), _zero_padding(text, text_mask)
        if cost == "l2":
            return torch.cdist(video, text, compute_mode="donot_use_mm_for_euclid_dist")
        squares = video.square().sum(-1)[:, :, None] + text.square().sum(-1)[:, None, :]
        return (squares - 2 * video @ text.mT).clamp(min=0)


class _CosineCost(torch.autograd.Function):
    """1 - cos between all pairs, with d cos / dx = (y / |y| - cos x / |x|) / |x| written out.

    Autograd's own chain of norms, masks and products moves four times the memory, and the loss is as slow as that.
    """

    @staticmethod
    def forward(ctx, video, text, video_mask, text_mask):
        video, text = _zero_padding(video, video_mask), _zero_padding(text, text_mask)
        video_scale, text_scale = _inverse_norm(video), _inverse_norm(text)
        cosine = video @ text.mT * (video_scale[:, :, None] * text_scale[:, None, :])
        ctx.save_for_backward(video, text, video_scale, text_scale, cosine)
        return 1 - cosine

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        video, text, video_scale, text_scale, cosine = ctx.saved_tensors
        radial = grad * cosine
        grad = grad * (video_scale[:, :, None] * text_scale[:, None, :])
        with torch.autocast(video.device.type, enabled=False):
            grad_video = video * (radial.sum(2) * video_scale.square())[:, :, None]
            grad_text = text * (radial.sum(1) * text_scale.square())[:, :, None]
            return grad_video.baddbmm_(grad, text, alpha=-1), grad_text.baddbmm_(grad.mT, video, alpha=-1), None, None


def _zero_padding(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Zeros in place of padding; not by a product, since padding may hold NaN."""
    return tokens if mask is None else tokens.masked_fill(~mask[:, :, None], 0.0)


def _inverse_norm(tokens: Tensor) -> Tensor:
    """1 / |x| along the last axis, and 0 for a zero vector."""
    norm = torch.linalg.vector_norm(tokens, dim=-1)
    return (norm > SMALLEST_NORM) / norm.clamp(min=SMALLEST_NORM)


def partial_alignment_loss(
    video: Tensor,
    text: Tensor,
    video_mask: Tensor | None = None,
    text_mask: Tensor | None = None,
    mass: float | Tensor | None = 0.5,
    cost: str = "cosine",
    solver: str | Solver = "exact",
    reduction: str = "mean",
) -> Tensor:
    """PVLA: the least cost of moving a fraction `mass` of the video tokens onto the words.

    Every real token of a modality has the same weight, 1 / N or 1 / M. The gradient is the envelope theorem's: the
    plan is a constant. `mass=1` is full, balanced optimal transport, a baseline of the ablation.

    Args:
        video: (B, N, d).
        text: (B, M, d).
        video_mask: (B, N); all real by default. Padding takes no part, whatever it holds, and gets no gradient.
        text_mask: (B, M); likewise.
        mass: s in (0, 1], a number or (B,); None with `solver="paper"` searches for it.
        cost: "cosine", "sqeuclidean" or "l2", see `pairwise_cost`.
        solver: a `Solver`, or a name, "exact", "entropic" or "paper".
        reduction: "mean" over samples, "sum" or "none".

    Returns:
        A scalar, or (B,) without reduction; float32 at least.

    Raises:
        InputError: a sample without a real token, an infeasible mass, NaN in real tokens, unknown names.
    """
    video_mask, text_mask = _checked_masks(video, text, video_mask, text_mask, reduction)
    distance = partial_distance(
        pairwise_cost(video, text, cost, video_mask, text_mask),
        mass=mass,
        mask=(video_mask, text_mask),
        solver=solver,
    )
    return _reduce(distance, reduction)


def mean_pooled_loss(
    video: Tensor,
    text: Tensor,
    video_mask: Tensor | None = None,
    text_mask: Tensor | None = None,
    cost: str = "cosine",
    reduction: str = "mean",
) -> Tensor:
    """The baseline that aligns the mean video token with the mean word. Arguments as `partial_alignment_loss`."""
    video_mask, text_mask = _checked_masks(video, text, video_mask, text_mask, reduction)
    for name, mask in (("video_mask", video_mask), ("text_mask", text_mask)):
        if not mask.any(1).all():
            raise InputError(f"{name}: a sample has no real token; at least 1 is needed")
    video = _zero_padding(video, video_mask).sum(1, keepdim=True) / video_mask.sum(1)[:, None, None]
    text = _zero_padding(text, text_mask).sum(1, keepdim=True) / text_mask.sum(1)[:, None, None]
    return _reduce(pairwise_cost(video, text, cost).flatten(), reduction)


def _checked_masks(
    video: Tensor, text: Tensor, video_mask: Tensor | None, text_mask: Tensor | None, reduction: str
) -> list[Tensor]:
    """Both masks, all real where none was given."""
    if video.ndim != 3 or text.ndim != 3 or video.shape[::2] != text.shape[::2]:
        raise InputError(
            f"video {tuple(video.shape)}, text {tuple(text.shape)}: must be (B, N, d) and (B, M, d) with equal B and d"
        )
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction: must be one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    masks = []
    for name, tokens, mask in (("video_mask", video, video_mask), ("text_mask", text, text_mask)):
        mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask
        if mask.shape != tokens.shape[:2] or mask.dtype != torch.bool:
            raise InputError(f"{name}: must be bool {tuple(tokens.shape[:2])}, not {mask.dtype} {tuple(mask.shape)}")
        masks.append(mask)
    return masks


def _reduce(values: Tensor, reduction: str) -> Tensor:
    return values if reduction == "none" else getattr(values, reduction)()
