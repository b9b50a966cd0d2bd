"""Entropic partial transport in the log domain, for whole batches, on the device of the cost.

    min_T <T, C> + tau sum T log T   over the plans of `read.transport.problem`
    T_ij = exp(-C_ij / tau + u_i + v_j + w),   u, v <= 0

Dykstra's corrections of the KL projections (Benamou et al. 2015, proposition 5) are rank one: undoing one is leaving
out the old u (or v). So u, v and w are the whole state. Rows and mass are projected on together, then columns and
mass, because a joint projection has a closed form and one of the three sets less makes far fewer rounds.

Symbols: those of `read.transport.problem`; tau temperature, in units of the cost; r row sums before their scaling.
"""

import warnings

import torch
from torch import Tensor

from read.errors import InputError
from read.transport.problem import Problem

# The log of no weight at all: finite, so that no difference of infinities can arise.
NO_WEIGHT = 1e-300
# Rounds between two looks at the residual where a look makes the device wait for the host.
ROUNDS_BETWEEN_LOOKS = 8


@torch.no_grad()
def entropic_plan(problem: Problem, temperature: float, tolerance: float, max_iterations: int) -> Tensor:
    """The plans (B, N, M), float64, whose columns and mass hold to rounding and whose rows hold to the tolerance.

    Stops when in every problem the rows miss their optimality conditions, and the plan the mass, by at most
    `tolerance` of the mass; warns with the remaining residual when `max_iterations` rounds were not enough.

    Raises:
        InputError: costs so large, in units of the temperature, that they cannot be computed with.
    """
    cost, a, b, mass = problem
    kernel = cost / -temperature
    log_a, log_b = a.clamp(min=NO_WEIGHT).log(), b.clamp(min=NO_WEIGHT).log()
    look_every = 1 if cost.device.type == "cpu" else ROUNDS_BETWEEN_LOOKS
    v, residual = torch.zeros_like(b), float("inf")
    u = w = torch.zeros_like(a)  # of the first round on
    for iteration in range(max_iterations):
        log_r = torch.logsumexp(kernel + v[:, None, :], 2)
        if iteration > 0 and iteration % look_every == 0:
            sums = (log_r + w + u).exp()
            missed = (sums - torch.minimum((log_r + w).exp(), a)).abs().sum(1) + (sums.sum(1) - mass).abs()
            residual = _residual("entropic", missed / mass, temperature)
            if residual <= tolerance:
                break
        u, w = _scale(log_r, a, log_a, mass)
        v, w = _scale(torch.logsumexp(kernel + u[:, :, None], 1), b, log_b, mass)
    else:
        _warn_unfinished("entropic", max_iterations, residual, tolerance)
    plan = (kernel + u[:, :, None] + v[:, None, :] + w[:, :, None]).exp()
    return plan * problem.real


def _scale(log_r: Tensor, a: Tensor, log_a: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Scalings u (B, N) <= 0 and w (B, 1) that bring sums r under the weights and to the mass: sum min(e^w r, a) = s.

    In order of a / r the sums reach their weights one by one as w grows; the mass says how many have.
    """
    knots, order = (log_a - log_r).sort(1)
    log_r_sorted, a_sorted = log_r.gather(1, order), a.gather(1, order)
    free = log_r_sorted.flip(1).logcumsumexp(1).flip(1)
    filled = a_sorted.cumsum(1) - a_sorted
    mass = mass[:, None]
    reached = (filled + (knots + free).exp() <= mass * (1 + 1e-13)).sum(1, keepdim=True)
    last = reached.clamp(max=knots.shape[1] - 1)
    rest = (mass - filled.gather(1, last)).clamp(min=NO_WEIGHT)
    w = torch.where(reached == knots.shape[1], knots[:, -1:], rest.log() - free.gather(1, last))
    # Where the weights that are reached are the whole mass, rounding may leave no rest, and w must not fall back.
    w = torch.where(reached == 0, w, w.maximum(knots.gather(1, (reached - 1).clamp(min=0))))
    return (log_a - log_r - w).clamp(max=0.0), w


@torch.no_grad()
def paper_plan(problem: Problem, temperature: float, tolerance: float, max_iterations: int) -> Tensor:
    """The scheme of the READ paper: rows under a, columns under b, all to mass s, in turn and without corrections.

    Its limit is a feasible plan near exp(-C / tau), but in general not the KL projection: it minimises neither
    <T, C> nor its entropic form, and its cost lies at or above the exact one. Arguments as `entropic_plan`.
    """
    cost, a, b, mass = problem
    log_a, log_b = a.clamp(min=NO_WEIGHT).log()[:, :, None], b.clamp(min=NO_WEIGHT).log()[:, None, :]
    log_mass = mass.log()[:, None, None]
    look_every = 1 if cost.device.type == "cpu" else ROUNDS_BETWEEN_LOOKS
    plan = (cost / -temperature).masked_fill(~problem.real, -1e30)
    plan = plan + log_mass - plan.logsumexp((1, 2), keepdim=True)
    residual = float("inf")
    for iteration in range(max_iterations):
        log_r = plan.logsumexp(2, keepdim=True)
        if iteration % look_every == 0:
            over = (log_r.exp()[:, :, 0] - a).clamp(min=0).sum(1) + (plan.exp().sum(1) - b).clamp(min=0).sum(1)
            residual = _residual("paper", over / mass, temperature)
            if residual <= tolerance:
                break
        plan = plan + (log_a - log_r).clamp(max=0.0)
        plan = plan + (log_b - plan.logsumexp(1, keepdim=True)).clamp(max=0.0)
        plan = plan + log_mass - plan.logsumexp((1, 2), keepdim=True)
    else:
        _warn_unfinished("paper", max_iterations, residual, tolerance)
    return plan.exp()


def paper_search(problem: Problem, temperature: float, tolerance: float, max_iterations: int) -> Tensor:
    """The cheapest of the paper's plans over s = 1 .. min(N, M) tokens' worth of mass, per sample.

    One token's worth is 1 / min(N, M) of the bound, N and M counting real tokens: the paper's masses are whole
    numbers, for which weights that sum to 1 leave no room.
    """
    steps = torch.minimum((problem.a > 0).sum(1), (problem.b > 0).sum(1))
    best, least = torch.zeros_like(problem.cost), torch.full_like(problem.bound, float("inf"))
    for step in range(1, int(steps.max()) + 1):
        trial = problem._replace(mass=problem.bound * steps.clamp(max=step) / steps)
        plan = paper_plan(trial, temperature, tolerance, max_iterations)
        price = (plan * problem.cost).sum((1, 2))
        cheaper = price < least
        best, least = torch.where(cheaper[:, None, None], plan, best), torch.minimum(price, least)
    return best


def _residual(solver: str, missed: Tensor, temperature: float) -> float:
    """The largest of the shares (B,) that are missed. Raises InputError where one is not a number."""
    residual = missed.max().item()
    if residual != residual:
        raise InputError(
            f"temperature: {temperature:g} is too low for the costs of sample {missed.isnan().nonzero()[0].item()}, "
            f"with which solver {solver!r} leaves the range of float64; raise it or scale the costs down"
        )
    return residual


def _warn_unfinished(solver: str, rounds: int, residual: float, tolerance: float) -> None:
    warnings.warn(
        f"solver {solver!r}: after {rounds} rounds the marginals miss by {residual:.1e} of the mass, above the "
        f"tolerance {tolerance:.1e}; raise max_iterations, temperature or tolerance",
        RuntimeWarning,
        stacklevel=2,
    )
