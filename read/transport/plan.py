"""Partial transport plans and the distance that they define.

Symbols: those of `read.transport.problem`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from read.autograd import once_differentiable
from read.errors import InputError
from read.settings import check_types
from read.transport.entropic import entropic_plan, paper_plan, paper_search
from read.transport.exact import exact_plan
from read.transport.problem import Problem, build_problem

SOLVERS = ("exact", "entropic", "paper")


@dataclass(frozen=True)
class Solver:
    """How a problem is solved.

    Attributes:
        name: "exact": POT's network simplex, on the CPU (Chapel et al. 2020). "entropic": adds tau sum T log T, runs on
            the cost's device (Benamou et al. 2015). "paper": the READ paper's scheme, see `paper_plan`.
        temperature: tau, in the unit of the cost; not for "exact".
        tolerance: the share of the mass by which rows may miss their conditions; not for "exact".
        max_iterations: rounds after which the iterative solvers give up, with a RuntimeWarning.

    Raises:
        InputError: an unknown name, or a number that is not above 0.
    """

    name: str = "exact"
    temperature: float = 0.05
    tolerance: float = 1e-6
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        check_types(self, "solver")
        if self.name not in SOLVERS:
            raise InputError(f"solver: must be one of {', '.join(SOLVERS)}, not {self.name!r}")
        for name in ("temperature", "tolerance", "max_iterations"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: must be above its bound 0, not {getattr(self, name)}")


def partial_transport(
    cost: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    mass: float | Tensor | None = 0.5,
    mask: tuple[Tensor, Tensor] | None = None,
    solver: str | Solver = "exact",
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
        solver: a `Solver`, or the name of one with its defaults.

    Returns:
        The plan, without gradient, in the shape, dtype and device of the cost; 0 at padding. Whole numbers as costs
        count as float64.

    Raises:
        InputError: a ValueError that names the argument, the sample and the bound at fault.
    """
    solver, cost = _as_solver(solver, mass), _floating(cost)
    plan = _solve(_problem(cost, a, b, mass, mask, solver), solver, mass is None)
    return plan.to(cost.device, non_blocking=True).to(cost.dtype).reshape(cost.shape)


def partial_distance(
    cost: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    mass: float | Tensor | None = 0.5,
    mask: tuple[Tensor, Tensor] | None = None,
    solver: str | Solver = "exact",
) -> Tensor:
    """D(s) = min_T <T, C>, differentiable in the cost by the envelope theorem: dD/dC = T.

    With "entropic" it is the value of the problem that was solved, <T, C> + tau KL(T || uniform plan of mass s), so
    that T is its exact gradient; it tends to the exact D(s) from above as tau tends to 0. With "paper" it is
    <T, C> with T held fixed. Arguments and errors: as `partial_transport`.

    Returns:
        (B,), or a scalar for an (N, M) cost, in the cost's dtype.
    """
    solver, cost = _as_solver(solver, mass), _floating(cost)
    problem = _problem(cost, a, b, mass, mask, solver)
    plan = _solve(problem, solver, mass is None).to(cost.device, non_blocking=True)
    # Padding may hold anything, NaN too, and 0 * NaN is NaN.
    real = problem.real.to(cost.device, non_blocking=True)
    costs = cost.reshape(plan.shape).masked_fill(~real, 0.0)
    distance = _Price.apply(costs, plan.to(cost))
    if solver.name == "entropic":
        uniform = (problem.mass / problem.real.sum((1, 2)))[:, None, None]
        divergence = torch.special.xlogy(plan, plan / uniform).sum((1, 2))
        distance = distance + (solver.temperature * divergence).to(cost)
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


def _problem(
    cost: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    mass: float | Tensor | None,
    mask: tuple[Tensor, Tensor] | None,
    solver: Solver,
) -> Problem:
    """The problem, checked where it is solved: for "exact" on the CPU, where all comes in one wait for the device."""
    if solver.name == "exact" and cost.device.type != "cpu":
        stream = torch.accelerator.current_stream(cost.device)
        cost, a, b, mass = (_sent(part) for part in (cost.detach(), a, b, mass))
        mask = None if mask is None else (_sent(mask[0]), _sent(mask[1]))
        stream.synchronize()
    return build_problem(cost, a, b, mass, mask)


def _sent(value: Any) -> Any:
    """A tensor on its way to the CPU."""
    return value.to("cpu", non_blocking=True) if isinstance(value, Tensor) else value


def _floating(cost: Tensor) -> Tensor:
    """Costs in a type that can hold a plan, too: as whole numbers, all shares of the mass would be 0."""
    if cost.is_complex():
        raise InputError(f"cost: must be real numbers, not {cost.dtype}")
    return cost if cost.is_floating_point() else cost.double()


def _as_solver(solver: str | Solver, mass: float | Tensor | None) -> Solver:
    solver = solver if isinstance(solver, Solver) else Solver(solver)
    if mass is None and solver.name != "paper":
        raise InputError(
            f"mass: only the solver 'paper' searches for it; {solver.name!r} needs a mass above its bound 0"
        )
    return solver


def _solve(problem: Problem, solver: Solver, search: bool) -> Tensor:
    """The float64 plan (B, N, M)."""
    if solver.name == "exact":
        return exact_plan(problem)[0]
    solve = entropic_plan if solver.name == "entropic" else paper_search if search else paper_plan
    return solve(problem, solver.temperature, solver.tolerance, solver.max_iterations)
