"""Mixers against torch's own cells, run sample by sample without padding."""

from collections import namedtuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from read.adapters import AdapterConfig
from read.adapters.config import RECURRENT
from read.adapters.layer import Bottleneck
from read.adapters.scan import SCANNED, DampedAverage
from read.adapters.segments import lay_out
from read.errors import InputError

Segment = namedtuple("Segment", "modality start stop mask")
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
WIDTH, R = 10, 6


def bottleneck(seed=0, **settings):
    torch.manual_seed(seed)
    layer = Bottleneck(WIDTH, WIDTH, AdapterConfig(bottleneck=R, **settings))
    nn.init.normal_(layer.up.weight)
    nn.init.normal_(layer.up.bias)
    return layer


def reference_mixer(layer, kind, sequence):
    """One sequence (L, r) without padding through plain torch modules."""
    if kind == "conv":
        weight, bias = layer.mixer.conv.weight[:, 0], layer.mixer.conv.bias
        side = weight.shape[1] // 2
        rows = []
        for t in range(len(sequence)):
            near = [(k, t + k - side) for k in range(weight.shape[1]) if 0 <= t + k - side < len(sequence)]
            rows.append(bias + sum(weight[:, k] * sequence[s] for k, s in near))
        return torch.stack(rows)
    if kind in SCANNED:
        return scanned(layer.mixer, sequence)
    cell = CELLS[kind](R, R, bidirectional=layer.mixer.reverse_cell is not None, batch_first=True)
    state = dict(layer.mixer.cell.state_dict())
    if layer.mixer.reverse_cell is not None:
        state |= {f"{key}_reverse": value for key, value in layer.mixer.reverse_cell.state_dict().items()}
    cell.load_state_dict(state)
    output = cell(sequence[None])[0][0]
    return output.reshape(len(output), -1, R).sum(1)


def scanned(mixer, sequence):
    """A linear recurrence step by step, by its definition."""

    def states(cell, tokens):
        state, found = torch.zeros(R), []
        for x in tokens:
            if isinstance(cell, DampedAverage):
                a, d = cell.rate.sigmoid(), cell.damping.sigmoid()
                state = a * x + (1 - a * d) * state
            else:
                gate, new = (cell.linear.weight @ x + cell.linear.bias).split(R)
                state = state + gate.sigmoid() * (new - state)
            found.append(state)
        return torch.stack(found)

    output = states(mixer.cell, sequence)
    return output if mixer.reverse_cell is None else output + states(mixer.reverse_cell, sequence.flip(0)).flip(0)


def reference(layer, kind, residual, tokens, segments):
    """Every sequence of every sample by itself; padded tokens stay zero."""
    result = torch.zeros_like(tokens)
    for sample in range(len(tokens)):
        for segment in segments:
            real = torch.arange(segment.start, segment.stop)[segment.mask[sample]]
            if len(real):
                z = layer.down(tokens[sample, real])
                h = reference_mixer(layer, kind, z)
                result[sample, real] = layer.up(nn.functional.gelu(z + h if residual else h))
    return result


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("kind", "bidirectional"),
    [*((kind, both) for kind in RECURRENT for both in (False, True)), ("conv", False)],
)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_equals_each_sequence_alone(kind, bidirectional, residual, data):
    layer = bottleneck(mixer=kind, bidirectional=bidirectional, residual=residual)
    batch, first, second = (data.draw(st.integers(1, 5)) for _ in range(3))
    bits = st.lists(st.booleans(), min_size=first + second, max_size=first + second)
    mask = torch.tensor(data.draw(st.lists(bits, min_size=batch, max_size=batch)))
    segments = [Segment("video", 0, first, mask[:, :first]), Segment("text", first, first + second, mask[:, first:])]
    tokens = torch.randn(batch, first + second, WIDTH, generator=torch.Generator().manual_seed(first))
    tokens[~mask] = 1e4  # what stands in the padding must not matter
    layout = lay_out(segments, batch, first + second, tokens.device)
    got = layer(tokens, layout).delta
    expected = reference(layer, kind, residual, tokens, segments)
    torch.testing.assert_close(got[mask], expected[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", RECURRENT)
def test_gradients_equal_those_of_each_sequence_alone(kind):
    layer = bottleneck(mixer=kind, bidirectional=True).double()
    mask = torch.tensor([[True, True, True, True], [True, False, False, False], [True, True, True, False]])
    segments = [Segment("video", 0, 4, mask)]
    tokens = torch.randn(3, 4, WIDTH, dtype=torch.double, requires_grad=True)
    weight = torch.randn(3, 4, WIDTH, dtype=torch.double)

    got = layer(tokens, lay_out(segments, 3, 4, tokens.device)).delta[mask]
    (got * weight[mask]).sum().backward()
    gradients = [tokens.grad.clone()] + [parameter.grad.clone() for parameter in layer.parameters()]
    assert not tokens.grad[~mask].any()
    tokens.grad = None
    layer.zero_grad()
    alone = [layer(tokens[i : i + 1, : int(n)]).delta[0] for i, n in enumerate(mask.sum(1))]
    (torch.cat(alone) * weight[mask]).sum().backward()
    torch.testing.assert_close(gradients, [tokens.grad] + [parameter.grad for parameter in layer.parameters()])


def test_branch_is_zero_before_training():
    layer = Bottleneck(WIDTH, WIDTH, AdapterConfig(bottleneck=R))
    assert not layer(torch.randn(2, 5, WIDTH)).delta.any()


@pytest.mark.parametrize("kind", [*RECURRENT, "conv"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_causal_mixer_goes_on_from_its_state(kind, masked):
    torch.manual_seed(0)
    layer = Bottleneck(WIDTH, WIDTH, AdapterConfig(bottleneck=R, mixer=kind), causal=True)
    nn.init.normal_(layer.up.weight)
    tokens = torch.randn(3, 9, WIDTH)
    mask = torch.ones(3, 9, dtype=torch.bool)
    if masked:
        mask[0, :4], mask[1, 3:7], mask[2] = False, False, torch.tensor([True] * 3 + [False] * 5 + [True])

    def layout(start, stop):
        segment = Segment("text", 0, stop - start, mask[:, start:stop])
        return lay_out([segment], 3, stop - start, tokens.device) if masked else None

    whole = layer(tokens, layout(0, 9)).delta
    state, parts = None, []
    for start, stop in ((0, 4), (4, 5), (5, 7), (7, 8), (8, 9)):
        branch = layer(tokens[:, start:stop], layout(start, stop), state, keep=True)
        state = branch.state
        parts.append(branch.delta)
    torch.testing.assert_close(torch.cat(parts, dim=1)[mask], whole[mask])


@pytest.mark.parametrize("kind", [*RECURRENT, "conv"])
def test_a_causal_mixer_does_not_see_later_tokens(kind):
    torch.manual_seed(0)
    layer = Bottleneck(WIDTH, WIDTH, AdapterConfig(bottleneck=R, mixer=kind), causal=True)
    nn.init.normal_(layer.up.weight)
    tokens = torch.randn(1, 8, WIDTH)
    changed = tokens.clone()
    changed[:, 5:] += 1
    first, second = layer(tokens).delta, layer(changed).delta
    assert torch.equal(first[:, :5], second[:, :5])
    assert not torch.allclose(first[:, 5:], second[:, 5:])


def test_segments_that_leave_tokens_out_are_refused():
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match=r"video 0:3.*do not cover a layer of 5"):
        lay_out([Segment("video", 0, 3, mask)], 2, 5, mask.device)
