"""Mixers over sequences that stand among each other: as nodes of graphs, against rows of their own."""

import pytest
import torch

from read.adapters.mixers import make_mixer, mixed_in_a_graph, mixed_in_rows
from read.adapters.segments import Chains, lay_out_chains

CHAINS = torch.tensor([[0, 2, 3, 0, 2, 3, 0], [1, 1, 4, 1, 4, 1, 1]])
REAL = torch.tensor([[0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0]]).bool()


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "mingru", "ema", "conv"])
@pytest.mark.parametrize("causal", [True, False])
def test_a_node_gives_what_rows_give(kind, causal):
    """Values, states that go on, and the gradients of all that goes in."""
    torch.manual_seed(0)
    form = (kind, 4, 3, True, causal)
    mixer = make_mixer(form).double()
    tokens = torch.randn(2, 7, 4, dtype=torch.float64)
    before = [part + torch.randn(part.shape) for part in mixer.start(tokens, 2)] if causal else []
    found = []
    for node in (False, True):
        given = [part.clone().requires_grad_() for part in (tokens, *before)]
        state = tuple(given[1:]) if causal else None
        if node:
            mixed, last = mixed_in_a_graph(form, mixer, given[0], Chains(CHAINS, REAL), state, causal)
        else:
            mixed, last = mixed_in_rows(mixer, given[0], lay_out_chains(CHAINS, REAL), state, causal)
        outputs = [mixed[REAL], *(last or ())]
        loss = sum(part.square().sum() for part in outputs)
        found.append([*outputs, *torch.autograd.grad(loss, [*given, *mixer.parameters()])])
    torch.testing.assert_close(found[1], found[0])
