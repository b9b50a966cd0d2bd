"""Proof that a plan is right, by duality, whoever made the plan.

Symbols: those of `read.transport.problem`.
"""

from typing import NamedTuple

from torch import Tensor

from read.errors import InputError
from read.transport.exact import exact_plan, lower_bound
from read.transport.problem import Problem, build_problem


class Certificate(NamedTuple):
    """What a plan violates and how far it can be from the best; each (B,), float64, on the CPU.

    A right plan has zeros throughout, up to rounding. An infeasible plan may have a negative gap.
    """

    row_violation: Tensor  # the largest excess of a row's sum over its weight
    column_violation: Tensor  # likewise, of a column's
    mass_violation: Tensor  # |1' T 1 - s|
    negative: Tensor  # the size of the most negative entry
    gap: Tensor  # <T, C> minus a proven lower bound on the cost of every feasible plan

    @property
    def worst(self) -> float:
        """The largest of all violations and gaps, in absolute value."""
        return max(part.abs().max().item() for part in self)


def certificate(
    plan: Tensor,
    cost: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    mass: float | Tensor = 0.5,
    mask: tuple[Tensor, Tensor] | None = None,
) -> Certificate:
    """How far a plan is from feasible and from optimal in exact partial transport.

    The lower bound comes from dual potentials that are made feasible first, so that it holds even where the solver
    that proposed them were wrong (`read.transport.exact.lower_bound`). Plans of the entropic solvers have a gap:
    the price of their temperature.

    Args:
        plan: in the shape of the cost.
        cost: the other arguments as for `read.transport.partial_transport`.
        a: weights of the rows.
        b: weights of the columns.
        mass: s.
        mask: (row_mask, column_mask).

    Raises:
        InputError: as `partial_transport`, or a plan that is not of the cost's shape.
    """
    if plan.shape != cost.shape:
        raise InputError(f"plan: shape {tuple(plan.shape)} is not the cost's {tuple(cost.shape)}")
    problem = Problem(*(part.cpu() for part in build_problem(cost, a, b, mass, mask)))
    plan = plan.detach().cpu().double().reshape(problem.cost.shape)
    _, beta = exact_plan(problem)
    return Certificate(
        row_violation=(plan.sum(2) - problem.a).amax(1).clamp(min=0),
        column_violation=(plan.sum(1) - problem.b).amax(1).clamp(min=0),
        mass_violation=(plan.sum((1, 2)) - problem.mass).abs(),
        negative=(-plan).amax((1, 2)).clamp(min=0),
        gap=(plan * problem.cost).sum((1, 2)) - lower_bound(problem, beta),
    )
