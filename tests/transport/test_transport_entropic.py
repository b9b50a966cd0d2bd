"""The entropic solver against POT's, against its optimality conditions and by numerical gradients."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from read.errors import InputError
from read.transport import Solver, certificate, partial_distance, partial_transport


def tight(temperature):
    return Solver("entropic", temperature, 1e-12)


def problems(seed, batch, rows, columns):
    rng = np.random.default_rng(seed)
    a, b = rng.random((batch, rows)) + 0.05, rng.random((batch, columns)) + 0.05
    a, b = a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True)
    return (torch.from_numpy(x) for x in (rng.random((batch, rows, columns)), a, b))


@settings(max_examples=260, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 128),
    columns=st.integers(1, 128),
    share=st.floats(1e-6, 0.9),
    temperature=st.floats(0.2, 2.0),
)
def test_plans_and_costs_are_those_of_pot(seed, rows, columns, share, temperature):
    compare_with_pot(seed, rows, columns, share, temperature)


@pytest.mark.parametrize("seed", range(8))
def test_moving_everything_is_what_pot_does(seed):
    """POT takes a hundred times the rounds here, so there are few of these."""
    compare_with_pot(seed, rows=5 + 3 * seed, columns=30 - 3 * seed, share=1.0, temperature=0.5)


def compare_with_pot(seed, rows, columns, share, temperature):
    """Four padded problems, of which `share` of the mass that their weights allow is moved."""
    cost, a, b = problems(seed, 4, rows, columns)
    rng = np.random.default_rng(seed)
    row_mask, column_mask = (torch.from_numpy(rng.random((4, size)) < 0.8) for size in (rows, columns))
    row_mask[:, 0] = column_mask[:, 0] = True
    mass = share * torch.minimum((a * row_mask).sum(1), (b * column_mask).sum(1))
    plan = partial_transport(cost, a, b, mass, (row_mask, column_mask), tight(temperature))
    assert (plan[~(row_mask[:, :, None] & column_mask[:, None, :])] == 0).all()
    for k in range(len(cost)):
        i, j = row_mask[k], column_mask[k]
        block, got, u, v = (x.numpy() for x in (cost[k][i][:, j], plan[k][i][:, j], a[k][i], b[k][j]))
        expected = ot.partial.entropic_partial_wasserstein(
            u, v, block, temperature, m=min(mass[k].item(), u.sum(), v.sum()), numItermax=5000, stopThr=1e-13
        )
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 / expected.size**0.5)
        np.testing.assert_allclose((got * block).sum(), (expected * block).sum(), rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    mass=st.one_of(st.floats(1e-6, 0.99), st.just(1.0)),
    temperature=st.floats(0.02, 1.0),
)
def test_the_optimality_conditions_hold_where_pot_underflows(seed, rows, columns, mass, temperature):
    """T = exp(-C / tau + w) x_i y_j with x, y <= 1, and x_i < 1 (y_j < 1) only where the row (column) is full."""
    cost, a, b = problems(seed, 4, rows, columns)
    plan = partial_transport(cost, a, b, mass, solver=Solver("entropic", temperature, 1e-10))
    proof = certificate(plan, cost, a, b, mass)
    assert max(part.max() for part in proof[:4]) < 1e-9
    log_scales = plan.log() + cost / temperature
    row, column = log_scales.mean(2), log_scales.mean(1)
    rank_one = row[:, :, None] + column[:, None, :] - log_scales.mean((1, 2), keepdim=True)
    torch.testing.assert_close(log_scales, rank_one, rtol=0, atol=1e-8)
    for scale, sums, weights in ((row, plan.sum(2), a), (column, plan.sum(1), b)):
        full = sums > weights * (1 - 1e-5) - 1e-9
        unscaled = scale >= scale.amax(1, keepdim=True) - 1e-6
        assert (full | unscaled).all()


@pytest.mark.parametrize("mass", [0.2, 0.6, 1.0])
def test_gradcheck_at_convergence(mass):
    cost = torch.rand(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    mask = (torch.tensor([[True] * 4, [True] * 3 + [False]]), torch.tensor([[True] * 3, [True, False, True]]))
    assert torch.autograd.gradcheck(lambda c: partial_distance(c, mass=mass, mask=mask, solver=tight(0.3)), cost)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_that_add_up_to_the_mass_leave_none_out(dtype):
    """One row's weight is the whole mass here, to the last bit: the scaling must not fall back to nothing."""
    cost = torch.tensor([[30, 25], [31, 0]], dtype=dtype) * 0.03
    plan = partial_transport(cost, mass=0.5, solver="entropic")
    expected = ot.partial.entropic_partial_wasserstein([0.5, 0.5], [0.5, 0.5], cost.double().numpy(), 0.05, m=0.5)
    np.testing.assert_allclose(plan, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*max_iterations")
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.sampled_from([(2, 2), (12, 8), (6, 3), (5, 5)]),
    tokens=st.integers(1, 12),
    temperature=st.floats(0.02, 2.0),
    rounds=st.sampled_from([1, 2, 10, 100]),
)
def test_the_mass_holds_after_any_number_of_rounds(seed, sizes, tokens, temperature, rounds):
    """Whole tokens' worth of mass, at costs far above the temperature."""
    rows, columns = sizes
    mass = min(tokens, min(sizes)) / max(sizes)
    cost = torch.from_numpy(np.square(np.random.default_rng(seed).normal(size=(4, rows, columns)) * 4))
    plan = partial_transport(cost, mass=mass, solver=Solver("entropic", temperature, max_iterations=rounds))
    torch.testing.assert_close(plan.sum((1, 2)), torch.full((4,), mass, dtype=torch.float64))
    assert certificate(plan, cost, mass=mass).column_violation.max() < 1e-12


def test_it_tends_to_the_exact_distance_from_above():
    cost, a, b = problems(0, 8, 20, 12)
    exact = partial_distance(cost, a, b, 0.5)
    gaps = [partial_distance(cost, a, b, 0.5, solver=Solver("entropic", t)) - exact for t in (0.1, 0.03, 0.01)]
    assert (gaps[0] > gaps[1]).all() and (gaps[1] > gaps[2]).all() and (gaps[2] > 0).all()
    assert gaps[2].max() < 0.03


def test_very_low_temperatures_and_large_costs_stay_finite():
    cost, a, b = problems(0, 4, 15, 10)
    with pytest.warns(RuntimeWarning, match="max_iterations"):
        plan = partial_transport(cost * 1e4, a, b, 0.7, solver=Solver("entropic", max_iterations=20))
    assert plan.isfinite().all()


@pytest.mark.parametrize("solver", ["entropic", "paper"])
def test_a_temperature_that_leaves_the_range_of_numbers_is_refused(solver):
    cost = torch.rand(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cost[1] += 1
    cost[1] *= 1e300
    with pytest.raises(InputError, match=r"temperature: 1e-20 is too low for the costs of sample 1"):
        partial_transport(cost, mass=0.5, solver=Solver(solver, 1e-20))


@pytest.mark.parametrize("mass", [0.2, 0.9])
def test_the_papers_scheme_is_feasible_and_no_better_than_exact(mass):
    cost, a, b = problems(5, 8, 20, 12)
    proof = certificate(partial_transport(cost, a, b, mass, solver="paper"), cost, a, b, mass)
    assert max(part.max() for part in proof[:4]) < 1e-6
    assert (proof.gap > -1e-6).all()


def test_the_papers_search_finds_the_smallest_mass_when_costs_are_positive():
    cost, _, _ = problems(6, 8, 9, 5)
    row_mask = torch.arange(9) < torch.arange(2, 10)[:, None]
    plan = partial_transport(cost + 1, mass=None, mask=(row_mask, torch.ones(5).bool()), solver="paper")
    torch.testing.assert_close(plan.sum((1, 2)), 1 / row_mask.sum(1).clamp(max=5).double())
    torch.testing.assert_close(
        partial_transport(-cost - 1, mass=None, solver="paper").sum((1, 2)), torch.ones(8, dtype=torch.float64)
    )
