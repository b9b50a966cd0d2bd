import pytest
import torch
from torch import nn

from read.adapters.cells import TorchCell
from read.adapters.recurrence import Elman, Gated, gradients

FUNCTIONS = {"rnn": (nn.RNN, Elman), "gru": (nn.GRU, Gated)}
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def cells(kind, width=5):
    """Ours and torch's, of the same weights."""
    torch.manual_seed(0)
    cell = TorchCell(kind, width).double()
    other = CELLS[kind](width, width, batch_first=True).double()
    other.load_state_dict(cell.state_dict())
    return cell, other


def states(kind, rows, width=5):
    return [torch.randn(rows, width, dtype=torch.double, requires_grad=True) for _ in range(1 + (kind == "lstm"))]


def by_torch(cell, rows, state):
    hidden = [part[None] for part in state]
    output, last = cell(rows, None if not hidden else tuple(hidden) if len(hidden) > 1 else hidden[0])
    return output, [part[0] for part in (last if isinstance(last, tuple) else (last,))]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("given", [False, True])
def test_equals_the_cell_of_torch(kind, steps, given):
    """So do its gradients, and those that a graph computes."""
    cell, other = cells(kind)
    rows = torch.randn(4, steps, 5, dtype=torch.double, requires_grad=True)
    state = states(kind, 4) if given else []
    toward = [torch.randn(4, steps, 5, dtype=torch.double), *(torch.randn(4, 5).double() for _ in states(kind, 4))]
    results = []
    for own, (output, last) in (
        (cell, cell(rows, tuple(state) or None)),
        (other, by_torch(other, rows, state)),
    ):
        given_gradients = torch.autograd.grad([output, *last], [rows, *state, *own.parameters()], toward)
        results.append([output, *last, *given_gradients])
    torch.testing.assert_close(results[0], results[1])
    if given:
        with torch.no_grad():
            again = gradients(cell.mode, rows, state, list(cell.parameters()), None, toward)
        torch.testing.assert_close(again, results[1][1 + len(state) :])


@pytest.mark.parametrize("kind", CELLS)
def test_states_are_those_after_the_real_places(kind):
    """Those of a row without any are what they were; so say the gradients."""
    cell, other = cells(kind)
    rows, lengths = torch.randn(3, 6, 5, dtype=torch.double, requires_grad=True), torch.tensor([4, 0, 6])
    state = states(kind, 3)
    output, last = cell(rows, tuple(state), lengths)
    wanted = [by_torch(other, rows[i : i + 1, :n], [part[i : i + 1] for part in state])[1] if n
              else [part[i : i + 1] for part in state] for i, n in enumerate(lengths)]  # fmt: skip
    wanted = [torch.cat(parts) for parts in zip(*wanted, strict=True)]
    torch.testing.assert_close(list(last), wanted)
    inputs = [rows, *state]
    wanted_gradients = torch.autograd.grad(sum(part.square().sum() for part in wanted), inputs)
    got = torch.autograd.grad(sum(part.square().sum() for part in last), inputs, retain_graph=True)
    torch.testing.assert_close(got, wanted_gradients)
    toward = [torch.zeros_like(output), *(2 * part.detach() for part in last)]
    again = gradients(cell.mode, rows, state, list(cell.parameters()), lengths, toward)
    torch.testing.assert_close(again[: len(inputs)], list(wanted_gradients))


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
    cell, other = cells(kind)
    rows = torch.randn(4, 6, 5, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(cell(rows)[0].sum(), rows, create_graph=True)
    expected = torch.autograd.grad(other(rows)[0].sum(), rows)[0]
    torch.testing.assert_close(gradient, expected)  # the first ones are there all the same
    with pytest.raises(RuntimeError, match="second derivatives"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("kind", CELLS)
def test_starts_as_torchs_and_computes_bit_by_bit_what_it_does_without_gradients(kind):
    torch.manual_seed(0)
    cell = TorchCell(kind, 5)
    torch.manual_seed(0)
    other = CELLS[kind](5, 5, batch_first=True)
    rows = torch.randn(4, 6, 5)
    with torch.no_grad():
        assert torch.equal(cell(rows)[0], other(rows)[0])
