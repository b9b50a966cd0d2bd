import pytest
import torch
from torch import nn

from read.adapters.recurrence import Elman, Gated, run

FUNCTIONS = {"rnn": (nn.RNN, Elman), "gru": (nn.GRU, Gated)}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("given", [False, True])
def test_equals_the_cell_of_torch(kind, steps, given):
    torch.manual_seed(0)
    cell = FUNCTIONS[kind][0](5, 5, batch_first=True).double()
    rows = torch.randn(4, steps, 5, dtype=torch.double, requires_grad=True)
    first = torch.randn(1, 4, 5, dtype=torch.double, requires_grad=True) if given else None
    weight = torch.randn(4, steps, 5, dtype=torch.double)
    results = []
    for call in (cell, lambda x, h: run(cell, x, h)):
        output, last = call(rows, first)
        inputs = [rows, *cell.parameters()] + [first] * given
        gradients = torch.autograd.grad((output * weight).sum() + last.square().sum(), inputs)
        results.append((output, last, *gradients))
    torch.testing.assert_close(results[0], results[1])
    assert "Backward" in str(run(cell, rows, first)[1].grad_fn)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_gradcheck(kind):
    torch.manual_seed(0)
    gates = 3 if kind == "gru" else 1
    shapes = ((4, 2, 3 * gates), (2, 3), (3 * gates, 3), (3 * gates,))
    inputs = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(FUNCTIONS[kind][1].apply, inputs)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_second_derivatives_are_an_error(kind):
    """Also where the loss's own gradient is a constant, which torch's check does not see."""
    torch.manual_seed(0)
    cell, rows = FUNCTIONS[kind][0](5, 5, batch_first=True), torch.randn(4, 6, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(run(cell, rows, None)[0].sum(), rows, create_graph=True)
    expected = torch.autograd.grad(cell(rows)[0].sum(), rows)[0]
    torch.testing.assert_close(gradient, expected)  # the first ones are there all the same
    with pytest.raises(RuntimeError, match="second derivatives"):
        gradient.square().sum().backward()


def test_without_gradients_the_cell_of_torch_runs():
    cell, rows = nn.GRU(5, 5, batch_first=True), torch.randn(4, 6, 5)
    with torch.no_grad():
        assert torch.equal(run(cell, rows, None)[0], cell(rows)[0])
