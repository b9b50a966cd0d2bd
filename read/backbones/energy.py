"""Energy-based learning of which moments fit a sentence (Nguyen et al., DemaFormer, EMNLP Findings 2023, section 3.3).

A moment's energy is minus its salience, E(o) = -(w'o + b). What the model believes in is drawn from it by Langevin
dynamics, o_k+1 = o_k - (gamma / 2) dE/do + sqrt(gamma) noise, and pushed up, while the annotated moments go down.

Symbols: B samples, N clips, d width, K steps, gamma their size, alpha the weight of what was drawn.
"""

from torch import Tensor


def energy(moments: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(B, N) of moments (B, N, d), given the salience head's weight (1, d) and bias (1,); in float32."""
    return -((moments.float() * weight.float()).sum(-1) + bias.float())


def langevin(moments: Tensor, weight: Tensor, steps: int, size: float, noise: Tensor) -> Tensor:
    """Where K steps from the moments end, without gradient.

    The energy is linear, so its slope is -w wherever the chain stands: K steps are one, K gamma / 2 along w and a
    Gaussian of variance K gamma.

    Args:
        moments: (B, N, d).
        weight: (1, d), w.
        steps: K.
        size: gamma.
        noise: (B, N, d), standard normal; zeros give the mean of the chain's end.
    """
    return (moments.float() + steps * size / 2 * weight.float() + (steps * size) ** 0.5 * noise).detach()


def contrastive_divergence(
    moments: Tensor, drawn: Tensor, weight: Tensor, bias: Tensor, positive: Tensor, mask: Tensor, alpha: float
) -> Tensor:
    """The mean energy of the positive moments minus alpha times that of the drawn ones, one from each clip.

    Args:
        moments: (B, N, d).
        drawn: (B, N, d), of `langevin`.
        weight: (1, d), w.
        bias: (1,), b.
        positive: (B, N), bool.
        mask: (B, N), True at real clips.
        alpha: weight of the drawn moments.

    Returns:
        A scalar; 0 where the batch has no positive moment.
    """
    if not positive.any():
        return moments.float().sum() * 0
    below, above = energy(moments, weight, bias), energy(drawn, weight, bias)
    return (below * positive).sum() / positive.sum() - alpha * (above * mask).sum() / mask.sum()
