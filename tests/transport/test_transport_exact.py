"""The exact solver against POT and SciPy, which nobody here wrote."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from read.transport import Solver, certificate, partial_distance, partial_transport

BATCH = 12


def random_problems(seed, rows, columns, even=False):
    """A padded batch: costs in [0, 1), weights that sum to 1 over real tokens, masks with at least one real token."""
    rng = np.random.default_rng(seed)
    masks = []
    for size in (rows, columns):
        mask = rng.random((BATCH, size)) < rng.uniform(0.3, 1.0, (BATCH, 1))
        mask[np.arange(BATCH), rng.integers(size, size=BATCH)] = True
        masks.append(mask)
    weights = [np.where(mask, 1.0 if even else rng.exponential(size=mask.shape) + 1e-3, 0.0) for mask in masks]
    a, b = (weight / weight.sum(1, keepdims=True) for weight in weights)
    return (torch.from_numpy(x) for x in (rng.random((BATCH, rows, columns)), a, b, *masks))


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 128),
    columns=st.integers(1, 128),
    mass=st.one_of(st.floats(1e-6, 1.0), st.just(1.0)),
    even=st.booleans(),
)
def test_plans_and_costs_are_those_of_pot(seed, rows, columns, mass, even):
    cost, a, b, row_mask, column_mask = random_problems(seed, rows, columns, even)
    mask = (row_mask, column_mask)
    plan = partial_transport(cost, None if even else a, None if even else b, mass=mass, mask=mask)
    for k in range(BATCH):
        i, j = row_mask[k].numpy(), column_mask[k].numpy()
        block = np.ascontiguousarray(cost[k].numpy()[np.ix_(i, j)])
        u, v = a[k].numpy()[i], b[k].numpy()[j]
        expected = ot.partial.partial_wasserstein(u, v, block, m=min(mass, u.sum(), v.sum()))
        np.testing.assert_allclose(plan[k].numpy()[np.ix_(i, j)], expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose((plan[k] * cost[k]).sum(), (expected * block).sum(), rtol=0, atol=1e-9)
    assert (plan[~(row_mask[:, :, None] & column_mask[:, None, :])] == 0).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 60), columns=st.integers(1, 60), mass=st.floats(1e-6, 1.0))
def test_every_plan_carries_its_proof(seed, rows, columns, mass):
    cost, a, b, row_mask, column_mask = random_problems(seed, rows, columns)
    cost = cost * 10 - 5
    plan = partial_transport(cost, a, b, mass, (row_mask, column_mask))
    assert certificate(plan, cost, a, b, mass, (row_mask, column_mask)).worst < 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_costs_of_any_sign_and_unequal_totals_against_linear_programming(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 8, 2)
    cost, a, b = rng.normal(size=(n, m)) - rng.integers(0, 3), rng.random(n), rng.random(m)
    mass = rng.uniform(0.05, 1.0) * min(a.sum(), b.sum())
    sums = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    expected = linprog(cost.ravel(), sums, np.concatenate([a, b]), np.ones((1, n * m)), [mass])
    got = partial_distance(*(torch.from_numpy(x) for x in (cost, a, b)), mass=mass)
    assert got.item() == pytest.approx(expected.fun, abs=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(2, 16),
    columns=st.integers(2, 16),
    mass=st.floats(0.05, 0.5),
    price=st.sampled_from([1e6, 1e9, 1e12, 1e15]),
    scale=st.sampled_from([1.0, 1e-9]),
)
def test_pairs_priced_out_of_reach_leave_the_rest_exact(seed, rows, columns, mass, price, scale):
    """Against a linear program that does not know those pairs."""
    rng = np.random.default_rng(seed)
    cost, forbidden = rng.random((rows, columns)) * scale, rng.random((rows, columns)) < 0.3
    sums = np.vstack([np.kron(np.eye(rows), np.ones(columns)), np.kron(np.ones(rows), np.eye(columns))])
    weights = np.concatenate([np.full(rows, 1 / rows), np.full(columns, 1 / columns)])
    bounds = [(0, 0) if pair else (0, None) for pair in forbidden.ravel()]
    one = np.ones((1, rows * columns))
    expected = linprog((cost / scale).ravel(), sums, weights, one, [mass], bounds=bounds)
    assume(expected.success)
    priced = torch.from_numpy(np.where(forbidden, price * scale, cost))
    plan = partial_transport(priced, mass=mass)
    assert plan[torch.from_numpy(forbidden)].sum() < 1e-15
    assert (plan.numpy() * cost).sum() / scale == pytest.approx(expected.fun, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("solver", ["exact", "entropic", "paper"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool])
def test_whole_numbers_are_costs_too(solver, dtype):
    cost = torch.tensor([[3, 0], [1, 1]]).to(dtype)
    for function in (partial_transport, partial_distance):
        got = function(cost, mass=0.5, solver=Solver(solver, 1.0))
        torch.testing.assert_close(got, function(cost.double(), mass=0.5, solver=Solver(solver, 1.0)))
    assert partial_transport(cost, mass=0.5, solver=Solver(solver, 1.0)).sum() == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e8, 1e-8])
def test_a_constant_cost_moves_the_mass_all_the_same(value):
    cost = torch.full((5, 4), value, dtype=torch.float64)
    plan = partial_transport(cost, mass=0.3)
    assert plan.sum().item() == pytest.approx(0.3, abs=1e-12)
    assert certificate(plan, cost, mass=0.3).worst <= 1e-12 * max(1.0, abs(value))


@pytest.mark.parametrize("mass", [0.05, 0.37, 0.8])
def test_the_envelope_gradient_is_the_finite_difference(mass):
    cost = torch.rand(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    mask = (torch.tensor([[True] * 6, [True] * 4 + [False] * 2]), torch.tensor([[True] * 5, [True] * 3 + [False] * 2]))
    partial_distance(cost, mass=mass, mask=mask).sum().backward()
    step = 1e-7
    with torch.no_grad():
        for index in np.ndindex(*cost.shape):
            bump = torch.zeros_like(cost)
            bump[index] = step
            ends = [partial_distance(cost + sign * bump, mass=mass, mask=mask).sum() for sign in (1, -1)]
            assert ((ends[0] - ends[1]) / (2 * step)).item() == pytest.approx(cost.grad[index].item(), abs=1e-7)


def test_one_problem_and_a_batch_of_one_are_the_same():
    cost = torch.rand(7, 4, generator=torch.Generator().manual_seed(0))
    plan = partial_transport(cost, mass=0.4)
    assert plan.shape == cost.shape and plan.dtype == cost.dtype
    assert torch.equal(plan, partial_transport(cost[None], mass=0.4)[0])


def test_each_sample_may_have_its_own_mass():
    cost = torch.rand(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masses = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    plan = partial_transport(cost, mass=masses)
    for k in range(3):
        torch.testing.assert_close(plan[k], partial_transport(cost[k], mass=masses[k].item()))
