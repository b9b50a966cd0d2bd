import torch
from torch import nn

from read.adapters import apply_strategy, inject
from read.adapters.frozen_attention import hook_attention


def test_no_value_changes():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    x, y = torch.randn(3, 5, 16), torch.randn(3, 5, 16)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
    calls = [
        lambda: attention(x, x, x, key_padding_mask=padding),
        lambda: attention(x, x, y, padding, need_weights=False),
        lambda: attention(query=x, key=y, value=y),
    ]
    before = [call() for call in calls]
    attention.requires_grad_(False)
    hook_attention(attention)
    for call, (output, weights) in zip(calls, before, strict=True):
        frozen = call()
        assert torch.equal(frozen[0], output)
        assert weights is None or torch.equal(frozen[1], weights)


def test_inputs_reach_the_projection_contiguous():
    """Query, key and value stay one tensor where they were; transposed they are contiguous."""
    attention = nn.MultiheadAttention(16, 4, batch_first=True).requires_grad_(False)
    hook_attention(attention)
    seen = []
    attention.register_forward_pre_hook(lambda module, args: seen.append(args))
    x = torch.randn(3, 5, 16)
    attention(x, x, x)
    query, key, value = seen[0]
    assert query is key is value
    assert query.transpose(0, 1).is_contiguous() and torch.equal(query, x)


def test_a_frozen_backbone_multiplies_with_no_expanded_weight(univtg, batch):
    model = inject(univtg()).train()
    with torch.profiler.profile() as profile:
        model(**batch)["spans"].sum().backward()
    assert "aten::bmm" not in {event.key for event in profile.key_averages()}


def test_nothing_is_hooked_that_trains(univtg):
    model = apply_strategy("full", univtg())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_hook_is_registered_once(univtg):
    model = inject(apply_strategy("read", univtg()), name="other")
    attention = model.transformer.encoder.layers[0].self_attn
    assert len(attention._forward_pre_hooks) == 1
