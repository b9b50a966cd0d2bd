"""Exact partial transport by the network simplex of POT (Bonneel et al. 2011), on the CPU.

A dummy row and a dummy column take what is not transported, for nothing (Chapel, Alaya and Gasso 2020):

    C~ = [[C, 0], [0, A]]     a~ = [a, sum b - s]     b~ = [b, sum a - s]

Symbols: those of `read.transport.problem`; alpha, beta are the dual potentials of rows and columns.
"""

import numpy as np
import torch
from torch import Tensor

from read.errors import InputError
from read.transport.problem import Problem

MAX_PIVOTS = 1_000_000
# A weight or flow below this share of the total is rounding; a dummy's would only unbalance the simplex.
NOTHING = 1e-13
# The simplex is right to rounding in units of the largest cost. Where a unit of mass costs less than this share of it,
# the costs that matter are too close to that rounding.
SMALL = 1e-4
# Of the cost, what a plan may miss of the optimum where the costs are far apart.
GAP = 1e-6


def exact_plan(problem: Problem) -> tuple[Tensor, Tensor]:
    """Optimal plans, and column potentials from which `lower_bound` proves them.

    Returns:
        T (B, N, M) and beta (B, M), float64 on the CPU; beta is without meaning at padding.

    Raises:
        InputError: costs so far apart that no plan can be proven to be within `GAP` of the optimum.
        RuntimeError: the network simplex ended without an optimum.
    """
    problem = Problem(*(part.cpu() for part in problem))
    cost, a, b, mass = (part.numpy() for part in problem)
    low, spread = _range(cost, problem.real.numpy())
    a_extended, b_extended = _with_dummy(a, b, mass), _with_dummy(b, a, mass)
    b_extended *= a_extended.sum(1, keepdims=True) / b_extended.sum(1, keepdims=True)

    plan, beta = np.empty_like(cost), np.empty(b.shape)
    for k, above in enumerate((cost - low) * problem.real.numpy()):
        plan[k], beta[k], cap = _solve(above, a_extended[k], b_extended[k], mass[k], spread[k].item(), k)
        if cap is not None:
            one = Problem(torch.from_numpy(above)[None], *(part[k : k + 1] for part in problem[1:]))
            _check_gap(one, plan[k], beta[k], cap, k)
    return torch.from_numpy(plan), torch.from_numpy(beta)


def _solve(
    above: np.ndarray, a: np.ndarray, b: np.ndarray, mass: float, spread: float, k: int
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Plan and potentials of one sample, and what its costs were cut at, if at all; `above` are those over the lowest.

    A pair that costs a thousand times what a unit of mass does is no better than one that costs ever more. So where
    costs are far apart they are cut there, which brings those that matter into the simplex's reach; a plan that uses
    no pair that was cut is optimal for the costs as they are.
    """
    from ot.lp.emd_wrap import emd_c  # importing POT takes seconds, and only this solver needs it

    rows, columns = above.shape
    extended = np.zeros((rows + 1, columns + 1))
    extended[rows, columns] = 2.0  # with costs in [0, 1], any price keeps the dummies from serving each other
    cap, found = spread, None
    while True:
        extended[:rows, :columns] = np.minimum(above / cap, 1.0)
        flow, _, _, potentials, status = emd_c(a, b, extended, MAX_PIVOTS, 1)
        if status != 1:
            raise RuntimeError(f"network simplex: no optimum for sample {k} (status {status})")
        flow = flow[:rows, :columns]
        used = np.where(flow > NOTHING * mass, flow, 0.0)
        if found is not None and used[above > cap].any():
            return found
        found = flow, potentials[:columns] * cap, cap
        unit = (used * above).sum() / mass
        if unit >= SMALL * cap or unit == 0:
            return found if cap < spread else (*found[:2], None)
        cap = 1e3 * unit


def _check_gap(problem: Problem, plan: np.ndarray, beta: np.ndarray, cap: float, k: int) -> None:
    """Raise an InputError where the plan of a problem whose lowest cost is 0 cannot be proven."""
    mass = problem.mass.item()
    used = torch.from_numpy(np.where(plan > NOTHING * mass, plan, 0.0))
    price = (used * problem.cost).sum().item()
    gap = price - lower_bound(problem, torch.from_numpy(beta)[None]).item()
    if not gap <= GAP * price + NOTHING * mass * cap:
        raise InputError(
            f"cost: its values lie too far apart to be solved exactly (sample {k}: above the lowest cost a plan costs "
            f"{price:.1e}, of which {gap:.1e} may be too much, and the highest is {problem.cost.max().item():.1e}); "
            "mask what must not be used instead of pricing it"
        )


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
