"""The scan against the recurrence step by step."""

import pytest
import torch

from read.adapters.mixers import Recurrence
from read.adapters.scan import SCANNED
from read.scan import scan


def step_by_step(f, i, h):
    states = []
    for f_t, i_t in zip(f.unbind(1), i.unbind(1), strict=True):
        h = f_t * h + i_t
        states.append(h)
    return torch.stack(states, dim=1)


def inputs(steps, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3, steps, 4), (3, steps, 4), (3, 4))
    f, i, h = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return [tensor.requires_grad_() for tensor in (torch.sigmoid(3 * f).detach(), i, h)]


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 75, 600])
def test_equals_the_recurrence_with_its_gradients(steps):
    given = inputs(steps)
    weight = torch.randn(3, steps, 4, generator=torch.Generator().manual_seed(1))
    expected, got = step_by_step(*given), scan(*given)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    wanted = torch.autograd.grad((expected * weight).sum(), given)
    torch.testing.assert_close(torch.autograd.grad((got * weight).sum(), given), wanted, atol=1e-5, rtol=1e-5)


def test_gradcheck():
    assert torch.autograd.gradcheck(scan, inputs(5, torch.double))


def test_second_derivatives_are_an_error():
    given = inputs(3)
    (gradient,) = torch.autograd.grad(scan(*given).square().sum(), [given[1]], create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        gradient.sum().backward()


@pytest.mark.parametrize("gate", [0.0, 1e-30, 1.0 - 6e-8, 1.0])
def test_gates_at_their_ends_stay_finite_over_long_videos(gate):
    f, i = torch.full((1, 20_000, 1), gate, requires_grad=True), torch.ones(1, 20_000, 1)
    states = scan(f, i)
    exact = 1.0 if gate < 0.5 else sum(float(f[0, 0, 0].detach().double()) ** n for n in range(20_000))
    assert states[0, -1].item() == pytest.approx(exact, rel=1e-5)
    states.sum().backward()
    assert f.grad.isfinite().all()


@pytest.mark.parametrize("kind", SCANNED)
def test_half_precision_accumulates_in_single(kind):
    torch.manual_seed(0)
    mixer = Recurrence(kind, 4).bfloat16()
    rows = torch.randn(2, 400, 4, dtype=torch.bfloat16)
    gates = [gate.double() for gate in mixer.cell.gates(rows)]
    exact = step_by_step(*gates, torch.zeros(2, 4, dtype=torch.double))
    got, _ = mixer(rows)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), exact, atol=1e-3, rtol=2**-8)  # one rounding, at the end
