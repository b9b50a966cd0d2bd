"""Every bad input is an InputError that names the argument, the sample and the bound."""

import pytest
import torch

from read.errors import InputError
from read.transport import Solver, certificate, mean_pooled_loss, partial_alignment_loss, partial_transport

COST = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
NAN, INF = float("nan"), float("inf")
ROWS, COLUMNS = torch.ones(2, 3).bool(), torch.ones(2, 4).bool()


def changed(tensor, value, *index):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


@pytest.mark.parametrize("solver", ["exact", "entropic", "paper"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mass": 0.0}, r"lower bound 0 \(sample 0"),
        ({"mass": -0.5}, "lower bound 0"),
        ({"mass": NAN}, "lower bound 0"),
        ({"mass": 1.01}, r"upper bound min\(sum a, sum b\) \(sample 0: mass 1.01, bound 1\)"),
        ({"mass": torch.tensor([0.5, 2.0])}, "upper bound .*sample 1: mass 2, bound 1"),
        ({"mass": torch.ones(3)}, r"mass: must be a number or \(2,\)"),
        ({"a": torch.full((3,), 0.1)}, "mass 0.5, bound 0.3"),
        ({"a": torch.tensor([0.5, -0.1, 0.6])}, "weights a: below their bound 0"),
        ({"b": changed(torch.ones(2, 4), NAN, 1, 2)}, r"weights b: below their bound 0, or not finite \(sample 1"),
        ({"a": torch.zeros(3)}, "weights a: all zero or masked"),
        ({"mask": (changed(ROWS, False, 1), COLUMNS)}, r"weights a: all zero or masked.*sample 1"),
        ({"mask": (ROWS, changed(COLUMNS, False, 0))}, r"weights b: all zero or masked.*sample 0"),
        ({"mask": (ROWS.float(), COLUMNS)}, "mask of a: must be bool"),
        ({"mask": (COLUMNS, ROWS)}, r"mask of a: shape \(2, 4\)"),
        ({"a": torch.ones(4)}, r"weights a: shape \(4,\)"),
        ({"cost": changed(COST, NAN, 1, 2, 3)}, r"cost: NaN or infinite between real tokens \(sample 1"),
        ({"cost": changed(COST, INF, 0, 0, 0)}, "cost: NaN or infinite"),
        ({"cost": torch.rand(3)}, "cost: must be"),
        ({"cost": COST + 1j}, "cost: must be real numbers"),
        ({"cost": torch.rand(2, 0, 4)}, "cost: must be"),
    ],
)
def test_bad_problems(arguments, message, solver):
    with pytest.raises(InputError, match=message):
        partial_transport(**{"cost": COST, "mass": 0.5, "solver": solver, **arguments})


def test_what_is_masked_may_be_nan():
    rows = changed(ROWS, False, 1, 2)
    plan = partial_transport(changed(COST, NAN, 1, 2), mass=0.5, mask=(rows, COLUMNS))
    assert plan.isfinite().all()


def test_weights_in_single_precision_may_be_moved_whole():
    a = torch.rand(50, generator=torch.Generator().manual_seed(0))
    cost = torch.rand(50, 30, generator=torch.Generator().manual_seed(1))
    plan = partial_transport(cost, a / a.sum(), mass=1.0)
    assert plan.sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "simplex"}, "solver: must be one of exact, entropic, paper"),
        ({"mass": None}, "only the solver 'paper' searches"),
        ({"solver": {"temperature": 0.0}}, "temperature: must be above its bound 0"),
        ({"solver": {"tolerance": -1.0}}, "tolerance: must be above"),
        ({"solver": {"max_iterations": 0}}, "max_iterations: must be above"),
        ({"solver": {"temperature": NAN}}, "solver: temperature is nan, not a finite number"),
        ({"solver": {"max_iterations": 1.5}}, "solver: max_iterations is 1.5, not a whole number"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        solver = options.get("solver")
        partial_transport(COST, **options | ({"solver": Solver(**solver)} if isinstance(solver, dict) else {}))


def test_bad_tokens():
    video, text = torch.rand(2, 3, 5), torch.rand(2, 4, 5)
    with pytest.raises(InputError, match="equal B and d"):
        partial_alignment_loss(video, text[:1])
    with pytest.raises(InputError, match="video_mask: must be bool"):
        partial_alignment_loss(video, text, COLUMNS)
    with pytest.raises(InputError, match="cost: must be one of cosine"):
        partial_alignment_loss(video, text, cost="manhattan")
    with pytest.raises(InputError, match="reduction: must be one of mean"):
        partial_alignment_loss(video, text, reduction="max")
    with pytest.raises(InputError, match="cost: NaN"):
        partial_alignment_loss(video, changed(text, NAN, 0, 0))
    with pytest.raises(InputError, match="text_mask: a sample has no real token"):
        mean_pooled_loss(video, text, text_mask=changed(COLUMNS, False, 0))


def test_a_certificate_sees_what_is_wrong_with_a_plan():
    good = partial_transport(COST, mass=0.5)
    assert certificate(good, COST, mass=0.5).worst < 1e-6
    worse = torch.full_like(COST, 0.5 / 12)
    proof = certificate(worse, COST, mass=0.5)
    assert (proof.gap > 1e-3).all() and max(part.max() for part in proof[:4]) < 1e-6
    crowded = certificate(changed(torch.zeros_like(COST), 0.5, slice(None), 1, 2), COST, mass=0.5)
    torch.testing.assert_close(crowded.row_violation, torch.full((2,), 0.5 - 1 / 3, dtype=torch.float64))
    torch.testing.assert_close(crowded.column_violation, torch.full((2,), 0.25, dtype=torch.float64))
    assert (certificate(good, COST, mass=0.4).mass_violation > 0.09).all()
    assert certificate(changed(good, -0.1, 0, 0, 0), COST, mass=0.5).negative[0] == pytest.approx(0.1)
    with pytest.raises(InputError, match="plan: shape"):
        certificate(good[0], COST)
