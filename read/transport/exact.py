"""Exact partial transport by the network simplex of POT (Bonneel et al. 2011), on the CPU.

A dummy row and a dummy column take what is not transported, for nothing (Chapel, Alaya and Gasso 2020):

    C~ = [[C, 0], [0, A]]     a~ = [a, sum b - s]     b~ = [b, sum a - s]

Symbols: those of `read.transport.problem`; alpha, beta are the dual potentials of rows and columns.
"""

import numpy as np
import torch
from torch import Tensor

from read.transport.problem import Problem

MAX_PIVOTS = 1_000_000
# A dummy weight below this share of the total is rounding and would only unbalance the simplex.
NOTHING = 1e-13


def exact_plan(problem: Problem) -> tuple[Tensor, Tensor]:
    """Optimal plans, and column potentials from which `lower_bound` proves them.

    Returns:
        T (B, N, M) and beta (B, M), float64 on the CPU; beta is without meaning at padding.

    Raises:
        RuntimeError: the network simplex ended without an optimum.
    """
    from ot.lp.emd_wrap import emd_c  # importing POT takes seconds, and only this solver needs it

    cost, a, b, mass = (part.cpu().numpy() for part in problem)
    batch, rows, columns = cost.shape
    # With costs in [0, 1] less mass never costs more, so any price A > 0 keeps the dummies from serving each other.
    low, scale = _range(cost, problem.real.cpu().numpy())
    extended = np.zeros((batch, rows + 1, columns + 1))
    extended[:, :rows, :columns] = (cost - low) / scale
    extended[:, rows, columns] = 2.0
    a_extended, b_extended = _with_dummy(a, b, mass), _with_dummy(b, a, mass)
    b_extended *= a_extended.sum(1, keepdims=True) / b_extended.sum(1, keepdims=True)

    plan, beta = np.empty_like(cost), np.empty((batch, columns))
    for k in range(batch):
        flow, _, _, potentials, status = emd_c(a_extended[k], b_extended[k], extended[k], MAX_PIVOTS, 1)
        if status != 1:
            raise RuntimeError(f"network simplex: no optimum for sample {k} (status {status})")
        plan[k], beta[k] = flow[:rows, :columns], potentials[:columns]
    return torch.from_numpy(plan), torch.from_numpy(beta * scale[:, 0])


def lower_bound(problem: Problem, beta: Tensor) -> Tensor:
    """A lower bound (B,) on the optimal cost, true for ANY column potentials beta (B, M) and tight for optimal ones.

    For every cap c, alpha_i = min(c, min_j C_ij - beta_j) makes the pair feasible in the dual, whose value is

        <a, alpha> + <b, beta> - (sum a - s) c - (sum b - s) max beta

    The best cap is one of the uncapped alphas.
    """
    cost, a, b, mass = problem
    infinite = float("inf")
    alpha = (cost - beta[:, None, :]).masked_fill(~problem.real, infinite).amin(2)
    caps = alpha.masked_fill(a == 0, -infinite).amax(1, keepdim=True).minimum(alpha)
    alpha = alpha.masked_fill(a == 0, 0.0)
    rows = (torch.minimum(alpha[:, None, :], caps[:, :, None]) * a[:, None, :]).sum(2)
    rows = (rows - (a.sum(1) - mass)[:, None] * caps).amax(1)
    highest = beta.masked_fill(b == 0, -infinite).amax(1)
    return rows + (b * beta).sum(1) - (b.sum(1) - mass) * highest


def _range(cost: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest real cost and the spread above it (1 where all costs are equal), each (B, 1, 1)."""
    low = cost.min((1, 2), keepdims=True, where=real, initial=np.inf)
    scale = cost.max((1, 2), keepdims=True, where=real, initial=-np.inf) - low
    return low, np.where(scale > 0, scale, 1.0)


def _with_dummy(weights: np.ndarray, others: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The weights and, last, the dummy's: what the other side does not send."""
    total = others.sum(1)
    rest = total - mass
    return np.column_stack([weights, np.where(rest > NOTHING * total, rest, 0.0)])
