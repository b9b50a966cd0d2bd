"""A batch of partial transport problems, checked once and then trusted by every solver.

    min_T <T, C>   subject to   T >= 0,   T 1 <= a,   T' 1 <= b,   1' T 1 = s

Symbols: B problems, N rows (video tokens), M columns (words), C cost (B, N, M), a row weights (B, N),
b column weights (B, M), s transported mass (B,), T plan (B, N, M). A token of weight 0 is absent.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from read.errors import InputError

# Weights that come in single precision miss their sum by about this share; such a mass is meant as "all of it".
ROUNDING = 1e-6


class Problem(NamedTuple):
    """A checked batch, in float64: padding has weight 0 and cost 0, and 0 < mass <= min(sum a, sum b)."""

    cost: Tensor
    a: Tensor
    b: Tensor
    mass: Tensor

    @property
    def real(self) -> Tensor:
        """(B, N, M): True where both tokens are real."""
        return (self.a > 0)[:, :, None] & (self.b > 0)[:, None, :]

    @property
    def bound(self) -> Tensor:
        """(B,): the most mass that the weights allow."""
        return torch.minimum(self.a.sum(1), self.b.sum(1))


def build_problem(
    cost: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    mass: float | Tensor | None,
    mask: tuple[Tensor, Tensor] | None,
) -> Problem:
    """Check the arguments of `read.transport.partial_transport` (see there) and bring them into one form.

    The cost may be (N, M), one problem, or (B, N, M). A mass of None stands for the bound.
    All values are checked on the cost's device with a single transfer to the host.

    Raises:
        InputError: shapes that do not fit, NaN or infinite costs, negative or all-masked weights, infeasible mass.
    """
    if cost.ndim not in (2, 3) or 0 in cost.shape:
        raise InputError(f"cost: must be (N, M) or (B, N, M) with no empty axis, not {tuple(cost.shape)}")
    cost = cost.detach().reshape(-1, *cost.shape[-2:]).double()
    batch, rows, columns = cost.shape
    row_mask, column_mask = mask if mask is not None else (None, None)
    a = _weights("a", a, row_mask, cost, (batch, rows))
    b = _weights("b", b, column_mask, cost, (batch, columns))

    real = (a != 0)[:, :, None] & (b != 0)[:, None, :]
    cost = cost.masked_fill(~real, 0.0)
    problem = Problem(cost, a, b, _mass(mass, torch.minimum(a.sum(1), b.sum(1))))
    _check_values(problem)
    return problem._replace(mass=torch.minimum(problem.mass, problem.bound))


def _weights(name: str, weights: Tensor | None, mask: Tensor | None, cost: Tensor, shape: tuple[int, int]) -> Tensor:
    """The weights as float64 of `shape`, 0 at padding; uniform with sum 1 over the real tokens when not given."""
    for kind, value in (("weights", weights), ("mask of", mask)):
        if value is not None and tuple(value.shape) not in (shape, shape[1:]):
            raise InputError(f"{kind} {name}: shape {tuple(value.shape)} does not fit the cost, which needs {shape}")
    if mask is not None and mask.dtype != torch.bool:
        raise InputError(f"mask of {name}: must be bool (True = real token), not {mask.dtype}")
    real = cost.new_ones(shape) if mask is None else mask.to(cost.device).expand(shape).double()
    if weights is None:
        return real / real.sum(1, keepdim=True).clamp(min=1.0)
    return weights.detach().to(cost).expand(shape).masked_fill(real == 0, 0.0)


def _mass(mass: float | Tensor | None, bound: Tensor) -> Tensor:
    """The mass of each problem, (B,)."""
    if mass is None:
        return bound
    if not isinstance(mass, Tensor):
        return torch.full_like(bound, mass)
    if mass.ndim > 1 or mass.numel() not in (1, len(bound)):
        raise InputError(f"mass: must be a number or ({len(bound)},), not {tuple(mass.shape)}")
    return mass.detach().to(bound).expand_as(bound)


def _check_values(problem: Problem) -> None:
    """Raise an InputError that names the first fault, its sample and its bound."""
    cost, a, b, mass = problem
    bound = problem.bound
    faults = {
        "cost: NaN or infinite between real tokens": ~cost.isfinite().all(2).all(1),
        "weights a: below their bound 0, or not finite": ~((a >= 0) & a.isfinite()).all(1),
        "weights b: below their bound 0, or not finite": ~((b >= 0) & b.isfinite()).all(1),
        "weights a: all zero or masked, so the mass is bounded by 0": a.sum(1) == 0,
        "weights b: all zero or masked, so the mass is bounded by 0": b.sum(1) == 0,
        "mass: must be above its lower bound 0": ~(mass > 0),
        "mass: must not exceed its upper bound min(sum a, sum b)": mass > bound * (1 + ROUNDING),
    }
    table = torch.stack(list(faults.values())).cpu()
    if not table.any():
        return
    kind, sample = table.nonzero()[0].tolist()
    message = f"{list(faults)[kind]} (sample {sample}"
    if "mass: " in message:
        message += f": mass {mass[sample].item():g}, bound {bound[sample].item():g}"
    raise InputError(message + ")")
