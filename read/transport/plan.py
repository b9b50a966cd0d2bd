"""Partial transport plans and the distance that they define.

Symbols: those of `read.transport.problem`.
"""

import torch
from torch import Tensor

from read.autograd import once_differentiable
from read.errors import InputError
from read.transport.entropic import entropic_plan, paper_plan, paper_search
from read.transport.exact import exact_plan
from read.transport.problem import Problem, build_problem

SOLVERS = ("exact", "entropic", "paper")


def partial_transport(
    cost: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    mass: float | Tensor | None = 0.5,
    mask: tuple[Tensor, Tensor] | None = None,
    solver: str = "exact",
    *,
    temperature: float = 0.05,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
) -> Tensor:
    """The plan T that moves mass s from rows to columns at the least cost, for a batch with padding.

        min_T <T, C>   subject to   T >= 0,   T 1 <= a,   T' 1 <= b,   1' T 1 = s

    Example:
        >>> import torch
        >>> cost = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
        >>> partial_transport(cost, torch.tensor([0.1, 0.2]), torch.tensor([0.1, 0.1]), mass=0.1)
        tensor([[0.1000, 0.0000],
                [0.0000, 0.0000]])

    Args:
        cost: (N, M) or (B, N, M), in any unit, of any sign.
        a: (N,) or (B, N) weights of the rows; by default uniform, with sum 1 over the real tokens.
        b: (M,) or (B, M) weights of the columns; likewise.
        mass: s, a number or (B,), in the unit of the weights, 0 < s <= min(sum a, sum b): with the default weights
            the fraction that is transported. None with `solver="paper"`: the paper's search over s.
        mask: (row_mask (N,) or (B, N), column_mask (M,) or (B, M)), bool, True = real token.
        solver: "exact": POT's network simplex, on the CPU (Chapel et al. 2020). "entropic": adds tau sum T log T,
            runs on the cost's device (Benamou et al. 2015). "paper": the READ paper's scheme, see `paper_plan`.
        temperature: tau, in the unit of the cost; not for "exact".
        tolerance: the share of the mass by which rows may miss their conditions; not for "exact".
        max_iterations: rounds after which the iterative solvers give up, with a RuntimeWarning.

    Returns:
        The plan, without gradient, in the shape, dtype and device of the cost; 0 at padding. Whole numbers as costs
        count as float64.

    Raises:
        InputError: a ValueError that names the argument, the sample and the bound at fault.
    """
    _check_options(solver, mass, temperature, tolerance, max_iterations)
    cost = _floating(cost)
    problem = build_problem(cost, a, b, mass, mask)
    plan = _solve(problem, solver, mass is None, temperature, tolerance, max_iterations)
    return plan.to(cost).reshape(cost.shape)


def partial_distance(
    cost: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    mass: float | Tensor | None = 0.5,
    mask: tuple[Tensor, Tensor] | None = None,
    solver: str = "exact",
    *,
    temperature: float = 0.05,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
) -> Tensor:
    """D(s) = min_T <T, C>, differentiable in the cost by the envelope theorem: dD/dC = T.

    With "entropic" it is the value of the problem that was solved, <T, C> + tau KL(T || uniform plan of mass s), so
    that T is its exact gradient; it tends to the exact D(s) from above as tau tends to 0. With "paper" it is
    <T, C> with T held fixed. Arguments and errors: as `partial_transport`.

    Returns:
        (B,), or a scalar for an (N, M) cost, in the cost's dtype.
    """
    _check_options(solver, mass, temperature, tolerance, max_iterations)
    cost = _floating(cost)
    problem = build_problem(cost, a, b, mass, mask)
    plan = _solve(problem, solver, mass is None, temperature, tolerance, max_iterations).to(cost.device)
    # Padding may hold anything, NaN too, and 0 * NaN is NaN.
    costs = cost.reshape(plan.shape).masked_fill(~problem.real, 0.0)
    distance = _Price.apply(costs, plan.to(cost))
    if solver == "entropic":
        uniform = (problem.mass / problem.real.sum((1, 2)))[:, None, None]
        divergence = torch.special.xlogy(plan, plan / uniform).sum((1, 2))
        distance = distance + (temperature * divergence).to(cost)
    return distance.reshape(cost.shape[:-2])


class _Price(torch.autograd.Function):
    """<T, C> of costs (B, N, M) and plans that are constants; how a plan moves with its costs is not known."""

    @staticmethod
    def forward(ctx, costs, plan):
        ctx.save_for_backward(plan)
        return (plan * costs).sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (plan,) = ctx.saved_tensors
        return grad[:, None, None] * plan, None


def _floating(cost: Tensor) -> Tensor:
    """Costs in a type that can hold a plan, too: as whole numbers, all shares of the mass would be 0."""
    if cost.is_complex():
        raise InputError(f"cost: must be real numbers, not {cost.dtype}")
    return cost if cost.is_floating_point() else cost.double()


def _check_options(
    solver: str, mass: float | Tensor | None, temperature: float, tolerance: float, max_iterations: int
) -> None:
    if solver not in SOLVERS:
        raise InputError(f"solver: must be one of {', '.join(SOLVERS)}, not {solver!r}")
    if mass is None and solver != "paper":
        raise InputError(f"mass: only the solver 'paper' searches for it; {solver!r} needs a mass above its bound 0")
    for name, value in (("temperature", temperature), ("tolerance", tolerance), ("max_iterations", max_iterations)):
        if not value > 0:
            raise InputError(f"{name}: must be above its bound 0, not {value}")


def _solve(
    problem: Problem, solver: str, search: bool, temperature: float, tolerance: float, max_iterations: int
) -> Tensor:
    """The float64 plan (B, N, M) of the solver of that name."""
    if solver == "exact":
        return exact_plan(problem)[0]
    if solver == "entropic":
        return entropic_plan(problem, temperature, tolerance, max_iterations)
    return (paper_search if search else paper_plan)(problem, temperature, tolerance, max_iterations)
